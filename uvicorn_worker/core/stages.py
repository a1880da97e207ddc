"""How far a response has come."""

from __future__ import annotations

__all__ = ["AWAIT_START", "BODY", "DONE", "HEAD_HELD"]

AWAIT_START, HEAD_HELD, BODY, DONE = range(4)
