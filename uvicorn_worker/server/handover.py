"""The one place that decides which protocol a new connection speaks.

TLS          ALPN: h2, or http/1.1
cleartext    the first bytes: the preface of HTTP/2, or a request of HTTP/1.1 (which may ask for an upgrade)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from uvicorn_worker.http1 import Http1Protocol, parser_factory
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http2 import PREFACE, Http2Protocol, Shared, engine_class
from uvicorn_worker.runtime import Runtime
from uvicorn_worker.server.h2c import upgrade_to_http2
from uvicorn_worker.server.upgrade import upgrade_to_websocket
from uvicorn_worker.server.websocket_stream import connect_to_websocket

__all__ = ["offer_protocols", "protocol_factory"]


def protocol_factory(runtime: Runtime) -> Callable[[], asyncio.Protocol]:
    """A function that makes the protocol of each accepted connection."""
    config = runtime.config
    runtime.make_parser = parser_factory(config)
    websocket = config.ws != "none"
    if websocket:
        runtime.upgrade = upgrade_to_websocket
        runtime.extended_connect = connect_to_websocket
    if config.http2 == "off":
        return lambda: Http1Protocol(runtime)
    shared = Shared(runtime, engine_class(config))
    if config.http2_cleartext in ("upgrade", "both"):

        def upgrade(cycle: RequestCycle) -> RequestCycle | None:
            return (upgrade_to_websocket(cycle) if websocket else None) or upgrade_to_http2(cycle, shared)

        runtime.upgrade = upgrade
    return lambda: NewConnection(runtime, shared)


def offer_protocols(context: ssl.SSLContext) -> None:
    """Let clients choose between HTTP/2 and HTTP/1.1 in the TLS handshake (RFC 7301)."""
    context.set_alpn_protocols(["h2", "http/1.1"])


class NewConnection(asyncio.Protocol):
    """A connection of which it is not known yet what it speaks; `timeout_request_head` runs from here."""

    __slots__ = ("__weakref__", "_client", "_deadline", "_held", "_runtime", "_shared", "_transport")

    def __init__(self, runtime: Runtime, shared: Shared) -> None:
        self._runtime = runtime
        self._shared = shared
        self._held = b""
        self._deadline = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """With TLS the handshake is over, and has decided."""
        runtime = self._runtime
        self._transport = cast("asyncio.Transport", transport)
        if runtime.request_head_ticks:
            self._deadline = runtime.tick + runtime.request_head_ticks
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._speak_http2() if tls.selected_alpn_protocol() == "h2" else self._speak_http1()
        elif runtime.config.http2_cleartext in ("prior-knowledge", "both"):
            runtime.connections.add(self)
        else:
            self._speak_http1()

    def data_received(self, data: bytes) -> None:
        """The first bytes of a connection in cleartext."""
        held = self._held + data
        self._runtime.connections.discard(self)
        if held.startswith(PREFACE):
            self._speak_http2().data_received(held)
        elif PREFACE.startswith(held):
            self._held = held
            self._runtime.connections.add(self)
        else:
            self._speak_http1().data_received(held)

    def eof_received(self) -> bool:
        """Nothing came, or the beginning of a preface."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left without a word."""
        self._runtime.connections.discard(self)

    def _speak_http1(self) -> Http1Protocol:
        protocol = Http1Protocol(self._runtime)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.deadline = self._deadline
        return protocol

    def _speak_http2(self) -> Http2Protocol:
        protocol = Http2Protocol(self._runtime, self._shared)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.deadline = self._deadline
        return protocol

    # What the server asks for -------------------------------------------------------------------------

    def on_tick(self, tick: int) -> None:
        """A client that says nothing is told so where it may speak HTTP/1.1; it is closed in any case."""
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
        """Close: nothing was asked for."""
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection at once."""
        self._transport.abort()
