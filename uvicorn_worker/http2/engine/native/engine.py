"""The native engine: HTTP/2 without a library between the bytes and the events, for speed.

    data ─► frames cut ─┬─► HEADERS, CONTINUATION ─► block ─► remembered, or decoded ─┐
                        ├─► DATA ─────────────────────────────────────────────────────┼─► by the state of the stream
                        ├─► RST_STREAM, WINDOW_UPDATE ────────────────────────────────┘   (table at the end) ─► event
                        └─► SETTINGS, PING, GOAWAY, PRIORITY_UPDATE ─► done with here

This is the receiving half; sending.py is the other one. The usual frame of a request, HEADERS whose block is
remembered, takes the shortest way: one call, one look-up, one event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn_worker.http2.engine.codes import (
    ACK,
    END_HEADERS,
    END_STREAM,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    PRIORITY,
    ErrorCode,
    FrameType,
)
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import (
    DataReceived,
    Event,
    RequestReceived,
    TrailersReceived,
)
from uvicorn_worker.http2.engine.limits import (
    CONTINUATION_LIMIT,
    CONTROL_PER_REQUEST,
    Limits,
    note_gap,
)
from uvicorn_worker.http2.engine.native.control import NativeControl
from uvicorn_worker.http2.engine.native.frames import (
    HEADER_SIZE,
    cut_header,
    strip_data,
    strip_headers,
)
from uvicorn_worker.http2.engine.native.hpack import HeaderDecoder
from uvicorn_worker.http2.engine.native.streams import (
    CLOSED,
    IDLE,
    LOCAL_DONE,
    REMOTE_DONE,
    WAS_RESET,
    Credit,
    Stream,
    WholeRequest,
)
from uvicorn_worker.http2.engine.request_heads import Malformed, check_trailers, request_head

__all__ = ["NativeEngine"]

# As plain numbers, since members of an enumeration are slower to get at and to compare.
_DATA, _HEADERS, _CONTINUATION = int(FrameType.DATA), int(FrameType.HEADERS), int(FrameType.CONTINUATION)
_SETTINGS = int(FrameType.SETTINGS)


# Of a read without DATA; nothing is ever put into it.
_NO_BODIES: dict[int, list[Any]] = {}


class NativeEngine(NativeControl):
    """One connection; see interface.py for the contract."""

    __slots__ = (
        "_awaited",
        "_block",
        "_block_ends",
        "_block_size",
        "_block_stream",
        "_bodies",
        "_decoder",
        "_heads",
        "_is_particular",
        "_max_frame_size",
        "_max_streams",
        "_preface",
        "_rest",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._decoder = HeaderDecoder(limits.header_list_bound)
        self._heads = self._decoder.heads
        self._max_frame_size = limits.max_frame_size
        self._max_streams = limits.max_concurrent_streams
        # What was read of a frame, or of the preface, that is not whole yet, and the size that it will have.
        self._rest = bytearray()
        self._awaited = 0
        # While a read is looked at: by stream, the event that its body has, and the pieces that it will have.
        self._bodies = _NO_BODIES
        self._preface = PREFACE
        # Whether only a certain frame may come: SETTINGS first of all, CONTINUATION within a header block.
        self._is_particular = True
        # The header block that is coming: its pieces, its frames' size, its stream, whether it ends the stream.
        self._block: list[bytes] = []
        self._block_size = 0
        self._block_stream = 0
        self._block_ends = False

    def open_upgraded(self, settings: bytes) -> None:
        """See `Engine`."""
        if len(settings) % 6:
            raise ValueError("HTTP2-Settings is not a payload of SETTINGS")
        try:
            self._apply_settings(settings)
        except Http2ConnectionError as exc:
            raise ValueError(f"HTTP2-Settings can't be accepted: {exc}") from None
        self._streams[1] = WholeRequest()
        self.last_stream_id = 1

    def forget(self) -> None:
        """See `Engine`."""
        self._decoder.forget()

    # Frames ------------------------------------------------------------------------------------------

    @property
    def greeted(self) -> bool:
        return not self._preface

    def receive_data(self, data: bytes | memoryview) -> list[Event]:
        """See `Engine`."""
        events: list[Event] = []
        if self._failed:
            return events
        rest, at = self._rest, 0
        try:
            if rest:
                awaited = self._awaited
                at = awaited - len(rest)
                if at > len(data):
                    rest += data
                    return events
                if awaited == HEADER_SIZE:
                    # Whose frame it is, or how long, is not known yet.
                    at = len(data)
                # Only the frame that was not whole is put together: what comes behind it is read where it lies.
                rest += data[:at] if at < len(data) else data
                self._rest = bytearray()
                self._read_frames(memoryview(rest), 0, events)
            if at < len(data):
                self._read_frames(data, at, events)
        except Http2ConnectionError as exc:
            self._block.clear()
            self._fail(exc.code, str(exc), events)
        if self._bodies:
            # What one read has of the body of a stream is one piece, and is copied once.
            bodies, self._bodies = self._bodies, _NO_BODIES
            for event, *pieces in bodies.values():
                event.data = b"".join(pieces)
        return events

    def _read_frames(self, data: bytes | memoryview, at: int, events: list[Event]) -> None:
        """Deal with the frames from `at` on, and keep what there is of one that is not whole."""
        end = len(data)
        awaited = HEADER_SIZE
        if self._preface:
            at = self._read_preface(data)
        while end - at >= HEADER_SIZE:
            high, low, kind, flags, stream_id = cut_header(data, at)
            start = at + HEADER_SIZE
            stop = start + (high << 8 | low)
            if stop - start > self._max_frame_size:
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {stop - start} bytes")
            if stop > end:
                awaited = stop - at
                break
            at = stop
            stream_id &= MAX_STREAM_ID
            if self._is_particular:
                self._check_order(kind, flags, stream_id)
            if kind == _HEADERS:
                self._read_headers(data, start, stop, flags, stream_id, events)
            elif kind == _DATA:
                self._read_data(data, start, stop, flags, stream_id, events)
            elif kind == _CONTINUATION:
                self._read_continuation(bytes(data[start:stop]), flags, events)
            else:
                self.read_control(kind, bytes(data[start:stop]), flags, stream_id, events)
        if at < end:
            self._rest += data[at:]
            self._awaited = awaited

    def _read_preface(self, data: bytes | memoryview) -> int:
        """Check what there is of the preface (3.4); give where it ends."""
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "not the preface of an HTTP/2 client")
        self._preface = self._preface[size:]
        return size

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        """Only SETTINGS may come first (3.4), and nothing within a header block (4.3)."""
        if self._block_stream:
            if kind != _CONTINUATION or stream_id != self._block_stream:
                raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "another frame within a header block")
        elif kind != _SETTINGS or flags & ACK:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        else:
            self._is_particular = False

    # Header blocks -----------------------------------------------------------------------------------

    def _read_headers(
        self, data: bytes | memoryview, at: int, stop: int, flags: int, stream_id: int, events: list[Event]
    ) -> None:
        if flags & (PADDED | PRIORITY):
            at, stop = strip_headers(data, at, stop, flags)
        if not stream_id & 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        block = data[at:stop]
        if type(block) is not bytes:
            block = bytes(block)
        if not flags & END_HEADERS:
            self._is_particular = True
            self._block = [block]
            self._block_size = stop - at + HEADER_SIZE
            self._block_stream, self._block_ends = stream_id, bool(flags & END_STREAM)
        elif stream_id > self.last_stream_id:
            self._begin_request(stream_id, block, bool(flags & END_STREAM), events)
        else:
            _ON_HEADERS[self._state(stream_id)](self, stream_id, block, bool(flags & END_STREAM), events)

    def _read_continuation(self, payload: bytes, flags: int, events: list[Event]) -> None:
        stream_id = self._block_stream
        if not stream_id:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        block = self._block
        block.append(payload)
        self._block_size += len(payload) + HEADER_SIZE
        if len(block) - 1 > CONTINUATION_LIMIT or self._block_size > self._limits.header_list_bound:
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "a header block that is too long")
        if flags & END_HEADERS:
            self._block, self._block_stream = [], 0
            self._is_particular = False
            _ON_HEADERS[self._state(stream_id)](self, stream_id, b"".join(block), self._block_ends, events)

    def _begin_request(self, stream_id: int, block: bytes, end_stream: bool, events: list[Event]) -> None:
        if self._control < 0:
            self._check_control()
        decoder = self._decoder
        head = self._heads.get(block) or decoder.find(block)
        fields: list[tuple[bytes, bytes]] = []
        changes = decoder.changes
        if head is None:
            fields = decoder.decode(block)
        if stream_id > self.last_stream_id + 2:
            note_gap(self._gaps, self.last_stream_id, stream_id)
        self.last_stream_id = stream_id
        streams = self._streams
        if len(streams) >= self._max_streams or stream_id > self._highest_allowed:
            # 8.7: the client may ask again.
            self._count_control()
            self._send_reset(stream_id, ErrorCode.REFUSED_STREAM)
            self._count_answer()
            return
        stream = streams[stream_id] = WholeRequest() if end_stream else Stream()
        if head is None or head.content_length is not None:
            try:
                if head is None:
                    head = request_head(fields)
                    if decoder.changes == changes:
                        decoder.remember(block, head)
                if end_stream and head.content_length:
                    raise Malformed("content-length of a request without a body")
            except Malformed as exc:
                self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, str(exc), events)
                return
            if head.content_length is not None:
                stream.left = head.content_length
        self._control += CONTROL_PER_REQUEST
        events.append(RequestReceived(stream_id, head, end_stream))

    def _take_trailers(self, stream_id: int, block: bytes, end_stream: bool, events: list[Event]) -> None:
        fields = self._decoder.decode(block)
        stream = self._streams[stream_id]
        try:
            if not end_stream:
                raise Malformed("trailers that do not end the stream")
            trailers = check_trailers(fields)
        except Malformed as exc:
            self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, str(exc), events)
            return
        if stream.left:
            self._fail_length(stream_id, stream, events)
            return
        events.append(TrailersReceived(stream_id, trailers))
        self._remote_ended(stream_id, stream)

    def _refuse_late_headers(self, stream_id: int, block: bytes, end_stream: bool, events: list[Event]) -> None:
        self._decoder.decode(block)
        self._fail_stream(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS behind the end of the stream", events)

    def _ignore_headers(self, stream_id: int, block: bytes, end_stream: bool, events: list[Event]) -> None:
        self._count_control()
        # Decoded all the same, since it may change the table.
        self._decoder.decode(block)

    def _fail_on_headers(self, stream_id: int, block: bytes, end_stream: bool, events: list[Event]) -> None:
        if any(stream_id in gap for gap in self._gaps):
            raise Http2ConnectionError(
                ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}, behind those of a later one"
            )
        raise Http2ConnectionError(ErrorCode.STREAM_CLOSED, f"HEADERS on stream {stream_id}, which is closed")

    # Bodies ------------------------------------------------------------------------------------------

    def _read_data(
        self, data: bytes | memoryview, at: int, stop: int, flags: int, stream_id: int, events: list[Event]
    ) -> None:
        # 6.9.1: padding counts too.
        size = stop - at
        if flags & PADDED:
            at, stop = strip_data(data, at, stop)
        end_stream = flags & END_STREAM == END_STREAM
        stream = self._streams.get(stream_id)
        if stream is None or stream.state == REMOTE_DONE:
            _ON_STRAY_DATA[self._state(stream_id)](self, stream_id, size, events)
            return
        useful = stop - at
        if stream.left is not None:
            stream.left -= useful
            if stream.left < 0 or (end_stream and stream.left):
                self._give_back(size)
                self._fail_length(stream_id, stream, events)
                return
        if not useful and not end_stream:
            self._count_control()
        credit, whole = stream.credit, self._credit
        if size > (self._stream_credit if credit is None else credit.window) or size > whole.window:
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than there is room for in the window")
        whole.window -= size
        if not end_stream:
            if credit is None:
                credit = stream.credit = Credit(self._stream_credit)
            credit.window -= size
        if useful or end_stream:
            bodies = self._bodies
            if stream_id in bodies:
                pieces = bodies[stream_id]
                pieces.append(memoryview(data)[at:stop])
                pieces[0].end_stream = end_stream
            elif end_stream:
                # It is all that the event will have.
                body = data[at:stop]
                events.append(DataReceived(stream_id, body if type(body) is bytes else bytes(body), True))
            else:
                event = DataReceived(stream_id, b"", False)
                events.append(event)
                if not bodies:
                    bodies = self._bodies = {}
                bodies[stream_id] = [event, memoryview(data)[at:stop]]
            if end_stream:
                self._remote_ended(stream_id, stream)
        if size > useful:
            self._give_credit(stream_id, self._streams.get(stream_id), size - useful)

    def _fail_length(self, stream_id: int, stream: Stream, events: list[Event]) -> None:
        """There is more of a body than its content-length says, or its end comes before."""
        left = stream.left or 0
        if left > 0 and stream.state == LOCAL_DONE:
            # It has its whole answer, and leaves out the rest: what others do by RST_STREAM curl does so.
            self._end_stream(stream_id, ErrorCode.NO_ERROR, events)
            return
        reason = f"the body is {'shorter' if left > 0 else 'longer'} than its content-length"
        self._fail_stream(stream_id, ErrorCode.PROTOCOL_ERROR, reason, events)

    def _refuse_late_data(self, stream_id: int, size: int, events: list[Event]) -> None:
        self._give_back(size)
        self._fail_stream(stream_id, ErrorCode.STREAM_CLOSED, "DATA behind the end of the stream", events)

    def _fail_on_data(self, stream_id: int, size: int, events: list[Event]) -> None:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which is idle")

    def _ignore_data(self, stream_id: int, size: int, events: list[Event]) -> None:
        self._count_control()
        self._give_back(size)

    def _refuse_data(self, stream_id: int, size: int, events: list[Event]) -> None:
        self._ignore_data(stream_id, size, events)
        self._send_reset(stream_id, ErrorCode.STREAM_CLOSED)
        self._count_answer()

    def _give_back(self, size: int) -> None:
        """Credit of the connection for DATA that nobody gets."""
        if size:
            self._open_window(0, size)
            self._count_answer()

    def _remote_ended(self, stream_id: int, stream: Stream) -> None:
        if stream.state == LOCAL_DONE:
            del self._streams[stream_id]
        else:
            stream.state = WholeRequest.state


# 5.1: by the state of the stream, OPEN, LOCAL_DONE, REMOTE_DONE, IDLE, WAS_RESET, CLOSED. What the other frames of
# streams mean is in control.py.
_ON_HEADERS: tuple[Callable[[NativeEngine, int, bytes, bool, list[Event]], None], ...] = (
    NativeEngine._take_trailers,
    NativeEngine._take_trailers,
    NativeEngine._refuse_late_headers,
    NativeEngine._begin_request,
    NativeEngine._ignore_headers,
    NativeEngine._fail_on_headers,
)
# Of streams that take no DATA: REMOTE_DONE and those that follow.
_ON_STRAY_DATA: dict[int, Callable[[NativeEngine, int, int, list[Event]], None]] = {
    REMOTE_DONE: NativeEngine._refuse_late_data,
    IDLE: NativeEngine._fail_on_data,
    WAS_RESET: NativeEngine._ignore_data,
    CLOSED: NativeEngine._refuse_data,
}
