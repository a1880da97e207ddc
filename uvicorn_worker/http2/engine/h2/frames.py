"""Frames of the engine around h2 as bytes: made, and looked into where h2 does not look."""

from __future__ import annotations

from uvicorn_worker.http2.engine.codes import (
    END_HEADERS,
    END_STREAM,
    PADDED,
    PRIORITY,
    ErrorCode,
    FrameType,
    Setting,
)
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import DataReceived, Event
from uvicorn_worker.http2.engine.limits import SMALL_DATA

__all__ = [
    "SmallData",
    "block_of",
    "check_settings",
    "fragment_of",
    "joined_bodies",
    "make_frame",
    "reset_frame",
    "whole_block",
]


def make_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A whole frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def check_settings(payload: bytes) -> None:
    """Check the settings that h2 does not know."""
    for at in range(0, len(payload), 6):
        key, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
        # RFC 9218, 2.1.
        if key == Setting.NO_RFC7540_PRIORITIES and value > 1:
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, f"NO_RFC7540_PRIORITIES of {value}")


def reset_frame(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return make_frame(FrameType.RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def fragment_of(frame: bytes) -> bytes:
    """The piece of a header block that is in HEADERS."""
    fragment, flags = frame[9:], frame[4]
    if flags & PADDED:
        if not fragment or fragment[0] >= len(fragment):
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
        fragment = fragment[1 : len(fragment) - fragment[0]]
    if flags & PRIORITY:
        if len(fragment) < 5:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"HEADERS of {len(fragment)} bytes")
        fragment = fragment[5:]
    return fragment


def block_of(frames: list[bytes]) -> bytes:
    """The header block in HEADERS and its CONTINUATIONs."""
    return b"".join([fragment_of(frames[0]), *(frame[9:] for frame in frames[1:])])


def whole_block(frames: list[bytes], stream_id: int) -> bytes:
    """The same as one frame, without padding and priority."""
    return make_frame(FrameType.HEADERS, END_HEADERS | frames[0][4] & END_STREAM, stream_id, block_of(frames))


def joined_bodies(events: list[Event]) -> list[Event]:
    """The events of one read, with what they have of the body of each stream in the first that has something of it."""
    first: dict[int, DataReceived] = {}
    pieces: dict[int, list[bytes]] = {}
    joined: list[Event] = []
    for event in events:
        if isinstance(event, DataReceived) and event.stream_id in first:
            first[event.stream_id].end_stream = event.end_stream
            pieces[event.stream_id].append(event.data)
            continue
        if isinstance(event, DataReceived):
            first[event.stream_id] = event
            pieces[event.stream_id] = [event.data]
        joined.append(event)
    for stream_id, event in first.items():
        event.data = b"".join(pieces[stream_id])
    return joined


class SmallData:
    """The last small DATA frame that was queued: what comes right behind it is joined to it."""

    __slots__ = ("frame", "payload", "stream_id")

    def __init__(self) -> None:
        self.frame: bytes | memoryview = b""
        self.payload = b""
        self.stream_id = 0

    def join(self, queue: list[bytes | memoryview], stream_id: int, data: bytes | memoryview, end_stream: bool) -> None:
        """The last frame in the queue, whose payload is `data`, and a small one of its stream before it become one."""
        if not 0 < len(data) < SMALL_DATA:
            return
        payload = bytes(data)
        if stream_id == self.stream_id and len(queue) > 1 and queue[-2] is self.frame:
            queue.pop()
            payload = self.payload + payload
            queue[-1] = make_frame(FrameType.DATA, END_STREAM if end_stream else 0, stream_id, payload)
        self.frame, self.payload = queue[-1], payload
        self.stream_id = stream_id if len(payload) < SMALL_DATA else 0
