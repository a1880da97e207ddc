"""WebSocket (RFC 6455) for ASGI, over any carrier of bytes: the door is `WebSocketSession`."""

from uvicorn_worker.websocket.carrier import Carrier, Handshake, Headers
from uvicorn_worker.websocket.handshake import Refusal, is_websocket_request, negotiate
from uvicorn_worker.websocket.session import WebSocketSession

__all__ = ["Carrier", "Handshake", "Headers", "Refusal", "WebSocketSession", "is_websocket_request", "negotiate"]
