"""WebSocket (RFC 6455) for ASGI, over any carrier of bytes: the door is `WebSocketSession`."""

from uvicorn_worker.websocket.handshake import Refusal, accept_key, is_websocket_request, negotiate
from uvicorn_worker.websocket.session import WebSocketSession

__all__ = ["Refusal", "WebSocketSession", "accept_key", "is_websocket_request", "negotiate"]
