"""What a client did in its frames that ends a WebSocket, or what can't be put into one."""

from __future__ import annotations

__all__ = ["MessageTooBig", "ProtocolError"]


class ProtocolError(Exception):
    """A frame is against RFC 6455: of the client's, the WebSocket fails with 1002; one of ours is not sent."""


class MessageTooBig(Exception):
    """A message is larger than may be: the WebSocket fails with 1009."""
