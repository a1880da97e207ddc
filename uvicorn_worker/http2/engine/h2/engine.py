"""The engine around the h2 library: the reference.

h2 knows the states of streams, the windows, and HPACK. It takes every fault for one of the connection, gives up the
events that came before a fault in the same read, and can do nothing any more once a GOAWAY was sent or received. So
frames are given to it one by one, and those whose faults concern one stream only, or that it would end the connection
for, are looked at here before.
"""

from __future__ import annotations

from typing import Any

from h2 import events as h2_events
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError, StreamClosedError
from h2.settings import SettingCodes
from hpack import HPACKError, OversizedHeaderListError

from uvicorn_worker.http2.engine.abuse import AbuseLimits
from uvicorn_worker.http2.engine.codes import (
    ACK,
    CONNECTION_FRAMES,
    END_HEADERS,
    END_STREAM,
    LENGTHS,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    ErrorCode,
    FrameType,
)
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    PongReceived,
    PriorityUpdated,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    WindowOpened,
)
from uvicorn_worker.http2.engine.h2.frames import (
    SmallData,
    block_of,
    check_settings,
    fragment_of,
    joined_bodies,
    make_frame,
    reset_frame,
    whole_block,
)
from uvicorn_worker.http2.engine.h2.library import ERROR_CODES, make_connection
from uvicorn_worker.http2.engine.limits import (
    CONTINUATION_LIMIT,
    CONTROL_PER_DATA,
    CONTROL_PER_REQUEST,
    RESETS_REMEMBERED,
    USEFUL_DATA,
    Limits,
    note_gap,
)
from uvicorn_worker.http2.engine.request_heads import Malformed, check_trailers, request_head

__all__ = ["H2Engine"]


class _Stream:
    """What is known of a stream beside h2."""

    __slots__ = ("answered", "left", "local_done", "remote_done")

    def __init__(self, left: int | None, remote_done: bool) -> None:
        # What is left of the body by Content-Length.
        self.left = left
        self.remote_done = remote_done
        self.local_done = False
        # Whether the head of the response was sent.
        self.answered = False


class H2Engine(AbuseLimits):
    """One connection; see interface.py for the contract."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self.last_stream_id = 0
        self._conn, self._decoder = make_connection(limits, None)
        self._streams: dict[int, _Stream] = {}
        # Streams that we have reset: what the client has sent before it knew is to be ignored (5.4.2).
        self._were_reset: dict[int, None] = {}
        # Numbers below the last one that the client has left out.
        self._gaps: list[range] = []
        self._highest_allowed = MAX_STREAM_ID + 1  # no GOAWAY was sent
        self._queue: list[bytes | memoryview] = []
        self._small = SmallData()
        self._buffer = b""
        self._preface = PREFACE
        self._began = False
        self._failed = False
        # The header block that is coming: its frames, and their count.
        self._block: list[bytes] = []
        self._block_stream = 0

    @staticmethod
    def prepare(name: bytes, value: bytes) -> Any:
        """See `Engine`."""
        return name, value

    # Begin -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """See `Engine`."""
        self._queue.append(make_frame(FrameType.SETTINGS, 0, 0, self._limits.settings))
        self._open_connection_window()

    def _open_connection_window(self) -> None:
        if more := self._limits.connection_window - 65535:
            self._conn.increment_flow_control_window(more)
            self._collect()

    def open_upgraded(self, settings: bytes) -> None:
        """See `Engine`."""
        if len(settings) % 6:
            raise ValueError("HTTP2-Settings is not a payload of SETTINGS")
        try:
            self._conn, self._decoder = make_connection(self._limits, settings)
        except ProtocolError as exc:
            raise ValueError(f"HTTP2-Settings can't be accepted: {exc}") from None
        if self._limits.connection_window > 65535:
            # Announced by start() already.
            self._conn.increment_flow_control_window(self._limits.connection_window - 65535)
            self._conn.clear_outbound_data_buffer()
        self._streams[1] = _Stream(None, True)
        self.last_stream_id = 1

    # Receive -----------------------------------------------------------------------------------------

    @property
    def greeted(self) -> bool:
        return not self._preface

    def receive_data(self, data: bytes | memoryview) -> list[Event]:
        """See `Engine`."""
        events: list[Event] = []
        if self._failed:
            return events
        data = b"".join([self._buffer, data]) if self._buffer else bytes(data)
        try:
            at, end = 0, len(data)
            if self._preface:
                at = self._read_preface(data)
                if not at:
                    self._buffer = data
                    return events
            while end - at >= 9:
                size = int.from_bytes(data[at : at + 3], "big")
                if size > self._limits.max_frame_size:
                    raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
                if end - at < 9 + size:
                    break
                frame = data[at : at + 9 + size]
                at += 9 + size
                self._read_frame(frame, events)
            self._buffer = data[at:]
        except Http2ConnectionError as exc:
            self._fail(exc.code, str(exc), events)
        return joined_bodies(events)

    def _read_preface(self, data: bytes) -> int:
        """Check what there is of the preface; give where it ends."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "not the preface of an HTTP/2 client")
        if size == len(self._preface):
            self._preface = b""
            self._conn.receive_data(PREFACE)
            return size
        return 0

    def _read_frame(self, frame: bytes, events: list[Event]) -> None:
        kind, flags, stream_id = frame[3], frame[4], int.from_bytes(frame[5:9], "big") & MAX_STREAM_ID
        if self._block_stream and (kind != FrameType.CONTINUATION or stream_id != self._block_stream):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "another frame within a header block")
        if not self._began:
            if kind != FrameType.SETTINGS or flags & ACK:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._began = True
        if kind == FrameType.HEADERS:
            self._read_headers(frame, flags, stream_id, events)
        elif kind == FrameType.DATA:
            self._read_data(frame, flags, stream_id, events)
        elif kind == FrameType.CONTINUATION:
            self._read_continuation(frame, flags, stream_id, events)
        else:
            # A reset of a stream that is there is counted as such.
            if kind != FrameType.RST_STREAM or stream_id not in self._streams:
                self._count_control()
            self._read_control(frame, kind, flags, stream_id, events)

    def _read_control(self, frame: bytes, kind: int, flags: int, stream_id: int, events: list[Event]) -> None:
        payload = frame[9:]
        if kind in CONNECTION_FRAMES and stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} on a stream")
        if kind in LENGTHS and len(payload) != LENGTHS[kind]:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"{FrameType(kind).name} of {len(payload)} bytes")
        if kind == FrameType.WINDOW_UPDATE:
            self._read_window_update(frame, stream_id, events)
        elif kind == FrameType.RST_STREAM:
            self._read_reset(stream_id, int.from_bytes(payload, "big"), events)
        elif kind in (FrameType.SETTINGS, FrameType.PING):
            if kind == FrameType.SETTINGS and (len(payload) % 6 or (flags & ACK and payload)):
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
            if kind == FrameType.SETTINGS:
                check_settings(payload)
            self._feed(frame, events)
            if not flags & ACK:
                self._count_answer()
        elif kind == FrameType.PRIORITY and not stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on no stream")
        elif kind == FrameType.GOAWAY:
            if len(payload) < 8:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
            events.append(GoAwayReceived(int.from_bytes(payload[4:8], "big"), payload[8:]))
        elif kind == FrameType.PUSH_PROMISE:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")
        elif kind == FrameType.PRIORITY_UPDATE:
            self._read_priority_update(payload, events)

    def _read_headers(self, frame: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        fragment_of(frame)
        if not stream_id % 2:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        if flags & END_HEADERS:
            self._end_block([frame], stream_id, events)
        else:
            self._block, self._block_stream = [frame], stream_id

    def _read_continuation(self, frame: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        if not self._block_stream:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._block.append(frame)
        if len(self._block) - 1 > CONTINUATION_LIMIT or sum(map(len, self._block)) > self._limits.header_list_bound:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "a header block that is too long")
        if flags & END_HEADERS:
            block, self._block, self._block_stream = self._block, [], 0
            self._end_block(block, stream_id, events)

    def _end_block(self, block: list[bytes], stream_id: int, events: list[Event]) -> None:
        """All frames of a header block are there: it is a request, or the trailers of one."""
        end_stream = bool(block[0][4] & END_STREAM)
        stream = self._streams.get(stream_id)
        if stream is None and stream_id <= self.last_stream_id:
            if stream_id not in self._were_reset:
                if any(stream_id in gap for gap in self._gaps):
                    reason = f"HEADERS on stream {stream_id}, behind those of a later one"
                    raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, reason)
                raise Http2ConnectionError(ErrorCode.STREAM_CLOSED, f"HEADERS on stream {stream_id}, which is closed")
            self._count_control()
            # Decoded all the same, since it may change the table.
            self._decode_for_nothing(block)
        elif stream is None:
            self._begin_request(block, stream_id, end_stream, events)
        elif stream.remote_done:
            self._decode_for_nothing(block)
            self._fail_stream(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS behind the end of the stream", events)
        elif not end_stream:
            self._decode_for_nothing(block)
            self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream", events)
        else:
            self._feed(whole_block(block, stream_id), events)
            self._end_with_trailers(stream_id, stream, events)

    def _begin_request(self, block: list[bytes], stream_id: int, end_stream: bool, events: list[Event]) -> None:
        self._check_control()
        self._feed(whole_block(block, stream_id), events)
        if stream_id > self.last_stream_id + 2:
            note_gap(self._gaps, self.last_stream_id, stream_id)
        self.last_stream_id = stream_id
        if stream_id > self._highest_allowed or len(self._streams) >= self._limits.max_concurrent_streams:
            self._count_control()
            self._conn.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            self._collect()
            self._forget(stream_id, True)
            self._count_answer()
            return
        self._streams[stream_id] = stream = _Stream(None, end_stream)
        try:
            head = request_head(self._decoder.fields)
            if end_stream and head.content_length:
                raise Malformed("content-length of a request without a body")
        except Malformed as exc:
            self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, str(exc), events)
            return
        stream.left = head.content_length
        self._control += CONTROL_PER_REQUEST
        events.append(RequestReceived(stream_id, head, end_stream))

    def _end_with_trailers(self, stream_id: int, stream: _Stream, events: list[Event]) -> None:
        try:
            trailers = check_trailers(self._decoder.fields)
        except Malformed as exc:
            self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, str(exc), events)
            return
        if stream.left:
            self._fail_length(stream_id, stream, events)
            return
        events.append(TrailersReceived(stream_id, trailers))
        self._remote_ended(stream_id, stream)

    def _decode_for_nothing(self, block: list[bytes]) -> None:
        payload = block_of(block)
        try:
            self._decoder.decode(payload)
        except OversizedHeaderListError as exc:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, str(exc)) from None
        except HPACKError as exc:
            raise Http2ConnectionError(ErrorCode.COMPRESSION_ERROR, str(exc)) from None

    def _read_data(self, frame: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        size = len(frame) - 9
        padding = 0
        if flags & PADDED:
            if not size or frame[9] >= size:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
            padding = frame[9] + 1
        stream = self._streams.get(stream_id)
        if stream is None:
            self._read_stray_data(size, stream_id)
            return
        end_stream = bool(flags & END_STREAM)
        size -= padding
        if stream.remote_done:
            self._give_back(size + padding)
            self._fail_stream(stream_id, ErrorCode.STREAM_CLOSED, "DATA behind the end of the stream", events)
            return
        if stream.left is not None:
            stream.left -= size
            if stream.left < 0 or (end_stream and stream.left):
                self._give_back(size + padding)
                self._fail_length(stream_id, stream, events)
                return
        if not size and not end_stream:
            self._count_control()
        self._feed(frame, events)
        if padding:
            self._conn.acknowledge_received_data(padding, stream_id)
            self._collect()
        if end_stream:
            self._remote_ended(stream_id, stream)

    def _fail_length(self, stream_id: int, stream: _Stream, events: list[Event]) -> None:
        """There is more of a body than its content-length says, or its end comes before."""
        left = stream.left or 0
        if left > 0 and stream.local_done:
            # It has its whole answer, and leaves out the rest: what others do by RST_STREAM curl does so.
            self._end_stream(stream_id, ErrorCode.NO_ERROR, events)
            return
        reason = f"the body is {'shorter' if left > 0 else 'longer'} than its content-length"
        self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, reason, events)

    def _read_stray_data(self, size: int, stream_id: int) -> None:
        """DATA of a stream that is not there: it never was, or is no more."""
        if self._is_idle(stream_id):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which is idle")
        self._count_control()
        self._give_back(size)
        if stream_id not in self._were_reset:
            self._queue.append(reset_frame(stream_id, ErrorCode.STREAM_CLOSED))
            self._forget(stream_id, True)
            self._count_answer()

    def _is_idle(self, stream_id: int) -> bool:
        """Whether a stream has not begun; those of even numbers would be ours to begin (5.1.1)."""
        return stream_id > self.last_stream_id or not stream_id % 2

    def _give_back(self, size: int) -> None:
        """Credit for DATA that h2 has not seen."""
        if size:
            self._queue.append(make_frame(FrameType.WINDOW_UPDATE, 0, 0, size.to_bytes(4, "big")))
            self._count_answer()

    def _read_window_update(self, frame: bytes, stream_id: int, events: list[Event]) -> None:
        if stream_id and self._is_idle(stream_id):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE on stream {stream_id}, which is idle")
        if stream_id and stream_id not in self._streams:
            return
        increment = int.from_bytes(frame[9:], "big") & MAX_STREAM_ID
        if not increment:
            if not stream_id:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0", events)
            return
        # The reserved bit, which is to be ignored, h2 takes for a part of the number.
        self._feed(make_frame(FrameType.WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big")), events)

    def _read_reset(self, stream_id: int, code: int, events: list[Event]) -> None:
        # nghttp2 resets what it has numbered, and does not send since GOAWAY has come.
        if self._is_idle(stream_id) and (self._highest_allowed > MAX_STREAM_ID or not stream_id % 2):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM on stream {stream_id}, which is idle")
        if stream_id in self._streams:
            self._end_stream(stream_id, code, events)

    def _end_stream(self, stream_id: int, code: int, events: list[Event]) -> None:
        """The client has left it."""
        if not self._streams[stream_id].answered:
            self._count_reset()
        # Given to h2 so that it forgets the stream.
        self._feed(reset_frame(stream_id, ErrorCode.CANCEL), [])
        self._forget(stream_id, False)
        events.append(StreamReset(stream_id, code))

    def _read_priority_update(self, payload: bytes, events: list[Event]) -> None:
        if len(payload) < 4:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY_UPDATE of {len(payload)} bytes")
        stream_id = int.from_bytes(payload[:4], "big") & MAX_STREAM_ID
        if not stream_id % 2:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"PRIORITY_UPDATE for stream {stream_id}")
        if stream_id in self._streams or stream_id > self.last_stream_id:
            events.append(PriorityUpdated(stream_id, payload[4:]))

    # h2 ----------------------------------------------------------------------------------------------

    def _feed(self, frames: bytes, events: list[Event]) -> None:
        """Give h2 a whole frame, or the frames of a header block; turn what it says into our events."""
        try:
            said = self._conn.receive_data(frames)
        except ProtocolError as exc:
            self._conn.clear_outbound_data_buffer()
            code = int(exc.error_code)
            if isinstance(exc.__cause__ or exc.__context__, HPACKError) and not isinstance(exc, DenialOfServiceError):
                code = ErrorCode.COMPRESSION_ERROR
            raise Http2ConnectionError(code, str(exc) or type(exc).__name__) from None
        for event in said:
            if isinstance(event, h2_events.DataReceived):
                ended = event.stream_ended is not None
                data = bytes(event.data or b"")
                if data or ended:
                    events.append(DataReceived(event.stream_id, data, ended))
            elif isinstance(event, h2_events.WindowUpdated):
                events.append(WindowOpened(event.stream_id or 0))
            elif isinstance(event, h2_events.StreamReset) and not event.remote_reset:
                # A window that was opened too far.
                self._count_reset()
                self._forget(event.stream_id, True)
                events.append(StreamReset(event.stream_id, int(event.error_code or 0), "the window is too large"))
            elif isinstance(event, h2_events.RemoteSettingsChanged):
                if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
                    events.append(WindowOpened(0))
            elif isinstance(event, h2_events.PingAckReceived):
                events.append(PongReceived(bytes(event.ping_data or b"")))
        self._collect()

    def _collect(self) -> None:
        """Take over what h2 wants to have sent."""
        data = self._conn.data_to_send()
        if data:
            self._queue.append(data)

    # Faults ------------------------------------------------------------------------------------------

    def _fail(self, code: int, reason: str, events: list[Event]) -> None:
        self.goaway(self.last_stream_id, code, reason.encode("ascii", "replace"))
        self._failed = True
        self._buffer = b""
        self._block = []
        self._streams.clear()
        events.append(ConnectionFailed(code, reason))

    # Streams -----------------------------------------------------------------------------------------

    def _remote_ended(self, stream_id: int, stream: _Stream) -> None:
        stream.remote_done = True
        if stream.local_done:
            self._forget(stream_id, False)

    def _local_ended(self, stream_id: int, stream: _Stream) -> None:
        self._ended_well()
        stream.local_done = True
        if stream.remote_done:
            self._forget(stream_id, False)

    def _forget(self, stream_id: int, was_reset: bool) -> None:
        """A stream is closed; `was_reset`: by our RST_STREAM, which the client may not know of yet."""
        self._streams.pop(stream_id, None)
        if was_reset:
            self._were_reset[stream_id] = None
            if len(self._were_reset) > RESETS_REMEMBERED:
                del self._were_reset[next(iter(self._were_reset))]

    def acknowledge(self, stream_id: int, size: int) -> None:
        """See `Engine`."""
        if self._failed or not size:
            return
        self._conn.acknowledge_received_data(size, stream_id)
        self._collect()
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.local_done:
            self._control += CONTROL_PER_DATA

    # Send --------------------------------------------------------------------------------------------

    def respond(self, stream_id: int, status: int, fields: list[Any], body: bytes) -> bool:
        """See `Engine`."""
        if body and stream_id in self._streams and len(body) > self.window(stream_id):
            return False
        self.send_headers(stream_id, status, fields, not body)
        if body:
            self.send_data(stream_id, body, True)
        return True

    def send_headers(self, stream_id: int, status: int, fields: list[Any], end_stream: bool) -> None:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.answered = status >= 200
        self._conn.send_headers(stream_id, [(b":status", b"%d" % status), *fields], end_stream)
        self._collect()
        if end_stream:
            self._local_ended(stream_id, stream)

    def send_data(self, stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        size, room = len(data), self.window(stream_id)
        if size > room:
            raise ValueError(f"{size} bytes of DATA do not fit in the window")
        conn, most = self._conn, self._conn.max_outbound_frame_size
        if size >= USEFUL_DATA or 0 < size < room:
            self._control += CONTROL_PER_DATA * (1 + size // most)
        for at in range(0, size or 1, most):
            conn.send_data(stream_id, bytes(data[at : at + most]), end_stream and at + most >= size)
        self._collect()
        self._small.join(self._queue, stream_id, data, end_stream)
        if end_stream:
            self._local_ended(stream_id, stream)

    def send_trailers(self, stream_id: int, fields: list[Any]) -> None:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        self._conn.send_headers(stream_id, fields, True)
        self._collect()
        self._local_ended(stream_id, stream)

    def reset(self, stream_id: int, code: int) -> None:
        """See `Engine`."""
        if stream_id not in self._streams:
            return
        try:
            self._conn.reset_stream(stream_id, ERROR_CODES.get(code, code))
        except StreamClosedError:
            # Trailers that are malformed have ended it for h2, where our side had ended before.
            self._queue.append(reset_frame(stream_id, code))
        self._collect()
        self._forget(stream_id, True)
        if code == ErrorCode.REFUSED_STREAM:
            self._count_refusal()

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """See `Engine`."""
        if self._failed:
            return
        self._highest_allowed = min(self._highest_allowed, last_stream_id)
        payload = last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + debug
        self._queue.append(make_frame(FrameType.GOAWAY, 0, 0, payload))

    def ping(self, payload: bytes) -> None:
        """See `Engine`."""
        if not self._failed:
            self._queue.append(make_frame(FrameType.PING, 0, 0, payload))

    def window(self, stream_id: int) -> int:
        """See `Engine`."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.local_done:
            return 0
        return max(0, self._conn.local_flow_control_window(stream_id))

    def connection_window(self) -> int:
        """See `Engine`."""
        return max(0, self._conn.outbound_flow_control_window)

    @property
    def has_data(self) -> bool:
        """See `Engine`."""
        return bool(self._queue)

    def data_to_send(self) -> list[bytes | memoryview]:
        """See `Engine`."""
        queue, self._queue = self._queue, []
        self._answers = 0
        return queue
