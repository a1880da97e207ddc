"""The engine of our own, for speed."""
