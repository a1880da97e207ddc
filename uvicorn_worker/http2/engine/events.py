"""What an engine says has happened: plain slotted objects, few of them for a request.

A request without a body is one event; with a small body it is two. Frames that need no decision of the protocol
(SETTINGS, PING, PRIORITY, unknown ones) are dealt with in the engine and give no event.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ConnectionFailed",
    "DataReceived",
    "Event",
    "GoAwayReceived",
    "PongReceived",
    "PriorityUpdated",
    "RequestHead",
    "RequestReceived",
    "StreamReset",
    "TrailersReceived",
    "WindowOpened",
]


class RequestHead:
    """The head of a request, checked by RFC 9113, 8.2 and 8.3, in the form that ASGI wants it in.

    Where it is `kept`, an engine may give the same object again for a later request of the same connection whose header
    block is the same, so nothing in it is changed once it was made, but for `derived`, which is the protocol's own, and
    a method that `casefold_http_method` changes. `headers` is to be copied before it is given away.
    """

    __slots__ = (
        "authority",
        "content_length",
        "derived",
        "expects_continue",
        "headers",
        "kept",
        "longest",
        "method",
        "priority",
        "protocol",
        "scheme",
        "size",
        "target",
    )

    def __init__(self, method: str, target: bytes, scheme: str, authority: bytes) -> None:
        self.method = method
        # :path with its query, as it was sent; empty for CONNECT without :protocol.
        self.target = target
        self.scheme = scheme
        # :authority, or Host in its place; never empty for http and https.
        self.authority = authority
        # :protocol of an extended CONNECT (RFC 8441); None for any other request.
        self.protocol: str | None = None
        # Without pseudo-fields; `host` comes first; the crumbs of `cookie` are one field (8.2.3), where the first was.
        self.headers: list[tuple[bytes, bytes]] = []
        # The one Content-Length; the engine holds the body against it.
        self.content_length: int | None = None
        # The value of the field `priority` (RFC 9218, 5), more than one joined by a comma; empty without it.
        self.priority = b""
        self.expects_continue = False
        # As SETTINGS_MAX_HEADER_LIST_SIZE counts (6.5.2): names, values, and 32 for each field.
        self.size = 0
        # Of the longest field, name and value, where there is none with an underscore or an expectation; -1: not known.
        self.longest = -1
        self.kept = False
        # What the protocol has made of this head and would make again.
        self.derived: Any = None


class RequestReceived:
    """A request has begun on a new stream; with `end_stream` it is complete."""

    __slots__ = ("end_stream", "head", "stream_id")

    def __init__(self, stream_id: int, head: RequestHead, end_stream: bool) -> None:
        self.stream_id = stream_id
        self.head = head
        self.end_stream = end_stream


class DataReceived:
    """What one read has of a request's body, without padding; `data` may be empty only together with `end_stream`.

    It stands where the first DATA of its stream was. The protocol gives credit for `len(data)` back by
    `acknowledge()`, as the application takes it; the engine gives back what padding took.
    """

    __slots__ = ("data", "end_stream", "stream_id")

    def __init__(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        self.stream_id = stream_id
        self.data = data
        self.end_stream = end_stream


class TrailersReceived:
    """The trailers of a request, which end it."""

    __slots__ = ("headers", "stream_id")

    def __init__(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.stream_id = stream_id
        self.headers = headers


class StreamReset:
    """A stream is over before its time: the client has reset it, or the engine has for a fault of the client's.

    `reason` is empty where the client did it; else it is a line for the log, RST_STREAM is queued already, and the
    stream may be one of which the protocol has never heard (its request was malformed).
    """

    __slots__ = ("code", "reason", "stream_id")

    def __init__(self, stream_id: int, code: int, reason: str = "") -> None:
        self.stream_id = stream_id
        self.code = code
        self.reason = reason


class WindowOpened:
    """The client takes more of one stream (`stream_id`), or of any (0): a window or a setting has changed."""

    __slots__ = ("stream_id",)

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id


class PriorityUpdated:
    """PRIORITY_UPDATE (RFC 9218, 7.1) for a stream, which may not have begun yet; `value` is that of the field."""

    __slots__ = ("stream_id", "value")

    def __init__(self, stream_id: int, value: bytes) -> None:
        self.stream_id = stream_id
        self.value = value


class PongReceived:
    """The answer to `ping()`."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


class GoAwayReceived:
    """The client will open no more streams; those that run may go on."""

    __slots__ = ("code", "debug")

    def __init__(self, code: int, debug: bytes) -> None:
        self.code = code
        self.debug = debug


class ConnectionFailed:
    """The connection is beyond repair; GOAWAY is queued with `code` and `reason`. Always the last event."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


Event = (
    RequestReceived
    | DataReceived
    | TrailersReceived
    | StreamReset
    | WindowOpened
    | PriorityUpdated
    | PongReceived
    | GoAwayReceived
    | ConnectionFailed
)
