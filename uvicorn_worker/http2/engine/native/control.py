"""Frames of the native engine that carry nothing of a request, and the faults that any frame can be.

SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY and PRIORITY_UPDATE are dealt with here; HEADERS and DATA
in engine.py.
"""

from __future__ import annotations

from collections.abc import Callable

from uvicorn_worker.http2.engine.codes import (
    ACK,
    CONNECTION_FRAMES,
    LENGTHS,
    MAX_STREAM_ID,
    MAX_WINDOW,
    ErrorCode,
    FrameType,
    Setting,
)
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import (
    ConnectionFailed,
    Event,
    GoAwayReceived,
    PongReceived,
    PriorityUpdated,
    StreamReset,
    WindowOpened,
)
from uvicorn_worker.http2.engine.native.frames import make_frame, unpack_setting
from uvicorn_worker.http2.engine.native.sending import NativeSending
from uvicorn_worker.http2.engine.native.streams import IDLE

__all__ = ["NativeControl"]


class NativeControl(NativeSending):
    """What the client says of streams and of the connection, beside requests."""

    __slots__ = ()

    def read_control(self, kind: int, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        """Deal with a whole frame; raises `Http2ConnectionError`."""
        # A reset of a stream that is there is counted as such.
        if kind != FrameType.RST_STREAM or stream_id not in self._streams:
            self._count_control()
        if stream_id and kind in CONNECTION_FRAMES:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} on a stream")
        if kind in LENGTHS and len(payload) != LENGTHS[kind]:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"{FrameType(kind).name} of {len(payload)} bytes")
        read = _READERS.get(kind)
        # 4.1: frames of unknown types are ignored.
        if read is not None:
            read(self, payload, flags, stream_id, events)

    # Frames of streams -------------------------------------------------------------------------------

    def _read_window_update(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        more = int.from_bytes(payload, "big") & MAX_WINDOW
        if stream_id:
            _ON_WINDOW_UPDATE[self._state(stream_id)](self, stream_id, more, events)
            return
        if not more:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        window = self._window + more
        if window > MAX_WINDOW:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too large")
        self._window = window
        events.append(WindowOpened(0))

    def _open_stream(self, stream_id: int, more: int, events: list[Event]) -> None:
        stream = self._streams[stream_id]
        stream.opened += more
        if not more:
            self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0", events)
        elif self._stream_window + stream.opened > MAX_WINDOW:
            self._fail_stream(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "the window is too large", events)
        else:
            self._most_opened = max(self._most_opened, stream.opened)
            events.append(WindowOpened(stream_id))

    def _read_reset(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        _ON_RESET[self._state(stream_id)](self, stream_id, int.from_bytes(payload, "big"), events)

    def _end_stream(self, stream_id: int, code: int, events: list[Event]) -> None:
        if not self._streams.pop(stream_id).answered:
            self._count_reset()
        events.append(StreamReset(stream_id, code))

    def _fail_on_idle(self, stream_id: int, number: int, events: list[Event]) -> None:
        raise Http2ConnectionError(
            ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE or RST_STREAM on stream {stream_id}, which is idle"
        )

    def _reset_idle(self, stream_id: int, number: int, events: list[Event]) -> None:
        """nghttp2 resets what it has numbered, and does not send since GOAWAY has come."""
        if self._highest_allowed > MAX_STREAM_ID or not stream_id & 1:
            self._fail_on_idle(stream_id, number, events)

    def _ignore(self, stream_id: int, number: int, events: list[Event]) -> None:
        """5.1: the client may have sent it before it knew that the stream is closed."""

    def _read_priority(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        """5.3.2: what it says is not used, in any state of the stream."""
        if not stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on no stream")

    def _read_push_promise(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    # Frames of the connection ------------------------------------------------------------------------

    def _read_settings(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        if len(payload) % 6 or (flags & ACK and payload):
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
        if flags & ACK:
            self._settings_in_force()
            return
        if self._apply_settings(payload):
            events.append(WindowOpened(0))
        self._queue.append(make_frame(FrameType.SETTINGS, ACK, 0))
        self._count_answer()

    def _settings_in_force(self) -> None:
        """The client has our settings: streams have their window, those that are there too."""
        size = self._limits.initial_window_size
        delta, self._stream_credit = size - self._stream_credit, size
        if delta:
            for stream in self._streams.values():
                if stream.credit is not None:
                    stream.credit.shift(delta)

    def _apply_settings(self, payload: bytes) -> bool:
        """Take over the client's settings, in their order (6.5.3); whether windows of streams are among them."""
        windows = False
        for at in range(0, len(payload), 6):
            key, value = unpack_setting(payload, at)
            code = _VALUES[key](value) if key in _VALUES else 0
            if code:
                raise Http2ConnectionError(code, f"{Setting(key).name} of {value}")
            if key == Setting.INITIAL_WINDOW_SIZE:
                windows = True
                self._change_windows(value)
            elif key == Setting.MAX_FRAME_SIZE:
                self._frame_size = value
            elif key == Setting.HEADER_TABLE_SIZE and value < self._table_size:
                self._table_size, self._table_due = 0, True
        return windows

    def _change_windows(self, value: int) -> None:
        """6.9.2: streams that are there keep what they have sent; the window may become negative by it."""
        if value + self._most_opened > MAX_WINDOW:
            # The one that was opened most may be gone. Streams are not looked at for each of many such settings.
            self._most_opened = max([stream.opened for stream in self._streams.values()], default=0)
        if value + self._most_opened > MAX_WINDOW:
            raise Http2ConnectionError(
                ErrorCode.FLOW_CONTROL_ERROR, f"the window of a stream is too large by a setting of {value}"
            )
        self._stream_window = value

    def _read_ping(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        if flags & ACK:
            events.append(PongReceived(payload))
        else:
            self._queue.append(make_frame(FrameType.PING, ACK, 0, payload))
            self._count_answer()

    def _read_goaway(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        if len(payload) < 8:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
        events.append(GoAwayReceived(int.from_bytes(payload[4:8], "big"), payload[8:]))

    def _read_priority_update(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        """RFC 9218, 7.1."""
        if len(payload) < 4:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY_UPDATE of {len(payload)} bytes")
        stream_id = int.from_bytes(payload[:4], "big") & MAX_STREAM_ID
        if not stream_id & 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"PRIORITY_UPDATE for stream {stream_id}")
        if self._state(stream_id) <= IDLE:
            events.append(PriorityUpdated(stream_id, payload[4:]))

    # Faults ------------------------------------------------------------------------------------------

    def _fail(self, code: int, reason: str, events: list[Event]) -> None:
        self.goaway(self.last_stream_id, code, reason.encode("ascii", "replace"))
        self._failed = True
        self._streams.clear()
        events.append(ConnectionFailed(code, reason))


def _not_a_flag(value: int) -> int:
    return 0 if value <= 1 else ErrorCode.PROTOCOL_ERROR


# 6.5.2; RFC 8441, 3; RFC 9218, 2.1: the fault that a value of a setting is, 0 for none.
_VALUES: dict[int, Callable[[int], int]] = {
    Setting.ENABLE_PUSH: _not_a_flag,
    Setting.INITIAL_WINDOW_SIZE: lambda value: 0 if value <= MAX_WINDOW else ErrorCode.FLOW_CONTROL_ERROR,
    Setting.MAX_FRAME_SIZE: lambda value: 0 if 2**14 <= value < 2**24 else ErrorCode.PROTOCOL_ERROR,
    Setting.ENABLE_CONNECT_PROTOCOL: _not_a_flag,
    Setting.NO_RFC7540_PRIORITIES: _not_a_flag,
}

_READERS: dict[int, Callable[[NativeControl, bytes, int, int, list[Event]], None]] = {
    FrameType.PRIORITY: NativeControl._read_priority,
    FrameType.RST_STREAM: NativeControl._read_reset,
    FrameType.SETTINGS: NativeControl._read_settings,
    FrameType.PUSH_PROMISE: NativeControl._read_push_promise,
    FrameType.PING: NativeControl._read_ping,
    FrameType.GOAWAY: NativeControl._read_goaway,
    FrameType.WINDOW_UPDATE: NativeControl._read_window_update,
    FrameType.PRIORITY_UPDATE: NativeControl._read_priority_update,
}

_ByState = tuple[Callable[[NativeControl, int, int, list[Event]], None], ...]

# By the state of the stream: OPEN, LOCAL_DONE, REMOTE_DONE, IDLE, WAS_RESET, CLOSED.
_ON_WINDOW_UPDATE: _ByState = (
    NativeControl._open_stream,
    NativeControl._open_stream,
    NativeControl._open_stream,
    NativeControl._fail_on_idle,
    NativeControl._ignore,
    NativeControl._ignore,
)
_ON_RESET: _ByState = (
    NativeControl._end_stream,
    NativeControl._end_stream,
    NativeControl._end_stream,
    NativeControl._reset_idle,
    NativeControl._ignore,
    NativeControl._ignore,
)
