"""The sending half of the native engine: responses become frames, as far as the client's windows let them.

Frames are kept as pieces until `data_to_send()` is asked: a header of nine bytes, and what it stands before. Large
bodies are cut without being copied.
"""

from __future__ import annotations

from typing import Any

from uvicorn_worker.http2.engine.abuse import AbuseLimits
from uvicorn_worker.http2.engine.codes import (
    END_HEADERS,
    END_STREAM,
    MAX_STREAM_ID,
    ErrorCode,
    FrameType,
)
from uvicorn_worker.http2.engine.encoding import NO_TABLE, encode_field
from uvicorn_worker.http2.engine.limits import (
    CONTROL_PER_DATA,
    RESET_PER_STREAM,
    RESETS_REMEMBERED,
    SMALL_DATA,
    USEFUL_DATA,
    Limits,
)
from uvicorn_worker.http2.engine.native.frames import make_frame, pack_header
from uvicorn_worker.http2.engine.native.hpack import STATUS, TABLE_SIZE
from uvicorn_worker.http2.engine.native.streams import CLOSED, IDLE, LOCAL_DONE, REMOTE_DONE, WAS_RESET, Credit, Stream

__all__ = ["NativeSending"]

# Windows and frames before SETTINGS say something else (6.5.2, 6.9.2).
DEFAULT_WINDOW = 65535
DEFAULT_FRAME_SIZE = 16384

# Frame types as plain numbers, since those of an enumeration are slower.
_DATA, _HEADERS, _CONTINUATION = int(FrameType.DATA), int(FrameType.HEADERS), int(FrameType.CONTINUATION)


class NativeSending(AbuseLimits):
    """What the client has been told, and may still be told."""

    __slots__ = (
        "_credit",
        "_failed",
        "_frame_size",
        "_gaps",
        "_highest_allowed",
        "_limits",
        "_most_opened",
        "_queue",
        "_small",
        "_small_stream",
        "_stream_credit",
        "_stream_window",
        "_streams",
        "_table_due",
        "_table_size",
        "_were_reset",
        "_window",
        "last_stream_id",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self.last_stream_id = 0
        self._streams: dict[int, Stream] = {}
        # Streams that we have reset: what the client has sent before it knew is to be ignored (5.4.2).
        self._were_reset: dict[int, None] = {}
        # Numbers below the last one that the client has left out.
        self._gaps: list[range] = []
        self._highest_allowed = MAX_STREAM_ID + 1  # no GOAWAY was sent
        self._failed = False
        self._queue: list[bytes | memoryview] = []
        # The header of the last small DATA frame, and its stream: what is queued right behind it is joined to it.
        self._small = b""
        self._small_stream = 0
        # What the client takes: of the connection and, before anything was sent, of a stream; in a frame.
        self._window = DEFAULT_WINDOW
        self._stream_window = DEFAULT_WINDOW
        self._frame_size = DEFAULT_FRAME_SIZE
        # How much the window of any stream was opened, at the most.
        self._most_opened = 0
        # The dynamic table that the client lets us have, and whether it is to be told that we use none.
        self._table_size = TABLE_SIZE
        self._table_due = False
        # Our windows: of the connection, and of a stream. SETTINGS bind the client from its ACK on.
        self._credit = Credit(limits.connection_window)
        self._stream_credit = DEFAULT_WINDOW

    @staticmethod
    def prepare(name: bytes, value: bytes) -> Any:
        """See `Engine`."""
        return encode_field(name, value)

    def start(self) -> None:
        """See `Engine`."""
        self._queue.append(make_frame(FrameType.SETTINGS, 0, 0, self._limits.settings))
        more = self._limits.connection_window - DEFAULT_WINDOW
        if more:
            self._open_window(0, more)

    # Responses ---------------------------------------------------------------------------------------

    def respond(self, stream_id: int, status: int, fields: list[Any], body: bytes) -> bool:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.state == LOCAL_DONE:
            return True
        size = len(body)
        if size > self._window or (size and size > self._stream_window + stream.opened):
            return False
        block = b"".join([STATUS[status], *fields])
        length, most = len(block), self._frame_size
        if length > most or size > most or self._table_due:
            self.send_headers(stream_id, status, fields, not size)
            if size:
                self.send_data(stream_id, body, True)
            return True
        self._control += CONTROL_PER_DATA + CONTROL_PER_DATA if size else CONTROL_PER_DATA
        self._resets += RESET_PER_STREAM
        if size:
            self._window -= size
            # Length and type, flags, stream.
            self._queue += (
                pack_header(length << 8 | _HEADERS, END_HEADERS, stream_id),
                block,
                pack_header(size << 8, END_STREAM, stream_id),
                body,
            )
        else:
            self._queue += (pack_header(length << 8 | _HEADERS, END_HEADERS | END_STREAM, stream_id), block)
        if stream.state == REMOTE_DONE:
            del self._streams[stream_id]
        else:
            stream.opened -= size
            stream.state = LOCAL_DONE
        return True

    def send_headers(self, stream_id: int, status: int, fields: list[Any], end_stream: bool) -> None:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state != LOCAL_DONE:
            stream.answered = status >= 200
            self._send_block(stream_id, b"".join([STATUS[status], *fields]), end_stream)
            if end_stream:
                self._local_ended(stream_id, stream)

    def send_trailers(self, stream_id: int, fields: list[Any]) -> None:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state != LOCAL_DONE:
            self._send_block(stream_id, b"".join(fields), True)
            self._local_ended(stream_id, stream)

    def _send_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """Queue a header block: HEADERS, with CONTINUATION where it is larger than the client's frames."""
        if self._table_due:
            # RFC 7541, 4.2: the decoder is told once that the encoder has obeyed.
            self._table_due = False
            block = NO_TABLE + block
        most = self._frame_size
        flags = END_STREAM if end_stream else 0
        if len(block) <= most:
            self._queue.append(make_frame(_HEADERS, flags | END_HEADERS, stream_id, block))
            return
        self._queue.append(make_frame(_HEADERS, flags, stream_id, block[:most]))
        for at in range(most, len(block), most):
            flags = END_HEADERS if at + most >= len(block) else 0
            self._queue.append(make_frame(_CONTINUATION, flags, stream_id, block[at : at + most]))

    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.state == LOCAL_DONE:
            return
        size, most, queue = len(data), self._frame_size, self._queue
        room = min(self._window, self._stream_window + stream.opened)
        if size > room and size:
            raise ValueError(f"{size} bytes of DATA do not fit in the window")
        if size >= USEFUL_DATA or 0 < size < room:
            self._control += CONTROL_PER_DATA * (1 + size // most)
        end_flag = END_STREAM if end_stream else 0
        if not size:
            queue.append(pack_header(_DATA, end_flag, stream_id))
        elif size < SMALL_DATA:
            if stream_id == self._small_stream and len(queue) > 1 and queue[-2] is self._small:
                data = b"".join((queue.pop(), data))
                queue.pop()
            self._small = header = pack_header(len(data) << 8, end_flag, stream_id)
            self._small_stream = stream_id if len(data) < SMALL_DATA else 0
            queue += (header, data)
        elif size <= most:
            queue += (pack_header(size << 8, end_flag, stream_id), data)
        else:
            view = memoryview(data)
            whole = pack_header(most << 8, 0, stream_id)
            last = (size - 1) // most * most
            for at in range(0, last, most):
                queue += (whole, view[at : at + most])
            queue += (pack_header(size - last << 8, end_flag, stream_id), view[last:])
        self._window -= size
        stream.opened -= size
        if end_stream:
            self._local_ended(stream_id, stream)

    def _local_ended(self, stream_id: int, stream: Stream) -> None:
        self._ended_well()
        if stream.state == REMOTE_DONE:
            del self._streams[stream_id]
        else:
            stream.state = LOCAL_DONE

    # Windows -----------------------------------------------------------------------------------------

    def window(self, stream_id: int) -> int:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.state == LOCAL_DONE:
            return 0
        return max(0, min(self._window, self._stream_window + stream.opened))

    def connection_window(self) -> int:
        """See `Engine`."""
        return self._window

    def acknowledge(self, stream_id: int, size: int) -> None:
        """See `Engine`."""
        if self._failed or not size:
            return
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state != LOCAL_DONE:
            self._control += CONTROL_PER_DATA
        self._give_credit(stream_id, stream, size)

    def _give_credit(self, stream_id: int, stream: Stream | None, size: int) -> None:
        """Open our windows by what was taken, when that is worth a frame."""
        more = self._credit.give(size)
        if more:
            self._open_window(0, more)
        if stream is not None and stream.state != REMOTE_DONE and stream.credit is not None:
            more = stream.credit.give(size)
            if more:
                self._open_window(stream_id, more)

    def _open_window(self, stream_id: int, size: int) -> None:
        self._queue.append(make_frame(FrameType.WINDOW_UPDATE, 0, stream_id, size.to_bytes(4, "big")))

    # Streams -----------------------------------------------------------------------------------------

    def reset(self, stream_id: int, code: int) -> None:
        """See `Engine`."""
        if stream_id in self._streams:
            del self._streams[stream_id]
            self._send_reset(stream_id, code)
            if code == ErrorCode.REFUSED_STREAM:
                self._count_refusal()

    def _send_reset(self, stream_id: int, code: int) -> None:
        """Reset a stream that is not there any more, or never was."""
        self._queue.append(make_frame(FrameType.RST_STREAM, 0, stream_id, code.to_bytes(4, "big")))
        self._were_reset[stream_id] = None
        if len(self._were_reset) > RESETS_REMEMBERED:
            del self._were_reset[next(iter(self._were_reset))]

    def _state(self, stream_id: int) -> int:
        """The state of any stream. Those of even numbers would be ours to open, and stay idle (5.1.1)."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream.state
        if stream_id > self.last_stream_id or not stream_id & 1:
            return IDLE
        return WAS_RESET if stream_id in self._were_reset else CLOSED

    # The connection ----------------------------------------------------------------------------------

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """See `Engine`."""
        if not self._failed:
            self._highest_allowed = min(self._highest_allowed, last_stream_id)
            payload = last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + debug
            self._queue.append(make_frame(FrameType.GOAWAY, 0, 0, payload))

    def ping(self, payload: bytes) -> None:
        """See `Engine`."""
        if not self._failed:
            self._queue.append(make_frame(FrameType.PING, 0, 0, payload))

    @property
    def has_data(self) -> bool:
        """See `Engine`."""
        return bool(self._queue)

    def data_to_send(self) -> list[bytes | memoryview]:
        """See `Engine`."""
        queue, self._queue = self._queue, []
        self._answers = 0
        return queue
