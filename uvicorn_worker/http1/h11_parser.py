"""h11 behind the callbacks of httptools, so that one protocol serves both.

h11 reads messages; what it would write is left to the protocol, so a connection object is used for one
request and the bytes after it go to the next one. Where h11 is more lenient than llhttp about a head (bare LF,
folded field lines, control characters, the same Content-Length twice) it is refused here; chunked bodies, about which
it is more lenient too, are read by `ChunkedBody`.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import h11

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.http1.chunked import ChunkedBody

__all__ = ["H11Parser", "HttpParserUpgrade"]

_find_fold = re.compile(rb"\n[ \t]").search
_find_control = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search
_find_codings = re.compile(rb"\ntransfer-encoding:([^\r\n]*)", re.IGNORECASE).findall
_find_lengths = re.compile(rb"\ncontent-length:[ \t]*([^\r]*?)[ \t]*\r", re.IGNORECASE).findall


class HttpParserUpgrade(Exception):
    """Named as in httptools: the request asks for WebSocket; the argument says where in the data its own bytes end."""


class H11Parser:
    """Feeds bytes to h11 and calls back as `Callbacks` says."""

    __slots__ = (
        "_callbacks",
        "_chunked",
        "_connection",
        "_failed",
        "_folding",
        "_http_version",
        "_keep_alive",
        "_max_head",
        "_method",
        "_upgrade",
    )

    def __init__(self, callbacks: Any, config: Config) -> None:
        self._callbacks = callbacks
        # The protocol's own limits refuse a head earlier, with the status that says why.
        line, fields, field = config.limit_request_line, config.limit_request_fields, config.limit_request_field_size
        self._max_head = line + fields * (field + 4) + 65536 if line and field else sys.maxsize
        self._connection = self._new_connection()
        # The body that is being read, where it is a chunked one.
        self._chunked: ChunkedBody | None = None
        self._folding = config.permit_obsolete_folding
        self._failed = b""
        self._method = b""
        self._http_version = ""
        self._keep_alive = False
        self._upgrade = False

    def _new_connection(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._max_head)

    @property
    def partial_head(self) -> bytes:
        """The bytes that were fed and are not the whole of anything yet."""
        return self._connection.trailing_data[0]

    @property
    def failed_head(self) -> bytes:
        """The head that could not be taken, or what has come of one."""
        return self._failed or self.partial_head

    def get_method(self) -> bytes:
        """The method of the request whose head was read last."""
        return self._method

    def get_http_version(self) -> str:
        """The HTTP version of that request, as 1.1."""
        return self._http_version

    def should_keep_alive(self) -> bool:
        """Whether the client lets the connection persist after that request (RFC 9112, 9.3)."""
        return self._keep_alive

    def feed_data(self, data: bytes | memoryview) -> None:
        """Take bytes and call back for each part of a message in them; raises h11.RemoteProtocolError."""
        data = bytes(data)
        if self._chunked is not None:
            rest = self._feed_chunked(data)
            if not rest:
                return
            data = rest
        connection = self._connection
        if connection.their_state is h11.IDLE and not connection.trailing_data[0]:
            # RFC 9112, 2.2: an empty line before the request line is ignored.
            data = data.lstrip(b"\r\n")
        if not data:
            return
        connection.receive_data(data)
        while self._next_part():
            if self._upgrade and self._connection is not connection:
                raise HttpParserUpgrade(len(data) - len(self.partial_head))
            connection = self._connection
        if self._connection.their_state is h11.IDLE and self.partial_head:
            self._callbacks.on_message_begin()

    def _next_part(self) -> bool:
        connection = self._connection
        before = connection.trailing_data[0] if connection.their_state is h11.IDLE else b""
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            self._failed = before
            if exc.error_status_hint == 501 and _hides_chunked(before):
                # RFC 9112, 6.3: the end of such a body can't be told, whatever codings are known.
                raise RequestRefused(400, "chunked is not the one final transfer coding") from None
            # h11 changes the class of an error that it raises again, and PyPy makes a second error of it.
            exc.__context__ = None
            raise
        if isinstance(event, h11.Request):
            rest = connection.trailing_data[0]
            self._on_request(event, before[: len(before) - len(rest)])
            if self._chunked is not None:
                self._connection = self._new_connection()
                rest = self._feed_chunked(rest)
                if not rest:
                    return False
                self._connection.receive_data(rest)
        elif isinstance(event, h11.Data):
            self._callbacks.on_body(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            rest = connection.trailing_data[0]
            self._connection = self._new_connection()
            self._callbacks.on_message_complete()
            if not self._keep_alive:
                return False
            if self._upgrade:
                self._connection.receive_data(rest)
                return True
            rest = rest.lstrip(b"\r\n")
            if not rest:
                return False
            self._connection.receive_data(rest)
        else:
            return False
        return True

    def _feed_chunked(self, data: bytes) -> bytes:
        """Read on in a chunked body; gives what comes after it and is to be read too."""
        assert self._chunked is not None  # noqa: S101 - the callers have looked
        content, rest = self._chunked.feed(data)
        for piece in content:
            self._callbacks.on_body(piece)
        if rest is None:
            return b""
        self._chunked = None
        self._callbacks.on_message_complete()
        # RFC 9112, 2.2: an empty line before the request line is ignored.
        return rest.lstrip(b"\r\n") if self._keep_alive else b""

    def _on_request(self, request: h11.Request, head: bytes) -> None:
        # What h11 lets pass.
        fault = ""
        if head.count(b"\n") != head.count(b"\r\n") or b"\r" in head.replace(b"\r\n", b""):
            fault = "a line of the head does not end with CR LF"
        elif not self._folding and _find_fold(head):
            fault = "a folded header field"
        elif _find_control(head):
            fault = "a control character in the head"
        else:
            lengths = _find_lengths(head)
            if len(lengths) > 1 or (lengths and not lengths[0].isdigit()):
                # h11 makes one of several that are the same.
                fault = "Content-Length is not one number"
        if fault:
            self._failed = head
            raise RequestRefused(400, fault)
        callbacks = self._callbacks
        self._method = request.method
        self._http_version = request.http_version.decode()
        options: set[bytes] = set()
        protocols: set[bytes] = set()
        has_body = False
        callbacks.on_message_begin()
        callbacks.on_url(request.target)
        for name, value in request.headers:
            if name == b"connection":
                options.update(option.strip().lower() for option in value.split(b","))
            elif name == b"upgrade":
                protocols.update(protocol.strip().lower() for protocol in value.split(b","))
            elif name == b"transfer-encoding":
                # Another coding than this one is refused by the framing.
                has_body, self._chunked = True, ChunkedBody()
            elif name == b"content-length" and value.strip(b"0"):
                has_body = True
            callbacks.on_header(name, value)
        if self._http_version == "1.1":
            self._keep_alive = b"close" not in options
        else:
            self._keep_alive = b"keep-alive" in options
        # A request with a body is read as any other: a handshake has none, and h2c is no more than an offer.
        self._upgrade = b"upgrade" in options and not has_body and bool(protocols & {b"websocket", b"h2c"})
        callbacks.on_headers_complete()


def _hides_chunked(head: bytes) -> bool:
    """Whether a head says that its body is chunked, and that this was not the last that was done to it."""
    codings = [coding.strip(b" \t") for coding in b",".join(_find_codings(head)).lower().split(b",")]
    return b"chunked" in codings[:-1]
