"""Frames of RFC 6455, section 5, read and written.

Data frames are read here as their bytes come, since this is where the time of a WebSocket goes: payloads are
unmasked and text is checked piece by piece, messages of one frame in one read take the shortest way. What control
frames say, and the closing handshake, is for control.py; compression is for deflate.py. Of the websockets library it
takes the function in C that unmasks, and loads nothing else for it.

    HEADER ─► PAYLOAD ─► HEADER ...        `_left` bytes of the frame's payload are still to come
"""

from __future__ import annotations

import codecs
import struct
from typing import Any

from uvicorn_worker.websocket.control import CLOSE, INVALID_DATA, PROTOCOL_ERROR, Closed, ControlFrames
from uvicorn_worker.websocket.deflate import PerMessageDeflate
from uvicorn_worker.websocket.errors import MessageTooBig, ProtocolError

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - where websockets was installed without its C extension, as on PyPy
    from websockets.utils import apply_mask

__all__ = ["BINARY", "BINARY_HEADS", "TEXT", "TEXT_HEADS", "Closed", "FrameConnection", "medium_head"]

TEXT, BINARY = 1, 2

_FIN, _RSV1, _RSV, _MASKED = 0x80, 0x40, 0x70, 0x80
_PLAIN_TEXT, _PLAIN_BINARY = _FIN | TEXT, _FIN | BINARY

# Mask and payload of a small frame, by its second byte: one call where two slices take twice as long.
_unpack_small = {_MASKED + length: struct.Struct(f"2x4s{length}s").unpack_from for length in range(126)}
_SMALL_HEAD = 6

# The second byte where two more say the length; and up to which one a copy of the payload costs less than a view.
_MEDIUM = _MASKED + 126
_COPIED = 4096

# First bytes of the frames of small messages.
TEXT_HEADS = [bytes((_PLAIN_TEXT, length)) for length in range(126)]
BINARY_HEADS = [bytes((_PLAIN_BINARY, length)) for length in range(126)]

# Heads of the frames of larger messages.
_pack_medium = struct.Struct(">BBH").pack
_pack_large = struct.Struct(">BBQ").pack

# So much may come of compressed messages before those that follow in the same read are decompressed.
UNPACKED_BYTES = 1048576

# So many messages may be made of one read before there is room for more: small ones take ten times what they hold;
# reads of a usual size are not counted.
MOST_MESSAGES = 1000
_MUCH = 8192

# So many pieces of a message are kept before they are joined.
_SMALL_PIECES = 256

_new_decoder = codecs.getincrementaldecoder("utf-8")

# 7.4.1
_MESSAGE_TOO_BIG = 1009


class FrameConnection:
    """One side of an open WebSocket without I/O: bytes in, messages out; messages in, bytes out."""

    __slots__ = (
        "_at",
        "_compressed_payload",
        "_control",
        "_decoder",
        "_deflate",
        "_inflated",
        "_left",
        "_mask",
        "_max_compressed",
        "_max_size",
        "_message",
        "_most_medium",
        "_most_small",
        "_opcode",
        "_pending",
        "_rsv1",
        "_size",
        "_small",
        "_start",
        "_unpacked",
        "answered",
        "crowded",
        "deferred",
        "excess",
        "plain",
    )

    def __init__(self, deflate: PerMessageDeflate | None, max_size: int) -> None:
        self._control = ControlFrames()
        self._deflate = deflate
        # Whether messages are sent as they are.
        self.plain = deflate is None
        self._max_size = max_size
        self._most_small = _MASKED + min(125, max_size)
        self._most_medium = min(_COPIED, max_size)
        # What can't be compressed grows a little; what comes of it is checked again.
        self._max_compressed = max_size + max_size // 256 + 64
        # Bytes of a frame's head (or of a control frame) that is not complete.
        self._pending = b""
        # The frame whose payload is coming: how much is left, its mask turned to where it is, its first byte.
        self._left = 0
        self._mask = b""
        self._start = 0
        # The message that is coming: its opcode (0 for none), its compression, its parts.
        self._opcode = 0
        self._rsv1 = False
        self._compressed_payload = bytearray()
        self._message: list[Any] = []
        self._small: list[Any] = []
        self._size = 0
        self._inflated = 0
        self._unpacked = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        # Where in the data the frame begins whose head is being read; -1 while it is a payload.
        self._at = -1
        # Whether the last data had control frames, or made the connection fail: there may be something to send.
        self.answered = False
        # Whether the end (a close frame, an error) waits in `_pending` behind messages that were given already.
        self.deferred = False
        # Whether what is deferred are messages, for which there should be room first.
        self.crowded = False
        # The length of a frame that was too large to be read.
        self.excess = 0

    # Receiving ---------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> list[str | bytes | Closed]:
        """Take bytes of the client; give the messages that are complete now, last a `Closed` if it is over.

        `data_to_send()` gives what is to be sent for it: pongs, the close frame.
        """
        events = self.receive_part(data)
        while self.deferred:
            events += self.receive_part(b"")
        return events

    def receive_part(self, data: bytes) -> list[str | bytes | Closed]:
        """The same, but messages come alone: the end behind them is for a further call, as `deferred` says.

        Until then they can be answered.
        """
        events: list[str | bytes | Closed] = []
        self.deferred = self.crowded = self.answered = False
        self._unpacked = 0
        if self._control.finished:
            return events
        if self._pending:
            data = self._pending + data
            self._pending = b""
        try:
            self._read(data, events)
        except ProtocolError as exc:
            if not self._defer(data, events):
                self._fail(PROTOCOL_ERROR, str(exc), events)
        except UnicodeDecodeError as exc:
            self._fail(INVALID_DATA, f"{exc.reason} at position {exc.start}", events)
        except MessageTooBig:
            if not self._defer(data, events):
                self._fail(_MESSAGE_TOO_BIG, f"message is larger than {self._max_size} bytes", events)
        return events

    def whole_message(self, data: bytes | memoryview) -> str | bytes | None:
        """The message where `data` is one whole frame, and that a whole message; else None, and nothing is taken.

        Only for a WebSocket that is open. Of a memoryview only a large message is taken.
        """
        end = len(data)
        if end < 6 or self._opcode or self._pending:
            return None
        start, length = data[0], data[1] - _MASKED
        if not _PLAIN_TEXT <= start <= _PLAIN_BINARY:
            return None
        if length <= 125:
            if end != length + 6 or length > self._max_size or not isinstance(data, bytes):
                return None
            mask, payload = _unpack_small[_MASKED + length](data)
            payload = apply_mask(payload, mask)
        else:
            size = 8 if length == 126 else 14
            head = bytes(data[:size])
            length = int.from_bytes(head[2:-4], "big")
            if end != size + length or length > self._max_size:
                return None
            if isinstance(data, bytes):
                data = memoryview(data)
            payload = apply_mask(data[size:], head[-4:])
        try:
            return payload.decode() if start == _PLAIN_TEXT else payload
        except UnicodeDecodeError:
            # Looked at again where errors are answered.
            return None

    def _defer(self, data: bytes, events: list[Any]) -> bool:
        """Leave the end for the next call, where messages are before it: they may still be answered."""
        if not events or self._at < 0:
            return False
        self._pending = data[self._at :]
        self.deferred = True
        return True

    def _fail(self, code: int, reason: str, events: list[Any]) -> None:
        # What failed is told to the client with the close frame, whose reason must stay within 123 bytes.
        self._control.fail(code, reason[:120])
        self.answered = True
        self._compressed_payload = bytearray()
        self._message, self._small = [], []
        events.append(Closed(code, reason))

    def _read(self, data: bytes, events: list[Any]) -> None:
        at, end = 0, len(data)
        if self._left:
            at = self._read_payload(data, 0, end, events)
        while end - at >= 2:
            if (at > _MUCH and len(events) >= MOST_MESSAGES) or self._unpacked > UNPACKED_BYTES:
                # Little has become much: the rest is for when this has found room.
                self._pending = data[at:]
                self.deferred = self.crowded = True
                return
            self._at = at
            start, length = data[at], data[at + 1]
            if _PLAIN_TEXT <= start <= _PLAIN_BINARY and length >= _MASKED and not self._opcode:
                # The shortest way: a whole message in one frame, all of it here.
                small_end = self._read_small(data, at, end, events)
                if small_end > at:
                    at = small_end
                    continue
                if length >= _MEDIUM and (whole := self._whole_large_frame(data, at, end)) is not None:
                    payload = apply_mask(
                        memoryview(data)[whole.start : whole.stop], data[whole.start - 4 : whole.start]
                    )
                    events.append(payload.decode() if start == _PLAIN_TEXT else payload)
                    at = whole.stop
                    continue
            if start & 0x08:
                frame_end = self._control_end(data, at)
                if frame_end > end:
                    break
                if start & 0x0F == CLOSE and self._defer(data, events):
                    return
                self._read_control(data[at:frame_end], events)
                at = frame_end
                if self._control.finished:
                    return
                continue
            payload_at_or_none = self._begin_frame(data, at, end)
            if payload_at_or_none is None:
                break
            at = self._read_payload(data, payload_at_or_none, end, events)
        if at < end:
            self._pending = data[at:]

    def _read_small(self, data: bytes, at: int, end: int, events: list[Any]) -> int:
        """Take small messages of one frame each for as long as they follow each other; give where that ends."""
        append, most, most_medium, last = events.append, self._most_small, self._most_medium, end - _SMALL_HEAD
        if end > _MUCH:
            # Each has six bytes and more, so that not too many are taken (MOST_MESSAGES).
            last = min(last, max(_MUCH, at + _SMALL_HEAD * (MOST_MESSAGES - len(events) - 1)))
        while at <= last:
            start, length = data[at], data[at + 1]
            if _MASKED <= length <= most:
                frame_end = at + length - (_MASKED - _SMALL_HEAD)
                if frame_end > end:
                    break
                if start == _PLAIN_TEXT:
                    mask, payload = _unpack_small[length](data, at)
                    append(apply_mask(payload, mask).decode())
                elif start == _PLAIN_BINARY:
                    mask, payload = _unpack_small[length](data, at)
                    append(apply_mask(payload, mask))
                else:
                    break
            elif length == _MEDIUM and _PLAIN_TEXT <= start <= _PLAIN_BINARY:
                payload_at = at + 8
                length = data[at + 2] << 8 | data[at + 3]
                frame_end = payload_at + length
                if frame_end > end or length > most_medium:
                    break
                payload = apply_mask(data[payload_at:frame_end], data[at + 4 : payload_at])
                append(payload.decode() if start == _PLAIN_TEXT else payload)
            else:
                break
            at = frame_end
        return at

    def _whole_large_frame(self, data: bytes, at: int, end: int) -> range | None:
        """Where the payload of a large frame is, if all of it is here and it is not too large."""
        size = 2 if data[at + 1] & 0x7F == 126 else 8
        payload_at = at + 2 + size + 4
        if payload_at > end:
            return None
        length = int.from_bytes(data[at + 2 : at + 2 + size], "big")
        if length > self._max_size or payload_at + length > end:
            return None
        return range(payload_at, payload_at + length)

    def _control_end(self, data: bytes, at: int) -> int:
        """Where a control frame ends (5.5: at most 125 bytes, not fragmented, masked)."""
        start, length = data[at], data[at + 1]
        if start & _RSV:
            raise ProtocolError("reserved bits must be 0")
        if start & 0x0F not in (8, 9, 10):
            raise ProtocolError(f"invalid opcode {start & 0x0F}")
        if not length & _MASKED:
            raise ProtocolError("incorrect masking")
        if length & 0x7F > 125:
            raise ProtocolError("control frame too long")
        if not start & _FIN:
            raise ProtocolError("fragmented control frame")
        return at + 6 + (length & 0x7F)

    def _read_control(self, frame: bytes, events: list[Any]) -> None:
        """Answer a whole control frame."""
        self.answered = True
        closed = self._control.receive(frame[0] & 0x0F, apply_mask(frame[6:], frame[2:6]))
        if closed is not None:
            events.append(closed)

    def _begin_frame(self, data: bytes, at: int, end: int) -> int | None:
        """Read the head of a data frame; give where its payload begins, None when the head is not complete."""
        start, length = data[at], data[at + 1]
        opcode = start & 0x0F
        if opcode > 2:
            raise ProtocolError(f"invalid opcode {opcode}")
        if not length & _MASKED:
            raise ProtocolError("incorrect masking")
        if start & (_RSV & ~_RSV1) or (start & _RSV1 and (self._deflate is None or not opcode)):
            raise ProtocolError("reserved bits must be 0")
        if opcode and self._opcode:
            raise ProtocolError("expected a continuation frame")
        if not opcode and not self._opcode:
            raise ProtocolError("unexpected continuation frame")
        length &= 0x7F
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if end - at < size + 4:
                return None
            length = int.from_bytes(data[at : at + size], "big")
            at += size
            if length >> 63:
                # 5.2: the most significant bit must be 0.
                raise ProtocolError("invalid length")
        elif end - at < 4:
            return None
        compressed = self._rsv1 if not opcode else start & _RSV1
        if length > self._max_compressed if compressed else length + self._size > self._max_size:
            self.excess = length
            raise MessageTooBig
        self._mask = data[at : at + 4]
        self._left = length
        self._start = start
        if opcode:
            self._opcode = opcode
            self._rsv1 = bool(start & _RSV1)
            self._decoder = _new_decoder() if opcode == TEXT else None
        return at + 4

    def _read_payload(self, data: bytes, at: int, end: int, events: list[Any]) -> int:
        """Take what is there of the frame's payload; give where it ends."""
        self._at = -1
        size = min(self._left, end - at)
        if size:
            piece = apply_mask(data[at : at + size], self._mask)
            turn = size & 3
            if turn:
                self._mask = self._mask[turn:] + self._mask[:turn]
            self._left -= size
            self._size += size
            if self._rsv1:
                self._compressed_payload += piece
            elif self._decoder is not None:
                # 8.1: text that is not UTF-8 fails the connection, as soon as that can be seen.
                self._append(self._decoder.decode(piece))
            else:
                self._append(piece)
        if not self._left:
            self._end_frame(events)
        return at + size

    def _append(self, piece: str | bytes) -> None:
        """Keep a piece of a message; many tiny ones are joined, since each object takes far more than its byte."""
        if not piece:
            return
        self._small.append(piece)
        if len(self._small) >= _SMALL_PIECES:
            self._join_small()

    def _join_small(self) -> None:
        small: list[Any] = self._small
        if small:
            self._message.append(small[0] if len(small) == 1 else small[0][:0].join(small))
            self._small = []

    def _end_frame(self, events: list[Any]) -> None:
        final = bool(self._start & _FIN)
        opcode = self._opcode
        if self._rsv1 and self._deflate is not None:
            self._inflate(self._deflate, final)
        if not final:
            return
        message = self._small
        if self._message:
            self._join_small()
            message, self._message = self._message, []
        self._small = []
        if opcode == TEXT:
            decoder = self._decoder
            if decoder is not None:
                # Raises for a character that is not complete; gives nothing.
                decoder.decode(b"", True)
            events.append(message[0] if len(message) == 1 else "".join(message))
        else:
            events.append(message[0] if len(message) == 1 else b"".join(message))
        self._opcode = 0
        self._size = self._inflated = 0
        self._decoder = None
        self._rsv1 = False

    def _inflate(self, deflate: PerMessageDeflate, final: bool) -> None:
        """Decompress a frame (RFC 7692); no more than the largest message is made of it."""
        data, self._compressed_payload = self._compressed_payload, bytearray()
        # A limit of 0 would be none at all to zlib.
        room = self._max_size - self._inflated or 1
        piece = deflate.unpack(data, room, final=final)
        self._inflated += len(piece)
        self._unpacked += len(piece)
        if self._inflated > self._max_size:
            raise MessageTooBig
        self._append(self._decoder.decode(piece) if self._decoder is not None else piece)

    # Sending -----------------------------------------------------------------------------------------

    def text(self, message: str) -> bytes:
        """The frame of a text message."""
        payload = message.encode()
        if self._deflate is not None:
            return _compressed(self._deflate, TEXT, payload)
        length = len(payload)
        return TEXT_HEADS[length] + payload if length < 126 else _head(_PLAIN_TEXT, length) + payload

    def binary(self, payload: bytes) -> bytes:
        """The frame of a binary message."""
        if self._deflate is not None:
            return _compressed(self._deflate, BINARY, payload)
        length = len(payload)
        return BINARY_HEADS[length] + payload if length < 126 else _head(_PLAIN_BINARY, length) + payload

    def large(self, opcode: int, payload: bytes) -> tuple[bytes, ...]:
        """The frame of a large message in pieces, so that the payload need not be copied behind its head."""
        if self._deflate is not None:
            return (_compressed(self._deflate, opcode, payload),)
        return _head(_FIN | opcode, len(payload)), payload

    def ping(self, payload: bytes) -> None:
        """Send a ping; a pong with the same payload ends up in `pong`."""
        self._control.ping(payload)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, unless it has begun; raises ProtocolError for a code that can't be sent."""
        self._control.close(code, reason)

    def fail(self, code: int, reason: str) -> None:
        """Send a close frame, if none was sent, and read no more."""
        self._control.fail(code, reason)

    @property
    def pong(self) -> bytes | None:
        """The payload of the last pong."""
        return self._control.pong

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._control.open

    @property
    def finished(self) -> bool:
        """Whether the closing handshake is over, and the server is to close its side."""
        return self._control.finished

    def data_to_send(self) -> bytes:
        """What is to be sent beside messages: pings, pongs and close frames."""
        return self._control.data_to_send()


def _compressed(deflate: PerMessageDeflate, opcode: int, payload: bytes) -> bytes:
    """The frame of a compressed message."""
    data = deflate.pack(payload)
    return _head(_FIN | _RSV1 | opcode, len(data)) + data


def medium_head(opcode: int, length: int) -> bytes:
    """The head of the frame of a message of 126 to 65,535 bytes."""
    return _pack_medium(_FIN | opcode, 126, length)


def _head(start: int, length: int) -> bytes:
    """The head of an unmasked frame (5.1: a server does not mask)."""
    if length < 126:
        return bytes((start, length))
    if length < 65536:
        return _pack_medium(start, 126, length)
    return _pack_large(start, 127, length)
