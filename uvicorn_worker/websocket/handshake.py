"""The opening handshake (RFC 6455, 4.2), checked and negotiated by the websockets library.

The library is given the request as the HTTP room has parsed it; no bytes are made again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderValue
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_subprotocol
from websockets.http11 import Request
from websockets.server import ServerProtocol

from uvicorn_worker.core.config import Config

if TYPE_CHECKING:
    from websockets.extensions import Extension

__all__ = ["Agreement", "Refusal", "is_websocket_request", "negotiate"]

# Windows of 4 KiB both ways and a small hash table: some 30 KiB for a connection that compresses, where
# zlib's defaults take 300. Messages of a chat or of JSON compress nearly as well.
_deflate = ServerPerMessageDeflateFactory(
    server_max_window_bits=12,
    client_max_window_bits=12,
    compress_settings={"memLevel": 5},
)

# The library logs each handshake for itself; ours is in the access log.
_silent = logging.getLogger("uvicorn_worker.websockets")
_silent.propagate = False
_silent.setLevel(logging.CRITICAL)


class Agreement:
    """What client and server have agreed on: the fields of the 101, and the extensions."""

    __slots__ = ("extensions", "headers")

    def __init__(self, headers: list[tuple[bytes, bytes]], extensions: list[Extension]) -> None:
        self.headers = headers
        self.extensions = extensions


class Refusal:
    """The answer to a handshake that is not one."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers


def is_websocket_request(method: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a request asks to change to WebSocket; if it does so rightly is for `negotiate` to say."""
    return method == "GET" and any(name == b"upgrade" and value.lower() == b"websocket" for name, value in headers)


def offered_subprotocols(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """The subprotocols of all Sec-WebSocket-Protocol fields, in their order."""
    values = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-protocol"]
    return [str(subprotocol) for value in values for subprotocol in parse_subprotocol(value)]


def negotiate(config: Config, target: str, headers: list[tuple[bytes, bytes]]) -> Agreement | Refusal:
    """Check a handshake request; agree on extensions."""
    fields = Headers()
    for name, value in headers:
        fields[name.decode("latin-1")] = value.decode("latin-1")
    engine = ServerProtocol(extensions=[_deflate] if config.ws_per_message_deflate else None, logger=_silent)
    response = engine.accept(Request(target, fields))
    if response.status_code != 101:
        return _refusal(engine, response.status_code)
    kept = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers.raw_items()
        if name.lower() in ("upgrade", "connection", "sec-websocket-accept", "sec-websocket-extensions")
    ]
    return Agreement(kept, list(engine.extensions))


def _refusal(engine: ServerProtocol, status: int) -> Refusal:
    exc = engine.handshake_exc
    reason = str(exc) or "not a WebSocket handshake"
    if isinstance(exc, InvalidHeaderValue) and exc.name == "Sec-WebSocket-Version":
        # RFC 6455, 4.4: say which version is spoken here; RFC 9110, 15.5.22: and what to upgrade to.
        return Refusal(426, reason, [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")])
    return Refusal(400 if status == 426 else status, reason)
