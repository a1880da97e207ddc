"""The client's side of a WebSocket in bytes, written from RFC 6455 and RFC 7692 alone.

Nothing here comes from the package or from the websockets library, so that a fault of theirs does not hide itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ACCEPT",
    "BINARY",
    "CLOSE",
    "CONT",
    "HANDSHAKE",
    "KEY",
    "MASK",
    "PING",
    "PONG",
    "TEXT",
    "Deflater",
    "Frame",
    "Inflater",
    "binary",
    "close",
    "cont",
    "frame",
    "handshake",
    "parse_frames",
    "ping",
    "pong",
    "text",
]

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

MASK = b"\x37\xfa\x21\x3d"
"""The mask of the example in RFC 6455, 5.7."""

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of the example in RFC 6455, 1.3."""

ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What the server answers to `KEY`."""

HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)
"""The header lines of a handshake, as `tests.scripted.get` takes them."""


def handshake(target: str = "/", *fields: str, leave_out: str = "-", version: str = "1.1") -> bytes:
    """A handshake with further header lines, without those that begin with `leave_out`."""
    lines = [f"GET {target} HTTP/{version}", "Host: example.org"]
    lines += [line for line in HANDSHAKE if not line.startswith(leave_out)]
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1")


def masked(payload: bytes, mask: bytes) -> bytes:
    """RFC 6455, 5.3."""
    size = len(payload)
    whole = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ whole).to_bytes(size, "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    length: int | None = None,
    form: int | None = None,
) -> bytes:
    """A frame of the client (5.2).

    `rsv` is the three reserved bits as a number, 4 is RSV1. `length` is what the head says, where it is not
    the payload's; `form` is how: 7, 16 or 64 bits, by default the shortest.
    """
    length = len(payload) if length is None else length
    if form is None:
        form = 7 if length < 126 else 16 if length < 65536 else 64
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0 if mask is None else 0x80
    if form == 7:
        head = bytes([first, bit | length])
    elif form == 16:
        head = bytes([first, bit | 126]) + struct.pack("!H", length)
    else:
        head = bytes([first, bit | 127]) + struct.pack("!Q", length)
    if mask is None:
        return head + payload
    return head + mask + masked(payload, mask)


def text(message: str | bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """The (first) frame of a text message; bytes for text that is none."""
    return frame(TEXT, message.encode() if isinstance(message, str) else message, fin=fin, rsv=rsv)


def binary(message: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """The (first) frame of a binary message."""
    return frame(BINARY, message, fin=fin, rsv=rsv)


def cont(piece: str | bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A further frame of a message, by default the last."""
    return frame(CONT, piece.encode() if isinstance(piece, str) else piece, fin=fin, rsv=rsv)


def ping(payload: bytes = b"") -> bytes:
    return frame(PING, payload)


def pong(payload: bytes = b"") -> bytes:
    return frame(PONG, payload)


def close(code: int | None = None, reason: str | bytes = b"") -> bytes:
    """A close frame (5.5.1); without a code it is empty."""
    if code is None:
        return frame(CLOSE)
    return frame(CLOSE, struct.pack("!H", code) + (reason.encode() if isinstance(reason, str) else reason))


@dataclass(frozen=True)
class Frame:
    """A frame of the server."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    @property
    def code(self) -> int | None:
        """The code of a close frame; None for one without."""
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None

    @property
    def reason(self) -> str:
        assert self.opcode == CLOSE
        return self.payload[2:].decode()


def parse_frames(data: bytes) -> list[Frame]:
    """All frames of the server in `data`, which hold nothing else; strict in what a server must keep to."""
    frames = []
    at = 0
    while at < len(data):
        first, second = data[at], data[at + 1]
        # 5.1: a server must not mask.
        assert not second & 0x80, "a masked frame of the server"
        size = second & 0x7F
        at += 2
        if size == 126:
            (size,) = struct.unpack("!H", data[at : at + 2])
            assert size > 125, "not the shortest form of the length"
            at += 2
        elif size == 127:
            (size,) = struct.unpack("!Q", data[at : at + 8])
            assert size > 65535, "not the shortest form of the length"
            at += 8
        assert at + size <= len(data), "not a whole frame"
        item = Frame(first & 0x0F, data[at : at + size], bool(first & 0x80), first >> 4 & 7)
        if item.opcode >= CLOSE:
            # 5.5
            assert item.fin
            assert size <= 125
            assert not item.rsv
        frames.append(item)
        at += size
    return frames


class Deflater:
    """Compresses the client's messages (RFC 7692, 7.2.1)."""

    def __init__(self, bits: int = 12, *, no_context_takeover: bool = False, level: int = 6) -> None:
        self._make: Callable[[], Any] = lambda: zlib.compressobj(level, zlib.DEFLATED, -bits)
        self._forgets = no_context_takeover
        self._zlib = self._make()

    def pieces(self, *payloads: bytes) -> list[bytes]:
        """The payloads of the frames of one message."""
        if self._forgets:
            self._zlib = self._make()
        pieces = [self._zlib.compress(payload) + self._zlib.flush(zlib.Z_SYNC_FLUSH) for payload in payloads]
        assert pieces[-1].endswith(b"\x00\x00\xff\xff")
        return [*pieces[:-1], pieces[-1][:-4]]

    def message(self, *payloads: bytes, opcode: int = TEXT) -> bytes:
        """The frames of one message, a frame for each payload."""
        pieces = self.pieces(*payloads)
        last = len(pieces) - 1
        return b"".join(
            frame(opcode if at == 0 else CONT, piece, fin=at == last, rsv=4 if at == 0 else 0)
            for at, piece in enumerate(pieces)
        )


class Inflater:
    """Reads the server's compressed messages (RFC 7692, 7.2.2)."""

    def __init__(self, bits: int = 12, *, no_context_takeover: bool = False) -> None:
        self._make: Callable[[], Any] = lambda: zlib.decompressobj(-bits)
        self._forgets = no_context_takeover
        self._zlib = self._make()

    def message(self, item: Frame) -> bytes:
        assert item.rsv == 4, "not compressed"
        if self._forgets:
            self._zlib = self._make()
        data: bytes = self._zlib.decompress(item.payload + b"\x00\x00\xff\xff")
        return data
