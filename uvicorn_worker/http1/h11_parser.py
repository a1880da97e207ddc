"""h11 behind the callbacks of httptools, so that one protocol serves both.

h11 reads heads, each when it is whole; bodies are cut here, and what h11 would write is left to the protocol. Where h11
is more lenient than llhttp about a head (bare LF, folded field lines, control characters, the same Content-Length
twice) it is refused here; so it is of chunked bodies, which `ChunkedBody` reads.
"""

from __future__ import annotations

import re
from typing import Any

import h11

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import TCHAR
from uvicorn_worker.core.target import method_name
from uvicorn_worker.http1.chunked import ChunkedBody
from uvicorn_worker.http1.framing import OWN_FIELDS, read_framing
from uvicorn_worker.http1.limits import PartialLines
from uvicorn_worker.http1.unreadable import UNSUPPORTED_VERSION, unknown_method

__all__ = ["H11Parser", "HttpParserUpgrade"]

SPACE = ord(" ")

# A request line as far as its version; llhttp, nginx and others take several blanks between its parts (RFC 9112, 3).
_match_line = re.compile(rf"([{TCHAR}]+) +(?:([^ \r\n]+) +HTTP/([0-9]\.[0-9]))?".encode("latin-1")).match
_VERSIONS = (b"0.9", b"1.0", b"1.1", b"2.0")

_strip_names = re.compile(rf"^([{TCHAR}]+)[ \t]+:".encode(), re.MULTILINE).sub
_join_blanks = re.compile(rb" +").sub
_find_end = re.compile(rb"\n\r?\n").search
_find_fold = re.compile(rb"\n[ \t]").search
_find_control = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search
_find_lengths = re.compile(rb"\ncontent-length:[ \t]*([^\r]*?)[ \t]*\r", re.IGNORECASE).findall


class HttpParserUpgrade(Exception):
    """As httptools names it: another protocol is asked for; the argument says where in the data the head ends."""


class H11Parser:
    """Feeds heads to h11, reads the bodies behind them, and calls back as `Callbacks` says.

    Each byte of a head is looked at once until it is whole, in whatever pieces it comes.
    """

    # Its partial heads are checked here, as they come.
    checks_partial_heads = True
    # It has no table of methods.
    knows_methods = True

    __slots__ = (
        "_callbacks",
        "_chunked",
        "_failed",
        "_folding",
        "_head",
        "_http_version",
        "_keep_alive",
        "_limits",
        "_lines",
        "_method",
        "_missing",
        "_over",
        "_stripping",
        "_upgrade",
    )

    def __init__(self, callbacks: Any, config: Config) -> None:
        self._callbacks = callbacks
        self._limits = config
        self._folding = config.permit_obsolete_folding
        self._stripping = config.strip_header_spaces
        # What has come of a head.
        self._head = bytearray()
        self._lines = PartialLines(config)
        # The body that is being read, where it is a chunked one, and how much is missing of any other.
        self._chunked: ChunkedBody | None = None
        self._missing = 0
        self._failed = b""
        self._method = b""
        self._http_version = ""
        self._keep_alive = False
        self._upgrade = False
        # Whether the last request of the connection has come.
        self._over = False

    @property
    def failed_head(self) -> bytes:
        """The head that could not be taken, or what has come of one."""
        return self._failed or bytes(self._head)

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
        """Take bytes and call back for each part of a message in them.

        Raises h11.RemoteProtocolError, `RequestRefused`, and `HttpParserUpgrade`.
        """
        rest = bytes(data)
        while rest:
            if self._chunked is not None:
                rest = self._feed_chunked(self._chunked, rest)
            elif self._missing:
                rest = self._feed_body(rest)
            else:
                rest = self._feed_head(rest)
                if self._upgrade:
                    self._upgrade = False
                    raise HttpParserUpgrade(len(data) - len(rest))

    def _feed_head(self, data: bytes) -> bytes:
        """Read on in a head; gives what comes after it."""
        head = self._head
        if not head:
            # RFC 9112, 2.2: an empty line before the request line is ignored.
            data = data.lstrip(b"\r\n")
            if not data:
                return b""
            if data[0] < SPACE + 1:
                self._failed = data
                raise h11.RemoteProtocolError("illegal request line")
            if self._over:
                # RFC 9112, 9.6: as with llhttp, nothing of it is looked at.
                raise h11.RemoteProtocolError("bytes behind the last request")
            self._callbacks.on_message_begin()
        # The end may have begun before.
        start = max(0, len(head) - 2)
        head += data
        found = _find_end(head, start)
        if found is None:
            self._lines.add(data)
            return b""
        rest = data[len(data) - (len(head) - found.end()) :] if found.end() < len(head) else b""
        whole = bytes(head[: found.end()])
        self._head = bytearray()
        self._lines = PartialLines(self._limits)
        self._on_request(self._parse(whole))
        if self._upgrade:
            # As with llhttp the message ends with such a head: who it is granted to decides who reads the body.
            self._chunked, self._missing = None, 0
        if self._chunked is not None or self._missing:
            return rest
        return self._end_message(rest)

    def _parse(self, head: bytes) -> h11.Request:
        if self._stripping:
            head = _strip_names(rb"\1:", head)
        self._check(head)
        connection = h11.Connection(h11.SERVER)
        if b"  " in head:
            line, end, fields = head.partition(b"\r\n")
            head = _join_blanks(b" ", line) + end + fields
        connection.receive_data(head)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            self._failed = head
            if refused := self._line_fault(head):
                raise refused from None
            if exc.error_status_hint == 501:
                # A transfer coding that is not known may be the least that is wrong with this body.
                _check_framing(head)
            # h11 changes the class of an error that it raises again, and PyPy makes a second error of it.
            exc.__context__ = None
            raise
        if not isinstance(event, h11.Request):
            self._failed = head
            raise RequestRefused(400, "not an HTTP request")
        return event

    def _check(self, head: bytes) -> None:
        """Raises `RequestRefused` for what h11 lets pass."""
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
            raise self._line_fault(head) or RequestRefused(400, fault)

    def _line_fault(self, head: bytes) -> RequestRefused | None:
        """What is at fault in the request line of a head that is refused: it comes first, and llhttp stops there."""
        found = _match_line(head)
        if found is None:
            return None
        method, _, version = found.groups()
        if method_name(self._limits, method) is None:
            return unknown_method(method)
        if version in _VERSIONS or version is None or self._limits.permit_unconventional_http_version:
            return None
        return RequestRefused(505, UNSUPPORTED_VERSION)

    def _feed_body(self, data: bytes) -> bytes:
        """Read on in a body of known length; gives what comes after it."""
        piece = data[: self._missing]
        self._missing -= len(piece)
        self._callbacks.on_body(piece)
        return b"" if self._missing else self._end_message(data[len(piece) :])

    def _feed_chunked(self, body: ChunkedBody, data: bytes) -> bytes:
        """Read on in a chunked body; gives what comes after it."""
        content, rest = body.feed(data)
        for piece in content:
            self._callbacks.on_body(piece)
        if rest is None:
            return b""
        self._chunked = None
        return self._end_message(rest)

    def _end_message(self, rest: bytes) -> bytes:
        """The message has ended; gives what is to be read of what comes after it."""
        self._callbacks.on_message_complete()
        if self._keep_alive or self._upgrade:
            return rest
        self._over = True
        return b""

    def _on_request(self, request: h11.Request) -> None:
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
                has_body, self._missing = True, int(value)
            callbacks.on_header(name, value)
        if self._http_version == "1.1":
            self._keep_alive = b"close" not in options
        else:
            self._keep_alive = b"keep-alive" in options
        # A handshake of WebSocket has no body: one that has is read as any other request.
        self._upgrade = b"upgrade" in options and (b"h2c" in protocols or (b"websocket" in protocols and not has_body))
        callbacks.on_headers_complete()


def _check_framing(head: bytes) -> None:
    """Raises `RequestRefused` for the framing of a request that h11 does not take for its transfer coding."""
    line, *lines = head.split(b"\r\n")
    fields = [(name.lower(), value.strip(b" \t")) for name, _, value in (field.partition(b":") for field in lines)]
    read_framing(line[-3:].decode("latin-1"), None, [field for field in fields if field[0] in OWN_FIELDS])
