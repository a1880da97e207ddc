"""The engine around the h2 library, which is the reference."""
