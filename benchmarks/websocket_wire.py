"""WebSockets from the client's side, as bytes: handshake, frames, and the check that a server echoes properly."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import struct
import time
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from .wire import WrongAnswer

# Opcodes (RFC 6455, 11.8).
CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

_FIN = 0x80
_COMPRESSED = 0x40  # RSV1, as permessage-deflate uses it (RFC 7692, 6)
_MASKED = 0x80
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 7692, 7.2.1: what every compressed message ends in, and is sent without.
_DEFLATE_TAIL = b"\x00\x00\xff\xff"

_PATTERN = b'{"type":"message","room":"lobby","from":"anna","text":"Hello!"}\n'


@dataclass(frozen=True)
class Message:
    """What a scenario sends, again and again, and expects back."""

    size: int
    opcode: int = TEXT
    deflate: bool = False
    """Offer permessage-deflate, and insist on it."""

    @property
    def payload(self) -> bytes:
        return (_PATTERN * (self.size // len(_PATTERN) + 1))[: self.size]

    def frame(self) -> bytes:
        """The message as a client sends it, with a random masking key."""
        if not self.deflate:
            return _masked(self.opcode, self.payload)
        # Compressed without earlier messages as context, which a sender is always free to do.
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = compressor.compress(self.payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return _masked(self.opcode | _COMPRESSED, data.removesuffix(_DEFLATE_TAIL))

    def echo(self) -> bytes:
        """The message as it comes back uncompressed and in one frame."""
        return _header(self.opcode, self.size, 0) + self.payload


def close_frame() -> bytes:
    return _masked(CLOSE, b"\x03\xe8")  # 1000, normal closure


def pong_frame(payload: bytes) -> bytes:
    return _masked(PONG, payload)


def _header(opcode: int, size: int, masked: int) -> bytes:
    if size < 126:
        return struct.pack("!BB", _FIN | opcode, masked | size)
    if size < 65536:
        return struct.pack("!BBH", _FIN | opcode, masked | 126, size)
    return struct.pack("!BBQ", _FIN | opcode, masked | 127, size)


def _masked(opcode: int, payload: bytes) -> bytes:
    # All zeros would be legal, and free for servers that look at the key first.
    key = os.urandom(4)
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    data = (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")
    return _header(opcode, size, _MASKED) + key + data


class Received(NamedTuple):
    """A message that has come whole, or a control frame."""

    opcode: int
    payload: bytes
    compressed: bool


class Reader:
    """Takes a server's bytes as they come, and returns what is whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._opcode = 0
        self._compressed = False
        self._fragments: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> list[Received]:
        self._bytes += data
        received = []
        while (frame := self._frame()) is not None:
            first, payload = frame
            opcode = first & 0x0F
            if opcode >= CLOSE:
                received.append(Received(opcode, payload, compressed=False))
                continue
            if (opcode == CONTINUATION) != bool(self._fragments):
                raise WrongAnswer("a fragment that belongs to no message, or a message inside another")
            if opcode != CONTINUATION:
                self._opcode, self._compressed = opcode, bool(first & _COMPRESSED)
            self._fragments.append(payload)
            if first & _FIN:
                received.append(Received(self._opcode, b"".join(self._fragments), self._compressed))
                self._fragments = []
        return received

    def _frame(self) -> tuple[int, bytes] | None:
        """First byte and payload of the next frame, when it is there."""
        buffer = self._bytes
        if len(buffer) < 2:
            return None
        first, size = buffer[0], buffer[1]
        if size & _MASKED or first & 0x30:
            raise WrongAnswer(f"a frame with wrong bits: {bytes(buffer[:2]).hex()}")
        start = 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:start], "big")
        end = start + size
        if len(buffer) < max(start, end):
            return None
        payload = bytes(buffer[start:end])
        del buffer[:end]
        return first, payload


class Handshake:
    """The opening of one WebSocket, in steps, so that many can be under way at once."""

    def __init__(self, port: int, *, deflate: bool = False, source: str = "") -> None:
        self._deflate = deflate
        self._key = base64.b64encode(os.urandom(16)).decode()
        origin = (source, 0) if source else None
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=origin)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [
            "GET / HTTP/1.1",
            f"host: 127.0.0.1:{port}",
            "upgrade: websocket",
            "connection: Upgrade",
            f"sec-websocket-key: {self._key}",
            "sec-websocket-version: 13",
        ]
        if deflate:
            # As browsers offer it.
            lines.append("sec-websocket-extensions: permessage-deflate; client_max_window_bits")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def finish(self) -> socket.socket:
        """Wait for the server's answer; return the socket, or raise WrongAnswer."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.sock.recv(4096)
            if not data:
                raise WrongAnswer("closed instead of an answer to the handshake")
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        self._check(head.decode("latin-1").split("\r\n"))
        if rest:
            raise WrongAnswer("sent something before it was asked")
        return self.sock

    def _check(self, lines: list[str]) -> None:
        if not lines[0].startswith("HTTP/1.1 101"):
            raise WrongAnswer(f"no WebSocket: {lines[0]}")
        fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines[1:]}
        accept = hashlib.sha1((self._key + _GUID).encode(), usedforsecurity=False).digest()
        if fields.get("sec-websocket-accept") != base64.b64encode(accept).decode():
            raise WrongAnswer("wrong Sec-WebSocket-Accept")
        agreed = fields.get("sec-websocket-extensions", "")
        if agreed.startswith("permessage-deflate") != self._deflate:
            raise WrongAnswer(
                "does not agree to permessage-deflate" if self._deflate else f"agrees to {agreed!r} unasked"
            )


def close_websockets(sockets: list[socket.socket], seconds: float = 2.0) -> None:
    """The closing handshake: wait until the server has hung up on all, but hardly longer than *seconds* for that."""
    for sock in sockets:
        sock.settimeout(seconds)
        with contextlib.suppress(OSError):
            sock.sendall(close_frame())
    deadline = time.monotonic() + seconds
    for sock in sockets:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            while sock.recv(65536):
                pass


def receive_messages(sock: socket.socket, reader: Reader, count: int) -> list[Received]:
    """The next *count* messages from a blocking socket; pings are answered."""
    messages: list[Received] = []
    while len(messages) < count:
        data = sock.recv(65536)
        if not data:
            raise WrongAnswer("closed instead of an echo")
        for received in reader.feed(data):
            if received.opcode == PING:
                sock.sendall(pong_frame(received.payload))
            elif received.opcode == CLOSE:
                raise WrongAnswer(f"closes instead of an echo: {received.payload!r}")
            elif received.opcode != PONG:
                messages.append(received)
    return messages


def check_echo(port: int, message: Message, in_flight: int) -> None:
    """Send *in_flight* times *message*, twice over one connection; raise WrongAnswer on anything unexpected."""
    try:
        sock = Handshake(port, deflate=message.deflate).finish()
        with sock:
            reader, inflater = Reader(), zlib.decompressobj(-zlib.MAX_WBITS)
            for _ in range(2):
                sock.sendall(b"".join(message.frame() for _ in range(in_flight)))
                for received in receive_messages(sock, reader, in_flight):
                    _check_one(message, received, inflater)
            close_websockets([sock])
    except (OSError, zlib.error) as error:
        raise WrongAnswer(f"no proper echo: {error!r}") from error


def _check_one(message: Message, received: Received, inflater: zlib._Decompress) -> None:
    payload = received.payload
    if received.compressed:
        if not message.deflate:
            raise WrongAnswer("a compressed message, unasked")
        payload = inflater.decompress(payload + _DEFLATE_TAIL)
    if received.opcode != message.opcode:
        raise WrongAnswer(f"opcode {received.opcode} instead of {message.opcode}")
    if payload != message.payload:
        raise WrongAnswer(f"unexpected echo of {len(payload)} bytes instead of {message.size}")
