"""Frameworks and tools of operation under real workers, each in an environment of its own: `make grid`."""
