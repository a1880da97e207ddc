"""The client's side of HTTP/2 as bytes, made and read here without the library that is tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hpack import Decoder, Encoder

from uvicorn_worker.http2.engine.codes import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    FrameType,
    Setting,
)

__all__ = ["Client", "Frame", "Stream", "frame", "frames_of", "settings_payload"]

Fields = Iterable[tuple[bytes, bytes]]


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def settings_payload(settings: dict[int, int]) -> bytes:
    return b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in settings.items())


@dataclass(frozen=True)
class Frame:
    """A frame that the server has sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        at = {FrameType.RST_STREAM: 0, FrameType.GOAWAY: 4}[FrameType(self.kind)]
        return int.from_bytes(self.payload[at : at + 4], "big")

    @property
    def number(self) -> int:
        """The increment of WINDOW_UPDATE, or the last stream of GOAWAY."""
        return int.from_bytes(self.payload[:4], "big")

    @property
    def debug(self) -> bytes:
        """The debug data of GOAWAY."""
        return self.payload[8:]

    @property
    def settings(self) -> dict[int, int]:
        pairs = [self.payload[at : at + 6] for at in range(0, len(self.payload), 6)]
        return {int.from_bytes(pair[:2], "big"): int.from_bytes(pair[2:], "big") for pair in pairs}


def frames_of(data: bytes) -> Iterator[Frame]:
    """The frames in `data`, which must be whole."""
    while data:
        size = int.from_bytes(data[:3], "big")
        assert len(data) >= 9 + size, "not a whole frame"
        yield Frame(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size])
        data = data[9 + size :]


@dataclass
class Stream:
    """What the server has sent on one stream."""

    heads: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    body: bytes = b""
    sizes: list[int] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] | None = None
    ended: bool = False
    reset: int | None = None

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The fields of the final head."""
        return self.heads[-1]

    @property
    def status(self) -> int:
        return int(self.get(b":status") or 0)

    @property
    def statuses(self) -> list[int]:
        """Of informational heads and the final one."""
        return [int(dict(head)[b":status"]) for head in self.heads]

    def get(self, name: bytes) -> bytes | None:
        values = [value for key, value in self.fields if key == name]
        assert len(values) <= 1, f"{name!r} occurs {len(values)} times"
        return values[0] if values else None

    @property
    def whole(self) -> bool:
        return self.ended and self.reset is None


class Client:
    """Makes the bytes that a client sends; reads what the server answers, strictly."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.frames: list[Frame] = []
        self.streams: dict[int, Stream] = {}
        self.next_id = 1
        self._block = b""
        self._pending = b""

    # Sending -----------------------------------------------------------------------------------------

    def preface(self, settings: dict[int, int] | None = None) -> bytes:
        """The client's preface; it acknowledges the server's settings along with it."""
        payload = settings_payload(settings or {})
        return PREFACE + frame(FrameType.SETTINGS, 0, 0, payload) + frame(FrameType.SETTINGS, ACK)

    def block(self, fields: Fields) -> bytes:
        return bytes(self.encoder.encode(list(fields), huffman=True))

    def request_fields(
        self,
        path: bytes = b"/",
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        authority: bytes = b"example.org",
        scheme: bytes = b"http",
    ) -> list[tuple[bytes, bytes]]:
        pseudo = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]
        return [*pseudo, *fields]

    def headers(self, stream_id: int, fields: Fields, *, end: bool = True, end_headers: bool = True) -> bytes:
        flags = (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0)
        return frame(FrameType.HEADERS, flags, stream_id, self.block(fields))

    def request(
        self,
        path: bytes = b"/",
        *fields: tuple[bytes, bytes],
        stream_id: int | None = None,
        end: bool = True,
        **more: Any,
    ) -> bytes:
        """HEADERS of a request, on the next stream if none is named."""
        if stream_id is None:
            stream_id, self.next_id = self.next_id, self.next_id + 2
        return self.headers(stream_id, self.request_fields(path, *fields, **more), end=end)

    def data(self, stream_id: int, data: bytes = b"", *, end: bool = False, padding: int | None = None) -> bytes:
        flags = END_STREAM if end else 0
        if padding is not None:
            flags |= PADDED
            data = bytes([padding]) + data + bytes(padding)
        return frame(FrameType.DATA, flags, stream_id, data)

    def post(self, body: bytes, path: bytes = b"/", *fields: tuple[bytes, bytes], **more: Any) -> bytes:
        """A request with its whole body."""
        head = self.request(path, *fields, end=False, **{"method": b"POST", **more})
        return head + self.data(self.next_id - 2, body, end=True)

    def window(self, increment: int, stream_id: int = 0) -> bytes:
        return frame(FrameType.WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))

    def reset(self, stream_id: int, code: int = 8) -> bytes:
        return frame(FrameType.RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))

    def settings(self, settings: dict[Setting, int] | dict[int, int]) -> bytes:
        return frame(FrameType.SETTINGS, 0, 0, settings_payload({int(key): value for key, value in settings.items()}))

    def ping(self, payload: bytes = b"12345678", flags: int = 0) -> bytes:
        return frame(FrameType.PING, flags, 0, payload)

    def priority_update(self, stream_id: int, value: bytes) -> bytes:
        return frame(FrameType.PRIORITY_UPDATE, 0, 0, stream_id.to_bytes(4, "big") + value)

    def goaway(self, last: int = 0, code: int = 0) -> bytes:
        return frame(FrameType.GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))

    # Receiving ---------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Frame]:
        """Read what the server has sent; gives the frames, which are kept in `frames` and `streams` too."""
        self._pending += data
        found = []
        while len(self._pending) >= 9 and len(self._pending) >= (size := 9 + int.from_bytes(self._pending[:3], "big")):
            (one,) = frames_of(self._pending[:size])
            self._pending = self._pending[size:]
            self._read(one)
            found.append(one)
        self.frames += found
        return found

    def _read(self, one: Frame) -> None:
        stream = self.streams.setdefault(one.stream_id, Stream()) if one.stream_id else None
        assert not self._block or one.kind == FrameType.CONTINUATION
        if stream is None:
            return
        if one.kind in (FrameType.HEADERS, FrameType.CONTINUATION):
            assert not stream.ended, "HEADERS behind the end"
            self._block += one.payload
            if one.flags & END_HEADERS:
                fields = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(self._block, raw=True)]
                self._block = b""
                if stream.heads and stream.status >= 200:
                    assert one.flags & END_STREAM, "trailers that do not end the stream"
                    stream.trailers = fields
                else:
                    stream.heads.append(fields)
            stream.ended |= one.kind == FrameType.HEADERS and bool(one.flags & END_STREAM)
        elif one.kind == FrameType.DATA:
            assert stream.heads, "DATA before HEADERS"
            assert not stream.ended, "DATA behind the end"
            stream.body += one.payload
            stream.sizes.append(len(one.payload))
            stream.ended |= bool(one.flags & END_STREAM)
        elif one.kind == FrameType.RST_STREAM:
            assert stream.reset is None, "RST_STREAM twice"
            stream.reset = one.code

    def of(self, kind: int) -> list[Frame]:
        """The frames of one type that the server has sent."""
        return [one for one in self.frames if one.kind == kind]
