"""What a client did that nothing can be served after."""

from __future__ import annotations

__all__ = ["Http2ConnectionError"]


class Http2ConnectionError(Exception):
    """A connection error (5.4.1), with its code; the text is the debug data of GOAWAY."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
