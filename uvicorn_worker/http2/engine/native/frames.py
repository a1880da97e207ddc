"""Frames of the native engine as bytes (RFC 9113, 4.1 and 6): their headers, and padding.

+---------------+------+-------+---+--------------+
| Length (24)   | Type | Flags | R | Stream (31)  |    nine octets, then the payload
+---------------+------+-------+---+--------------+
"""

from __future__ import annotations

from struct import Struct

from uvicorn_worker.http2.engine.codes import MAX_STREAM_ID, PADDED, PRIORITY, ErrorCode
from uvicorn_worker.http2.engine.errors import Http2ConnectionError

__all__ = [
    "HEADER_SIZE",
    "cut_header",
    "make_frame",
    "pack_header",
    "strip_data",
    "strip_headers",
    "unpack_setting",
]

HEADER_SIZE = 9

# The length's upper 16 and lower 8 bits, type, flags, and the stream with its reserved bit.
cut_header = Struct(">HBBBI").unpack_from
# Length and type as one number, flags, stream.
pack_header = Struct(">IBI").pack
unpack_setting = Struct(">HI").unpack_from


def make_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return pack_header(len(payload) << 8 | kind, flags, stream_id & MAX_STREAM_ID) + payload


def strip_data(data: bytes | memoryview, at: int, stop: int) -> tuple[int, int]:
    """Where the data of a DATA frame with padding, whose payload is `data[at:stop]`, begins and ends (6.1)."""
    if at == stop or data[at] >= stop - at:
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
    return at + 1, stop - data[at]


def strip_headers(data: bytes | memoryview, at: int, stop: int, flags: int) -> tuple[int, int]:
    """Where the header block in a HEADERS frame begins and ends (6.2); what the frame says of priority is ignored."""
    if flags & PADDED:
        at, stop = strip_data(data, at, stop)
    if flags & PRIORITY:
        if stop - at < 5:
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"HEADERS of {stop - at} bytes")
        at += 5
    return at, stop
