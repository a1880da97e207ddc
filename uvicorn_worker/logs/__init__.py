"""Logs: levels, access lines, and what is under way in words."""
