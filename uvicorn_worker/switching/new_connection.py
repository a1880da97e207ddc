"""A connection that may speak HTTP/2 or HTTP/1.1: what it is is told by ALPN, or by its first bytes."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn_worker.core.address import Endpoints
from uvicorn_worker.core.kernel import unread_in_kernel
from uvicorn_worker.core.output import NEW_TICKS
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http1 import Http1Protocol
from uvicorn_worker.http1 import Shared as Http1Shared
from uvicorn_worker.http2 import PREFACE, Http2Protocol, engine_class
from uvicorn_worker.http2 import Shared as Http2Shared
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.switching.h2c import upgrade_to_http2

__all__ = ["NewConnection", "make_http2", "upgrade_to_http2"]


def make_http2(runtime: Runtime, proxies: Proxies) -> Http2Shared:
    """What all connections of HTTP/2 share."""
    config = runtime.config
    if config.ws == "none":
        return Http2Shared(runtime, engine_class(config), proxies)
    from uvicorn_worker.switching.websocket_stream import connect_to_websocket

    return Http2Shared(runtime, engine_class(config), proxies, connect_to_websocket)


class NewConnection(asyncio.Protocol):
    """A connection of which it is not known yet what it speaks.

    The time for a first byte runs from here, and `timeout_request_head` from that byte on.
    """

    __slots__ = (
        "__weakref__",
        "_deadline",
        "_endpoints",
        "_held",
        "_http1",
        "_http2",
        "_runtime",
        "_transport",
        "rest_until",
    )

    def __init__(self, runtime: Runtime, http1: Http1Shared, http2: Http2Shared, endpoints: Endpoints | None) -> None:
        self._runtime = runtime
        self._http1 = http1
        self._http2 = http2
        self._endpoints = endpoints
        self._held = b""
        self._deadline = 0
        self.rest_until = -NEW_TICKS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """With TLS the handshake is over, and has decided."""
        runtime = self._runtime
        self._transport = cast("asyncio.Transport", transport)
        if runtime.first_byte_ticks:
            self._deadline = runtime.tick + runtime.first_byte_ticks
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._speak_http2() if tls.selected_alpn_protocol() == "h2" else self._speak_http1()
        elif runtime.config.http2_cleartext in ("prior-knowledge", "both"):
            runtime.connections.add(self)
        else:
            self._speak_http1()

    def data_received(self, data: bytes) -> None:
        """The first bytes of a connection in cleartext."""
        runtime = self._runtime
        if not self._held and runtime.request_head_ticks:
            self._deadline = runtime.tick + runtime.request_head_ticks
        held = self._held + data
        runtime.connections.discard(self)
        if held.startswith(PREFACE):
            self._speak_http2().data_received(held)
        elif PREFACE.startswith(held):
            self._held = held
            runtime.connections.add(self)
        else:
            self._speak_http1().data_received(held)

    def eof_received(self) -> bool:
        """Nothing came, or the beginning of a preface."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left without a word."""
        self._runtime.connections.discard(self)

    def _speak_http1(self) -> Http1Protocol:
        protocol = Http1Protocol(self._runtime, self._http1, self._endpoints)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.deadline = self._deadline
        return protocol

    def _speak_http2(self) -> Http2Protocol:
        protocol = Http2Protocol(self._runtime, self._http2, self._endpoints)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.deadline = self._deadline
        return protocol

    # What the server asks for -------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing has come."""
        return not self._held and not self._transport.is_closing()

    @property
    def lingering(self) -> bool:
        """Nothing is sent before it is known what is spoken."""
        return False

    def on_tick(self, tick: int) -> None:
        """A client that says nothing is told so where it may speak HTTP/1.1; it is closed in any case."""
        if self.rest_until < 0:
            self.rest_until += 1
        if 0 < self._deadline <= tick:
            self._runtime.connections.discard(self)
            protocol = self._speak_http1()
            if self._held:
                protocol.data_received(self._held)
                protocol.deadline = self._deadline
            protocol.on_tick(tick)

    def drain(self) -> None:
        """The server stops; what the connection will say is still answered."""

    def close_if_idle(self) -> None:
        """Close, unless the first bytes have come, be it in this very moment."""
        if self.idle and not unread_in_kernel(self._transport):
            self._runtime.connections.discard(self)
            self._speak_http1().close_if_idle()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()
