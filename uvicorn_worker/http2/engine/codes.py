"""Numbers of the wire: error codes, frame types, flags and settings (RFC 9113, 6 and 7; RFC 8441; RFC 9218)."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "ACK",
    "CONNECTION_FRAMES",
    "END_HEADERS",
    "END_STREAM",
    "LENGTHS",
    "MAX_STREAM_ID",
    "MAX_WINDOW",
    "PADDED",
    "PREFACE",
    "PRIORITY",
    "ErrorCode",
    "FrameType",
    "Setting",
    "code_name",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (3.4)."""

MAX_STREAM_ID = 2**31 - 1
MAX_WINDOW = 2**31 - 1

# Flags; the same bit means different things on different frames.
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class ErrorCode(IntEnum):
    """Codes of RST_STREAM and GOAWAY (7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class FrameType(IntEnum):
    """Types of frames (6; RFC 9218, 7.1)."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9
    PRIORITY_UPDATE = 0x10


CONNECTION_FRAMES = frozenset([FrameType.SETTINGS, FrameType.PING, FrameType.GOAWAY, FrameType.PRIORITY_UPDATE])
"""Frames of the connection, which name no stream."""

LENGTHS: dict[int, int] = {
    FrameType.PRIORITY: 5,
    FrameType.RST_STREAM: 4,
    FrameType.PING: 8,
    FrameType.WINDOW_UPDATE: 4,
}
"""The lengths of frames that can have one only."""


class Setting(IntEnum):
    """Identifiers of SETTINGS (6.5.2; RFC 8441, 3; RFC 9218, 2.1)."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6
    ENABLE_CONNECT_PROTOCOL = 0x8
    NO_RFC7540_PRIORITIES = 0x9


def code_name(code: int) -> str:
    """The name of an error code; its number where it has none."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"0x{code:x}"
