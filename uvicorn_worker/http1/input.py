"""The reading half of an HTTP/1.1 connection: bytes become requests.

    HEAD ─► BODY ─► HEAD ...      the parser's business; `incoming` is the request whose body comes

The parser is httptools, or h11 behind the same callbacks (`on_url`, `on_header`, `on_headers_complete`,
`on_body`, `on_message_complete`); what the parsers leave to the server is checked here, for both. A request
whose head is complete waits in `cycle`, or in `waiting` behind it, until the running half begins it.
"""

from __future__ import annotations

import re
from typing import Any

from uvicorn_worker.core.address import Endpoints
from uvicorn_worker.core.cycle import DONE, WAITING
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.output import Output
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.core.scope import Field, Origin
from uvicorn_worker.core.target import METHODS, check_target, to_origin_form
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http1.framing import OWN_FIELDS, effective_version, read_framing
from uvicorn_worker.http1.limits import (
    body_too_long,
    check_head,
    check_partial_head,
    check_partial_lines,
    too_many_fields,
)
from uvicorn_worker.http1.parsers import (
    SkipFirstHead,
    explain,
    ignore_connection_trailer,
    unconventional_method,
    unknown_method,
)
from uvicorn_worker.http1.refused import fill_refused
from uvicorn_worker.http1.shared import Shared

__all__ = ["INPUT_ENDED", "Input"]

# Reading from the client pauses while more than this waits for the application.
BODY_HIGH_WATER = 65536
# A read is fed to the parser in pieces of this size while heads are expected in it, so that a read full of
# tiny pipelined requests does not become thousands of scopes: parsing stops when one is waiting.
HEAD_SLICE = 4096
BODY_SLICE = 65536
# What chunk sizes, extensions and trailers may take in a chunked body beyond the body itself.
CHUNK_OVERHEAD_LIMIT = 65536
CHUNK_OVERHEAD_RATIO = 32
# How many bytes of empty lines may come before a request (RFC 9112, 2.2 asks for one line).
EMPTY_LINES_LIMIT = 4096

# Why parsing stopped where it is nobody's fault: the client has sent all that it will send, or all that counts.
INPUT_ENDED = RequestRefused(0, "")

SLASH = ord("/")
# A request line of the plainest form; any other is read by the parser.
_match_request_line = re.compile(rb"(GET|HEAD|DELETE|OPTIONS) (/[!$-~]*) HTTP/1\.1\r\n").fullmatch
# How many names of fields are remembered, and how long they may be: clients make them up.
MOST_NAMES = 512
LONGEST_NAME = 40
# How often the fields of a request are remembered on a connection where they turn out to be others each time.
REPEATS = 3


class Input(Output):
    """Feeds the parser, and makes a `RequestCycle` of each head."""

    __slots__ = (
        "begun",
        "between",
        "body_allowed",
        "body_bytes",
        "body_declared",
        "buffered",
        "careful",
        "client",
        "cycle",
        "endpoints",
        "field_memo",
        "forwarded",
        "head_bytes",
        "head_done",
        "headers",
        "held",
        "incoming",
        "names",
        "noted",
        "origin",
        "overhead",
        "own",
        "parser",
        "pumping",
        "read_paused",
        "refusal",
        "refused",
        "repeated",
        "repeated_fields",
        "repeated_origin",
        "repeats",
        "scope_base",
        "shared",
        "trusted",
        "underscored",
        "url",
        "waiting",
    )

    client: tuple[str, int] | None
    scope_base: dict[str, Any]

    def __init__(self, runtime: Runtime, shared: Shared, endpoints: Endpoints | None = None) -> None:
        super().__init__(runtime)
        self.shared = shared
        self.parser: Any = None
        # The ends of the connection as the PROXY protocol tells them; None: they are those of the socket.
        self.endpoints = endpoints
        # Whether the peer is a proxy that is believed, and the fields to be noted then besides our own.
        self.trusted = False
        self.noted = OWN_FIELDS
        self.names = shared.names
        self.field_memo = shared.field_memo

        # Of the message that is being read; `begun` says that there is one, be it a single byte.
        self.begun = False
        self.url: bytes | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.own: list[tuple[bytes, bytes]] = []
        self.forwarded: list[Field] | None = None
        self.origin: Origin | None = None
        self.underscored = False
        self.head_bytes = 0
        self.head_done = False
        self.careful = False
        self.incoming: RequestCycle | None = None
        self.body_bytes = 0
        self.overhead = 0
        self.body_declared: int | None = None
        self.body_allowed = 0

        # Whether the next read begins a message, and nothing keeps it from being parsed.
        self.between = True
        # Bytes that were read and are not parsed before the requests that wait are done.
        self.held: bytes | None = None
        self.buffered = 0
        self.read_paused = False
        # The bytes of the fields of an earlier request, what they mean, and how often to remember others.
        self.repeated: bytes | None = None
        self.repeated_fields: list[tuple[bytes, bytes]] = []
        self.repeated_origin: Origin | None = None
        self.repeats = REPEATS
        # Why nothing more is parsed, and which request it was.
        self.refusal: RequestRefused | None = None
        self.refused: RequestCycle | None = None

        # The request whose turn it is, and those behind it.
        self.cycle: RequestCycle | None = None
        self.waiting: list[RequestCycle] | None = None
        self.pumping = False

    # Hooks of the running half ------------------------------------------------------------------------

    def begin(self, cycle: RequestCycle) -> None:
        """Start the application for a request."""
        raise NotImplementedError

    def pump(self) -> None:
        """Start the request whose turn it is; when none is left, go on with what was held back meanwhile."""
        raise NotImplementedError

    def next_request(self) -> None:
        """The running request is done with."""
        raise NotImplementedError

    def refuse(self, refusal: RequestRefused, start: bytes = b"") -> None:
        """Answer with an error and close, after the requests before have been answered."""
        raise NotImplementedError

    # The peer ----------------------------------------------------------------------------------------

    def trust_peer(self) -> None:
        """The peer is a proxy whose word is taken for where the requests come from."""
        self.trusted = True
        self.noted = self.shared.noted
        self.forwarded = []

    # Reading -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if len(data) > self.shared.fast_size or not self.between:
            self.feed_slowly(data)
            return
        repeated = self.repeated
        if repeated is None or not data.endswith(repeated) or not self._accept_repeated(data, len(repeated)):
            self.head_done = False
            rest = b""
            try:
                self.parser.feed_data(data)
            except Exception as exc:  # noqa: BLE001 - parsers have errors of their own; all of them end here
                rest = self._parser_stopped(exc, data)
            if not self.head_done:
                self._head_incomplete(data)
            elif self.repeats:
                self._remember(data)
            if self.begun or self.waiting:
                self.between = False
            if rest:
                self.feed_slowly(rest)
        cycle = self.cycle
        if cycle is not None and cycle.progress == WAITING:
            if self.write_paused or self.pumping:
                self.pump()
            else:
                self.begin(cycle)

    def feed_slowly(self, data: bytes) -> None:
        """Any read but that of one whole small request: feed it in pieces, stop when requests wait."""
        if self.closing:
            self.drop(data)
        # An application that is started eagerly may answer before all of this was looked at.
        self.between = False
        view = memoryview(data)
        at, end = 0, len(data)
        while at < end and not self.stopped:
            if self.held is not None or (self.incoming is None and self.waiting):
                self.held = (self.held or b"") + bytes(view[at:])
                self.pause_reading()
                break
            at += self._feed(view[at : at + self._slice_size()])
        self.pump()
        self.settle()

    @property
    def stopped(self) -> bool:
        """Whether nothing more is parsed on this connection."""
        return self.closing or self.refusal is not None

    def settle(self) -> None:
        """See whether the next read begins a message, and may be parsed at once."""
        self.between = not self.begun and self.held is None and not self.waiting and not self.stopped

    def _slice_size(self) -> int:
        """How much may be fed at once: all of a body whose length is known, little where heads may follow."""
        if self.incoming is None:
            return HEAD_SLICE
        if self.body_declared is None:
            return BODY_SLICE
        return max(self.body_declared - self.body_bytes, 1)

    def _feed(self, piece: memoryview) -> int:
        """Give the parser a piece of a read; gives how much of it was used."""
        in_body = self.incoming
        self.head_done = False
        # A head that spans reads, or is larger than fast_size, is checked field by field.
        self.careful = True
        used = len(piece)
        try:
            self.parser.feed_data(piece)
        except Exception as exc:  # noqa: BLE001 - as above
            used -= len(self._parser_stopped(exc, piece))
        self.careful = False
        if in_body is not None and in_body is self.incoming:
            self._check_chunk_overhead(used)
        elif in_body is None and not self.head_done:
            self._head_incomplete(piece)
        return used

    def _head_incomplete(self, piece: bytes | memoryview) -> None:
        """`piece` was fed without the end of a head in it: a head must not grow, nor last, without bound."""
        if self.refusal is not None or self.closing:
            return
        runtime = self.runtime
        if self.url is None and self.head_bytes == 0 and not bytes(piece).strip(b"\r\n"):
            self.dropped += len(piece)
            if self.dropped > EMPTY_LINES_LIMIT:
                self.refuse(RequestRefused(400, "too many empty lines before the request"))
            return
        self.between = False
        if self.head_bytes == 0 and self.cycle is None and runtime.request_head_ticks:
            self.deadline = runtime.tick + runtime.request_head_ticks
        self.head_bytes += len(piece)
        lines = getattr(self.parser, "partial_head", None)
        try:
            if lines is None:
                check_partial_head(runtime.config, self.head_bytes, self.url, self.headers)
            else:
                check_partial_lines(runtime.config, lines)
        except RequestRefused as exc:
            self.refuse(exc)

    def _check_chunk_overhead(self, size: int) -> None:
        """Bound what a chunked body may take on the wire beyond its content: extensions, zeros, trailers."""
        if self.body_declared is None:
            # What has come of the body pays for what came with it; it leaves no credit for later.
            self.overhead = max(0, self.overhead + size - self.body_bytes * CHUNK_OVERHEAD_RATIO)
            self.body_bytes = 0
            if self.overhead > CHUNK_OVERHEAD_LIMIT:
                self.refuse(RequestRefused(400, "chunk extensions or trailers are too long"))

    def _parser_stopped(self, exc: Exception, data: bytes | memoryview) -> bytes:
        """The parser won't go on: the request is refused, or it asks for another protocol.

        Gives the end of `data` that is to be fed to the parser that takes its place.
        """
        # h11's errors are held by their own tracebacks, in which this connection is too.
        exc.__traceback__ = None
        if self.stopped:
            # The callbacks found the reason first.
            return b""
        if type(exc).__name__ == "HttpParserUpgrade":
            rest = bytes(data[exc.args[0] :])
            if self._upgrade(rest):
                return b""
            self._decline_upgrade()
            return rest
        last = self.waiting[-1] if self.waiting else self.cycle
        if isinstance(exc, RequestRefused):
            self.refuse(exc)
        elif self.incoming is None and last is not None and last.complete and not last.persistent:
            # Bytes after the last request of a connection are not looked at (RFC 9112, 9.6).
            self.refusal = INPUT_ENDED
            self.between = False
        else:
            if exc.__context__ is not None:
                self.runtime.log.error("Error in a callback of the HTTP parser", exc_info=exc.__context__)
            start = bytes(data[:4096]) if self.url is None and self.head_bytes == 0 and not self.head_done else b""
            self.refuse(explain(exc, start), start)
        return b""

    def _upgrade(self, rest: bytes) -> bool:
        """Let the server answer a request for another protocol; False: what follows is HTTP/1.1.

        What comes behind the request is held. It is the other protocol's if the request is granted, and
        HTTP's if not.
        """
        cycle = self.waiting[-1] if self.waiting else self.cycle
        upgraded = self.shared.upgrade(cycle) if cycle is not None else None
        if upgraded is None:
            return False
        if self.waiting:
            self.waiting[-1] = upgraded
        else:
            self.cycle = upgraded
        if self.body_declared != 0:
            # Its body comes before, and is HTTP/1.1's.
            return False
        self.parser = self.shared.make_parser(self)
        self.held = rest
        self.between = False
        return True

    def _decline_upgrade(self) -> None:
        """The protocol that is asked for is not spoken here: the request is served as the HTTP/1.1 that it is.

        llhttp stops at the end of such a head. A body that follows is left to a new parser, which is told how
        it is delimited by a head made for the purpose.
        """
        cycle = self.waiting[-1] if self.waiting else self.cycle
        make_parser = self.shared.make_parser
        if cycle is None or self.body_declared == 0:
            self.parser = make_parser(self)
            return
        framing = b"Transfer-Encoding: chunked"
        if self.body_declared is not None:
            framing = b"Content-Length: %d" % self.body_declared
        self.parser = make_parser(SkipFirstHead(self))
        self.parser.feed_data(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        cycle.complete = False
        self.incoming = cycle

    # Repeated heads ----------------------------------------------------------------------------------
    #
    # A client that keeps a connection mostly sends the same fields with each request. When a read ends with
    # exactly the bytes that the parser has taken as fields before, on this connection, and what is before them
    # is a plain request line, the parser would say the same again: the fields are taken from the last time.

    def _accept_repeated(self, data: bytes, size: int) -> bool:
        """Take a request whose last `size` bytes are the fields of an earlier one; False: it is for the parser."""
        line = _match_request_line(data, 0, len(data) - size)
        if line is None:
            return False
        method, url = line.groups()
        runtime = self.runtime
        scope = self.scope_base.copy()
        cycle = RequestCycle(self, runtime, scope, True)  # type: ignore[arg-type]  # Http1Protocol is the one Input
        cycle.complete = True
        self._accept(cycle, METHODS[method], url, self.repeated_fields.copy(), self.repeated_origin)
        if self.waiting:
            self.between = False
        return True

    def _remember(self, data: bytes) -> None:
        """Keep the fields of a request that came alone in one read and has no body."""
        self.repeats -= 1
        self.repeated = None
        cycle = self.cycle
        start, end = data.find(b"\r\n") + 2, data.find(b"\r\n\r\n") + 4
        if (
            end == len(data)
            and cycle is not None
            and cycle.complete
            and cycle.persistent
            and self.body_declared == 0
            and not self.waiting
            and _match_request_line(data, 0, start) is not None
            # The parser is to see each wish for another protocol.
            and all(name != b"upgrade" for name, _ in cycle.scope["headers"])
        ):
            self.repeated = data[start:]
            self.repeated_fields = cycle.scope["headers"].copy()
            self.repeated_origin = self.origin

    def on_tick(self, tick: int) -> None:
        """Look at the deadline; an idle connection holds no more than it must."""
        if self.repeated is not None and self.cycle is None:
            self.repeated = None
            self.repeated_fields = []
            self.repeats += 1
        super().on_tick(tick)

    # Parser callbacks --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.begun = True

    def on_url(self, url: bytes) -> None:
        self.url = url if self.url is None else self.url + url

    def on_header(self, name: bytes, value: bytes) -> None:
        try:
            name = self.names[name]
        except KeyError:
            name = self._new_name(name)
        if value and value[-1] <= 32:
            # RFC 9112, 5: white space after the value is not part of it; llhttp leaves it there.
            value = value.rstrip(b" \t")
        field = (name, value)
        self.headers.append(field)
        if name in self.noted:
            if self.forwarded is None or name in OWN_FIELDS:
                self.own.append(field)
            else:
                self.forwarded.append(field)

    def _new_name(self, name: bytes) -> bytes:
        """The name of a field in lower case, which is remembered, and mostly is one of few.

        One with an underscore is not remembered where it is something special, so that it is seen each time.
        """
        lowered = name.lower()
        if b"_" in name and self.shared.proxies.screens:
            self.underscored = True
        elif len(name) <= LONGEST_NAME:
            if len(self.names) >= MOST_NAMES:
                self.names.clear()
            self.names[name] = lowered
        return lowered

    def on_headers_complete(self) -> None:
        if self.refusal is not None or self.closing:
            return
        runtime, parser, own = self.runtime, self.parser, self.own
        headers, self.headers = self.headers, []
        url, self.url = self.url or b"", None
        self.head_done = True
        self.head_bytes = 0
        self.body_declared = 0
        scope = self.scope_base.copy()
        cycle = RequestCycle(self, runtime, scope, parser.should_keep_alive())  # type: ignore[arg-type]  # Http1Protocol is the one Input
        raw_method = parser.get_method()
        try:
            method = METHODS.get(raw_method) or unconventional_method(runtime.config, raw_method)
            if self.careful:
                check_head(runtime.config, raw_method, url, headers)
            if len(headers) > self.shared.limit_fields:
                raise too_many_fields(runtime.config)
            version = parser.get_http_version()
            if version == "1.0":
                cycle.http10 = True
                scope["http_version"] = "1.0"
            elif version != "1.1" and runtime.config.permit_unconventional_http_version:
                # What the client makes of the connection is anyone's guess: it ends with this request.
                version = effective_version(version)
                cycle.persistent = cycle.keep_alive = False
            if len(own) != 1 or own[0][0] != b"host" or version != "1.1" or method == "CONNECT":
                framing = read_framing(version, method, own)
                self.body_bytes = self.overhead = 0
                self.body_declared = length = framing.length
                cycle.expect_continue = framing.expects_continue
                if length is None:
                    self.body_allowed = runtime.limit_body
                elif length > runtime.limit_body:
                    raise body_too_long(runtime.config)
            if method is None:
                raise unknown_method(raw_method)
            own.clear()
            if url[0] != SLASH:
                url, authority = to_origin_form(url, method)
                if authority is not None:
                    # RFC 9112, 3.2.2: the target's authority takes the place of the Host field.
                    headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
            check_target(url)
            if self.underscored:
                self.underscored = False
                headers = self.shared.proxies.screen(headers, self.trusted)
            if self.trusted:
                self.origin = self._read_forwarded(self.forwarded) if self.forwarded else None
        except RequestRefused as exc:
            self.refused = fill_refused(cycle, raw_method, url, headers)
            self.refuse(exc)
            return
        self.incoming = cycle
        self._accept(cycle, method, url, headers, self.origin)

    def _read_forwarded(self, forwarded: list[Field]) -> Origin:
        """Where the request comes from, by the fields that were noted; raises `RequestRefused`."""
        fields = tuple(forwarded)
        forwarded.clear()
        proxies = self.shared.proxies
        return proxies.origins.get(fields) or proxies.read(fields)

    def _accept(
        self, cycle: RequestCycle, method: str, url: bytes, headers: list[tuple[bytes, bytes]], origin: Origin | None
    ) -> None:
        """Fill the scope of a request whose head is good, and put it in the row."""
        runtime, scope = self.runtime, cycle.scope
        cycle.target = url
        scope["method"] = method
        scope["headers"] = headers
        scope["client"] = self.client
        scope["state"] = runtime.state.copy()
        runtime.scopes.locate(scope, url, origin)
        if self.cycle is None:
            self.cycle = cycle
        elif self.waiting is None:
            self.waiting = [cycle]
        else:
            self.waiting.append(cycle)

    def on_body(self, body: bytes) -> None:
        cycle = self.incoming
        if cycle is None:
            return
        size = len(body)
        self.body_bytes += size
        if cycle.stage == DONE or cycle.gone:
            return
        if self.body_declared is None:
            self.body_allowed -= size
            if self.body_allowed < 0:
                self.refuse(body_too_long(self.runtime.config))
                return
        cycle.expect_continue = False
        cycle.chunks.append(body)
        self.buffered += size
        if self.buffered > BODY_HIGH_WATER:
            self.pause_reading()
        if cycle.waiters is not None:
            cycle.wake()

    def on_message_complete(self) -> None:
        cycle = self.incoming
        if cycle is None:
            return
        self.incoming = None
        self.begun = False
        if self.headers:
            # Trailers: read, checked by the parser, and never mixed into the headers (RFC 9110, 6.5.1).
            if any(name == b"connection" for name, _ in self.headers):
                ignore_connection_trailer(self.parser)
            self.headers = []
            self.own.clear()
            self.underscored = False
            if self.forwarded:
                self.forwarded.clear()
        cycle.complete = True
        if cycle.waiters is not None:
            cycle.wake()
        if cycle.stage == DONE and cycle is self.cycle:
            # The rest of a body that the application did not want has been read and dropped.
            self.next_request()

    # Flow control of reading -------------------------------------------------------------------------

    def body_taken(self, cycle: RequestCycle, size: int) -> None:
        """The application has taken `size` bytes of a body."""
        self.buffered -= size
        if self.read_paused and self.buffered <= BODY_HIGH_WATER and self.held is None:
            self.resume_reading()

    def pause_reading(self) -> None:
        if not self.read_paused and not self.closing:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
