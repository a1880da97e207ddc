"""From HTTP/1.1 to HTTP/2 by `Upgrade: h2c` (RFC 7540, 3.2).

RFC 9113 has given it up, and it is granted only to trusted peers: an intermediary that passes the fields on without
understanding them would let a client speak behind its back. Whoever is not granted it is served as HTTP/1.1.

    request with Upgrade: h2c ─► its body, as HTTP/1.1 ─► 101 ─► answered on stream 1 of HTTP/2
"""

from __future__ import annotations

import base64
import binascii
import re

from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http2 import Http2Protocol, Malformed, RequestHead, Shared, request_head

__all__ = ["upgrade_to_http2"]

# The largest body that is waited for before the protocols change; requests with a larger one stay HTTP/1.1.
LARGEST_BODY = 65536

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"

# Fields that are HTTP/1.1's, or have had their effect.
_LEFT_OUT = frozenset(
    [b"connection", b"upgrade", b"http2-settings", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"expect"]
)
_is_base64url = re.compile(rb"[A-Za-z0-9_-]*").fullmatch


def upgrade_to_http2(cycle: RequestCycle, shared: Shared) -> RequestCycle | None:
    """The cycle that takes the place of a request for h2c; None where it is served as HTTP/1.1."""
    runtime, conn, scope = cycle.runtime, cycle.conn, cycle.scope
    length = conn.body_declared
    if not conn.trusted or cycle.http10 or scope["scheme"] != "http" or length is None or length > LARGEST_BODY:
        return None
    headers = scope["headers"]
    settings = _settings_of(headers)
    if settings is None or conn.has_more_requests or conn.cycle is not cycle:
        return None
    fields = [(name, value) for name, value in headers if name not in _LEFT_OUT]
    pseudo = [(b":method", scope["method"].encode()), (b":scheme", b"http"), (b":path", cycle.target)]
    protocol = UpgradedProtocol(runtime, shared, conn.endpoints)
    try:
        protocol.engine.open_upgraded(settings)
        head = request_head(pseudo + fields)
    except (ValueError, Malformed) as exc:
        runtime.log.debug("An upgrade to HTTP/2 is not granted: %s", exc)
        return None
    return UpgradeCycle(cycle, protocol, head)


def _settings_of(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The payload of SETTINGS that comes with a request for h2c; None for any other request."""
    lists: dict[bytes, list[bytes]] = {b"upgrade": [], b"connection": []}
    settings = []
    for name, value in headers:
        if name in lists:
            lists[name] += [item.strip(b" \t") for item in value.lower().split(b",")]
        elif name == b"http2-settings":
            settings.append(value)
    if b"h2c" not in lists[b"upgrade"] or b"http2-settings" not in lists[b"connection"] or len(settings) != 1:
        return None
    try:
        if _is_base64url(settings[0]):
            return base64.urlsafe_b64decode(settings[0] + b"=" * (-len(settings[0]) % 4))
    except binascii.Error:
        pass
    return None


class UpgradedProtocol(Http2Protocol):
    """HTTP/2 of a client that may have its first response before it has read the 101, and sent its preface."""

    __slots__ = ("preface_tick",)

    def begin_upgraded(self, head: RequestHead, body: bytes) -> None:
        """Begin with the request that has asked for the upgrade; the preface may take as long as a first head."""
        self.preface_tick = self.runtime.tick + self.runtime.first_byte_ticks
        super().begin_upgraded(head, body)

    def is_idle_indeed(self) -> bool:
        """Not while the preface is awaited: a client that meets the close with it may lose the response as well."""
        runtime = self.runtime
        if not self.engine.greeted and runtime.tick < self.preface_tick and not runtime.draining:
            self.deadline = runtime.tick + runtime.keep_alive_ticks
            return False
        return super().is_idle_indeed()


class UpgradeCycle(RequestCycle):
    """A request that will be answered on HTTP/2, once all of it is there."""

    __slots__ = ("head", "protocol")

    def __init__(self, cycle: RequestCycle, protocol: Http2Protocol, head: RequestHead) -> None:
        super().__init__(cycle.conn, cycle.runtime, cycle.scope, cycle.persistent)
        self.started = cycle.started
        self.target = cycle.target
        self.complete = cycle.complete
        self.expect_continue = cycle.expect_continue
        self.protocol = protocol
        self.head = head

    async def run(self) -> None:
        """Wait for the body, then hand the connection over."""
        try:
            pieces = []
            while True:
                event = await self.receive()
                if event["type"] == "http.disconnect":
                    return
                pieces.append(event["body"])
                if not event["more_body"]:
                    break
        finally:
            self.returned()
        self._switch(b"".join(pieces))

    def _switch(self, body: bytes) -> None:
        """Say that the protocols change, and let HTTP/2 answer."""
        conn, protocol = self.conn, self.protocol
        transport = conn.transport
        early = conn.release()
        transport.set_protocol(protocol)
        transport.write(SWITCH)
        protocol.connection_made(transport)
        protocol.write_paused = conn.write_paused
        protocol.begin_upgraded(self.head, body)
        if early:
            protocol.data_received(early)
