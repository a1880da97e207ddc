"""The PROXY protocol (versions 1 and 2, haproxy.org/download/3.0/doc/proxy-protocol.txt): the ends of a connection.

    "PROXY TCP4 203.0.113.5 10.0.0.2 50123 443\r\n"                 version 1: a line of 107 bytes at most
    signature, version and command, family, length, body            version 2: 16 bytes, then addresses and TLVs

A header is the first thing on a connection, before TLS. So it is read from the socket itself, and not a byte more than
it: what follows is left for the transport. Where the protocol is on every connection must begin with a header: one
that could be left out could be written by a client (section 2 of the text).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import cache

from uvicorn_worker.core.address import Endpoints, client_of, peer_name, server_of
from uvicorn_worker.core.output import NEW_TICKS
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.proxies.trust import Trust

__all__ = ["ProxyHeaderError", "crc32c", "parse_proxy_header", "receive_endpoints"]

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_START = b"PROXY "
# Section 2.1: with its line end.
V1_LONGEST = 107
V2_FIXED = 16
# The length may be 65535. Addresses take 216 bytes at most; the rest is for TLVs, the largest of which is a
# client's certificate.
V2_LONGEST = 16384

# Section 2.2: what is in the second half of byte 13, and byte 14.
LOCAL, PROXY = 0, 1
UNSPEC = 0
TCP4, TCP6, UNIX_STREAM = 0x11, 0x21, 0x31
# The bytes of the addresses and ports of each.
ADDRESS_SIZES = {TCP4: 12, TCP6: 36, UNIX_STREAM: 216}

# Section 2.2.1 to 2.2.7: TLVs.
TYPE_CRC32C, TYPE_SSL = 0x03, 0x20
CLIENT_SSL = 0x01


class ProxyHeaderError(Exception):
    """The connection is closed; the message says why."""


# The header -----------------------------------------------------------------------------------------------


def parse_proxy_header(data: bytes, mode: str) -> tuple[Endpoints | None, int] | None:
    """The endpoints that the header at the start of `data` tells, and its size in bytes.

    None: all of `data` belongs to a header that is not complete yet. Endpoints of None: those of the socket count.
    `mode` is v1, v2 or auto. Raises `ProxyHeaderError`.
    """
    if mode != "v1" and data[:12] == SIGNATURE[: len(data)]:
        return _parse_v2(data)
    if mode != "v2" and data[:6] == V1_START[: len(data)]:
        return _parse_v1(data)
    raise ProxyHeaderError("it does not begin with a header of the PROXY protocol")


def _parse_v1(data: bytes) -> tuple[Endpoints | None, int] | None:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        if len(data) >= V1_LONGEST:
            raise ProxyHeaderError("the line of the PROXY protocol is too long")
        return None
    kind, *words = data[6:end].split(b" ")
    if kind == b"UNKNOWN":
        # What follows on the line is to be ignored.
        return None, end + 2
    if kind not in (b"TCP4", b"TCP6") or len(words) != 4:
        raise ProxyHeaderError("the line of the PROXY protocol is malformed")
    family = socket.AF_INET if kind == b"TCP4" else socket.AF_INET6
    try:
        source, destination = words[0].decode("ascii"), words[1].decode("ascii")
        if "\0" in source + destination:
            # PyPy's inet_pton reads as far as that.
            raise ValueError
        socket.inet_pton(family, source)
        socket.inet_pton(family, destination)
    except (OSError, ValueError):
        raise ProxyHeaderError("an address in the line of the PROXY protocol is malformed") from None
    return Endpoints((source, _v1_port(words[2])), (destination, _v1_port(words[3]))), end + 2


def _v1_port(text: bytes) -> int:
    port = int(text) if text.isdigit() and len(text) <= 5 else -1
    # Leading zeros are not allowed, so that nobody takes it for octal.
    if b"%d" % port != text or port > 65535:
        raise ProxyHeaderError("a port in the line of the PROXY protocol is malformed")
    return port


def _parse_v2(data: bytes) -> tuple[Endpoints | None, int] | None:
    if len(data) < V2_FIXED:
        return None
    command, family, length = data[12] & 15, data[13], int.from_bytes(data[14:16], "big")
    size = V2_FIXED + length
    if data[12] >> 4 != 2 or command not in (LOCAL, PROXY):
        raise ProxyHeaderError("a version or command of the PROXY protocol that is unknown")
    if size > V2_LONGEST:
        raise ProxyHeaderError("the header of the PROXY protocol is too long")
    if len(data) < size:
        return None
    if command == LOCAL or family >> 4 == UNSPEC:
        # The proxy's own connection, such as a health check, or one that it can't tell about.
        return None, size
    addresses_end = V2_FIXED + ADDRESS_SIZES.get(family, 0)
    if addresses_end == V2_FIXED or addresses_end > size:
        raise ProxyHeaderError("the addresses of the PROXY protocol are of another kind, or cut off")
    secure = _check_tlvs(data[:size], addresses_end)
    return _v2_endpoints(family, data[V2_FIXED:addresses_end], secure), size


def _v2_endpoints(family: int, body: bytes, secure: bool) -> Endpoints:
    if family == UNIX_STREAM:
        path = body[108:216].rstrip(b"\0").decode("utf-8", "surrogateescape")
        return Endpoints(None, (path, None), secure)
    kind, size = (socket.AF_INET, 4) if family == TCP4 else (socket.AF_INET6, 16)
    source, destination = socket.inet_ntop(kind, body[:size]), socket.inet_ntop(kind, body[size : 2 * size])
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * size)
    return Endpoints((source, source_port), (destination, destination_port), secure)


def _check_tlvs(header: bytes, at: int) -> bool:
    """Whether the client has come over TLS; TLVs of types that mean nothing here are skipped."""
    secure = False
    while at < len(header):
        start, at = at + 3, at + 3 + int.from_bytes(header[at + 1 : at + 3], "big")
        if at > len(header):
            raise ProxyHeaderError("a TLV of the PROXY protocol is cut off")
        kind, value = header[start - 3], header[start:at]
        if kind == TYPE_SSL:
            secure = bool(value[:1]) and bool(value[0] & CLIENT_SSL)
        elif kind == TYPE_CRC32C:
            blank = header[:start] + bytes(len(value)) + header[at:]
            if value != crc32c(blank).to_bytes(4, "big"):
                raise ProxyHeaderError("the checksum of the PROXY protocol is wrong")
    return secure


@cache
def _crc32c_table() -> list[int]:
    """Made with the first checksum, which hardly any proxy sends."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            # The polynomial of Castagnoli, its bits reversed (RFC 4960, appendix B).
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


def crc32c(data: bytes) -> int:
    """CRC-32C, as of RFC 4960, appendix B."""
    crc, table = 0xFFFFFFFF, _crc32c_table()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


# Reading it -----------------------------------------------------------------------------------------------


async def receive_endpoints(runtime: Runtime, sock: socket.socket, trust: Trust) -> Endpoints | None:
    """The ends of a connection that was accepted, read from the non-blocking `sock`.

    What comes behind the header is left in the socket. None: the connection has none, or its peer may not send one; it
    was closed, which is logged.
    """
    client = None
    try:
        client = client_of(sock.getpeername())
        if not trust.trusts(client):
            raise ProxyHeaderError("its address is not in proxy_allow_ips")
        reader = _HeaderReader(runtime, sock)
        return await reader.read() or Endpoints(client, server_of(sock.getsockname()))
    except ProxyHeaderError as exc:
        runtime.log.warning("Connection from %s closed: %s", peer_name(client), exc)
        sock.close()
    except OSError as exc:
        # Health checks connect and leave, for instance.
        runtime.log.debug("Connection ended before its header of the PROXY protocol: %s", exc)
        sock.close()
    except asyncio.CancelledError:
        sock.close()
        raise
    return None


class _HeaderReader:
    """Reads a header; meanwhile one of the connections of the runtime, so that deadlines and a stop reach it."""

    def __init__(self, runtime: Runtime, sock: socket.socket) -> None:
        self._runtime = runtime
        self._sock = sock
        self._data = b""
        self.rest_until = -NEW_TICKS
        self._deadline = runtime.tick + runtime.request_head_ticks if runtime.request_head_ticks else 0
        self._done: asyncio.Future[Endpoints | None] = runtime.loop.create_future()

    async def read(self) -> Endpoints | None:
        """What the header tells; raises `ProxyHeaderError`, and OSError where the peer did not say a word."""
        # A proxy sends the header as it connects, so that it mostly is there.
        self._on_readable()
        if not self._done.done():
            loop = self._runtime.loop
            loop.add_reader(self._sock.fileno(), self._on_readable)
            self._runtime.connections.add(self)
            try:
                await self._done
            finally:
                loop.remove_reader(self._sock.fileno())
                self._runtime.connections.discard(self)
        return self._done.result()

    def _on_readable(self) -> None:
        try:
            parsed = self._receive()
        except (BlockingIOError, InterruptedError):
            return
        except (ProxyHeaderError, OSError) as exc:
            self._fail(exc)
        else:
            if parsed is not None and not self._done.done():
                self._done.set_result(parsed[0])

    def _receive(self) -> tuple[Endpoints | None, int] | None:
        """Take what has come of the header, and nothing of what is behind it."""
        before = len(self._data)
        seen = self._sock.recv(V2_LONGEST, socket.MSG_PEEK)
        if not seen:
            if before:
                raise ProxyHeaderError("it ended within the header of the PROXY protocol")
            raise ConnectionAbortedError("the peer left without a word")
        parsed = parse_proxy_header(self._data + seen, self._runtime.config.proxy_protocol)
        # A socket whose bytes were only looked at would stay readable.
        self._data += self._sock.recv(len(seen) if parsed is None else parsed[1] - before)
        return parsed

    def _fail(self, exc: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(exc)

    # As a connection of the runtime ----------------------------------------------------------------------

    def on_tick(self, tick: int) -> None:
        """Look at the deadline."""
        if self.rest_until < 0:
            self.rest_until += 1
        if 0 < self._deadline <= tick:
            late = "the header of the PROXY protocol did not arrive in time"
            self._fail(ProxyHeaderError(late) if self._data else TimeoutError(late))

    @property
    def idle(self) -> bool:
        """Whether nothing has come."""
        return not self._data

    @property
    def lingering(self) -> bool:
        """Nothing is sent before the header has come."""
        return False

    def drain(self) -> None:
        """The server stops: what a proxy has begun is still served."""

    def close_if_idle(self) -> None:
        """Close the connection if nothing has come."""
        if not self._done.done():
            self._on_readable()
        if self.idle:
            self.abort()

    def abort(self) -> None:
        """Close it at once."""
        self._fail(ConnectionAbortedError("the server stops"))
