"""Reads the messages of an HTTP/1.1 connection: bytes become requests.

    START ── first byte ──► HEAD ── its end ──► BODY ── its end ──► START
      ├───────────── a plain head ───────────────┘
      │                      │
      └──────── hold ────────┴──► HELD ── take_held ──► back to where it was

    any of them ── stop ──► STOPPED

Whether a request has a body or not, it passes through BODY. `HELD` is where requests wait for those before them, or
where one has asked for another protocol: what comes is kept, and read by whom it turns out to be for.

The parser is httptools, or h11 behind the same callbacks (`on_url`, `on_header`, `on_headers_complete`,
`on_body`, `on_message_complete`); what the parsers leave to the server is checked here, for both. A request
whose head is complete stands in the connection's `cycle`, or in `waiting` behind it, until it is begun there.

A connection that has been idle for a second has no reader: `AT_REST` stands in for it until something comes.

What the connection has to ask for each read is `state`, by one comparison. The reader is one call more for a request
that the parser reads, and none for one whose fields were read before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn_worker.core.cycle import DONE
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.core.scope import Field, without_newer
from uvicorn_worker.core.target import METHODS, checked_target, to_origin_form
from uvicorn_worker.http1.chunked import ChunkReader
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http1.framing import OWN_FIELDS, asks_to_persist, effective_version, read_framing
from uvicorn_worker.http1.known_heads import NO_FIELDS, NOTHING, REPEATS, KnownHeads, new
from uvicorn_worker.http1.known_length import cut_body
from uvicorn_worker.http1.limits import (
    BODY_HIGH_WATER,
    PartialHead,
    body_too_long,
    check_head,
    too_many_fields,
)
from uvicorn_worker.http1.parsers import (
    SPENT,
    OtherMethod,
    OtherMethodError,
    UnmadeParser,
    check_method,
    is_other_method,
    other_name,
    parser_behind_head,
)
from uvicorn_worker.http1.refused import fill_refused
from uvicorn_worker.http1.shared import Shared
from uvicorn_worker.http1.states import AT_REST, BODY, HEAD, HELD, START, STOPPED, TRANSITIONS, Reading
from uvicorn_worker.http1.unreadable import (
    LONGEST_WORD,
    RTSP,
    explain,
    foreign_protocol,
    message_behind,
)

if TYPE_CHECKING:
    from uvicorn_worker.http1.row import Row

__all__ = ["AT_REST", "BODY", "HEAD", "HELD", "START", "STOPPED", "TRANSITIONS", "MessageReader", "Reading"]


# A read is fed to the parser in pieces of this size while heads are expected in it, so that a read full of tiny
# pipelined requests does not become thousands of scopes: parsing stops when one is waiting. As 150 of the smallest take
# 220 KB, the pieces of a large read are smaller.
HEAD_SLICE = 4096
LARGE_READ = 16384
LARGE_READ_SLICE = 512
BODY_SLICE = 262144
# What chunk sizes, extensions and trailers may take in a chunked body beyond the body itself.
CHUNK_OVERHEAD_LIMIT = 65536
CHUNK_OVERHEAD_RATIO = 32
# How many bytes of empty lines may come before a request (RFC 9112, 2.2 asks for one line).
EMPTY_LINES_LIMIT = 4096

SLASH = ord("/")
# How many names of fields are remembered, and how long they may be: clients make them up.
MOST_NAMES = 512
LONGEST_NAME = 40


class MessageReader(KnownHeads):
    """Feeds the parser, and makes a `RequestCycle` of each head, for one connection."""

    __slots__ = (
        "beginning",
        "body_allowed",
        "careful",
        "head_bytes",
        "head_done",
        "head_tail",
        "headers",
        "held",
        "interrupted",
        "names",
        "overhead",
        "own",
        "partial",
        "underscored",
        "url",
    )

    def __init__(self, conn: Row, runtime: Runtime, shared: Shared) -> None:
        self.conn = conn
        self.runtime = runtime
        self.shared = shared
        # Many connections are made for a single request, which needs none where such requests have come before.
        self.parser = UnmadeParser(self)
        self.spare = None
        self.names = shared.names
        self.noted = OWN_FIELDS
        self.forwarded = None
        self.state = START
        # Of HELD: the bytes that are kept, and where it came from.
        self.held: bytes | None = None
        self.interrupted = START

        # Of HEAD: what the parser has told of it, and the size and the first bytes of what was fed in vain.
        self.url: bytes | None = None
        self.headers: list[Field] = []
        self.own: list[Field] = []
        self.origin = None
        self.underscored = False
        self.head_bytes, self.beginning, self.head_tail = 0, b"", b""
        self.partial: PartialHead | None = None
        self.careful = False
        # Whether the piece that is fed had the end of a head in it.
        self.head_done = False

        # Of BODY: its request, and the size that was told, has come, and may come where none was told.
        self.incoming = None
        self.body_declared = None
        self.body_bytes = self.body_allowed = self.overhead = 0

        self.repeated = None
        self.repeated_fields = NO_FIELDS
        self.repeated_origin = self.pattern = self.again = self.fields_before = None
        self.varied = NOTHING
        self.repeats = REPEATS + 1  # Nothing of the first: many connections are opened for a single request.

    def trust_peer(self) -> None:
        """The peer is a proxy whose word is taken for where the requests come from."""
        self.noted = self.shared.noted
        self.forwarded = []

    # What is being read ------------------------------------------------------------------------------
    #
    # The other three transitions are what the parser tells: on_message_begin, on_headers_complete and
    # on_message_complete.

    def hold(self, data: bytes) -> None:
        """Keep `data`, and what comes from now on."""
        if self.state is HELD:
            self.held = (self.held or b"") + data
        else:
            self.interrupted, self.state = self.state, HELD
            self.held = data

    def take_held(self) -> bytes:
        """Go on reading; gives what was kept meanwhile, which is to be fed now."""
        held, self.held = self.held or b"", None
        self.state = self.interrupted
        return held

    def stop(self) -> None:
        """Read nothing more."""
        self.state = STOPPED
        self.held = self.incoming = None

    def end(self) -> None:
        """The connection is over: let go of what knows it, which only the garbage collector would end."""
        # As `stop`, without the call.
        self.state = STOPPED
        self.held = self.incoming = self.parser = self.spare = None
        del self.conn

    # Feeding -----------------------------------------------------------------------------------------

    def read(self, data: bytes) -> bytes:
        """Parse a read that most likely is one small request, in START; gives what is to be fed once more."""
        if (b"\r\n\r\n" in data[:-1] and b"chunked" in data.lower()) or RTSP in data:
            # The head of a chunked message is to be cut off, and a request line that may be RTSP's.
            return data
        self.head_done = False
        rest = b""
        try:
            self.parser.feed_data(data)
        except Exception as exc:  # noqa: BLE001 - parsers have errors of their own; all of them end here
            rest = self._parser_stopped(exc, data)
            if type(self.parser) is OtherMethod:
                return rest
        if not self.head_done:
            rest = self._head_incomplete(data)
        elif self.state is HEAD:
            rest = self._begun_behind(data)
        elif self.body_declared is None:
            self._expect_chunks()
        elif self.repeats:
            self.remember(data)
        return rest

    def feed(self, data: bytes | memoryview) -> None:
        """Parse any other read, in pieces; stop when requests wait, and hold what is left."""
        parser = self.parser
        if type(data) is not bytes:
            if parser is SPENT and self.state is BODY and len(data) <= (self.body_declared or 0) - self.body_bytes:
                cut_body(self, data, 0)
                return
            data = bytes(data)
        if type(parser) is ChunkReader and self.state is BODY:
            content = parser.plain_chunk(data)
            if content is not None:
                self.on_body(content)
                # It pays for what comes with it.
                if self.overhead:
                    self._check_chunk_overhead(len(data))
                self.body_bytes = 0
                return
        conn = self.conn
        view = memoryview(data)
        at, end = 0, len(data)
        while at < end:
            state = self.state
            if state is STOPPED:
                return
            if state is HELD or (state is not BODY and conn.waiting):
                self.hold(bytes(view[at:]))
                conn.pause_reading()
                return
            size = state is BODY and cut_body(self, data, at)
            if not size:
                size = self._slice_size(data, at)
                # The reader of chunks makes bytes of what it is given.
                size = self._feed(data if size >= end and not at else view[at : at + size])
            at += size

    def _slice_size(self, data: bytes, at: int) -> int:
        """How much may be fed at once: all of a body whose length is known, little where heads may follow.

        A head that may be that of a chunked message is fed alone: what is behind it is not for the parser. Where a
        line may be RTSP's it is line after line.
        """
        if self.state is BODY:
            if self.body_declared is None:
                return BODY_SLICE
            return max(self.body_declared - self.body_bytes, 1)
        most = HEAD_SLICE if len(data) - at <= LARGE_READ else LARGE_READ_SLICE
        piece = data[at : at + most]
        if RTSP in (piece if self.partial is None else self.partial.line_tail + piece):
            return piece.find(b"\n") + 1 or most
        if self.state is HEAD or b"chunked" in piece.lower():
            found = (self.head_tail + piece).find(b"\r\n\r\n")
            if found >= 0:
                return found + 4 - len(self.head_tail)
        return most

    def _feed(self, piece: bytes | memoryview) -> int:
        """Give the parser a piece of a read; gives how much of it was used."""
        in_body = self.incoming
        self.head_done = False
        # A head that spans reads, or is larger than fast_size, is checked field by field.
        self.careful = True
        used = len(piece)
        try:
            left = self.parser.feed_data(piece)
            if left is not None:
                used -= left
                self._end_chunks(in_body)
        except Exception as exc:  # noqa: BLE001 - as above
            rest = self._parser_stopped(exc, piece)
            used -= len(rest)
            if rest and type(self.parser) is OtherMethod:
                self.careful = False
                return used
        self.careful = False
        if self.head_done:
            self.head_tail = b""
            if self.state is HEAD:
                used -= len(self._begun_behind(bytes(piece)))
            elif self.body_declared is None:
                self._expect_chunks()
        if in_body is not None and in_body is self.incoming:
            if self.body_declared is None:
                self._check_chunk_overhead(used)
        elif in_body is None and not self.head_done:
            used -= len(self._head_incomplete(piece))
        return used

    def _expect_chunks(self) -> None:
        """The piece that was fed ends with the head of a chunked message."""
        if self.state is BODY:
            self.parser = ChunkReader(self)

    def _end_chunks(self, cycle: RequestCycle | None) -> None:
        """The body has ended; behind the last request of a connection nothing is looked at (RFC 9112, 9.6)."""
        if self.state is not STOPPED:
            persistent = cycle is None or cycle.persistent
            self.parser = self.shared.make_parser(self) if persistent else SPENT

    def _head_incomplete(self, piece: bytes | memoryview) -> bytes:
        """`piece` had no end of a head in it, which must not grow without bound; gives what is to be fed again."""
        if self.state is STOPPED:
            return b""
        runtime, conn = self.runtime, self.conn
        if self.url is None and self.head_bytes == 0 and not bytes(piece).strip(b"\r\n"):
            conn.dropped += len(piece)
            if conn.dropped > EMPTY_LINES_LIMIT:
                conn.refuse(RequestRefused(400, "too many empty lines before the request"))
            return b""
        if self.head_bytes == 0 and conn.cycle is None and runtime.request_head_ticks:
            conn.deadline = runtime.tick + runtime.request_head_ticks
        if self.head_bytes < LONGEST_WORD:
            before = self.beginning
            self.beginning += bytes(piece[:LONGEST_WORD])
            if is_other_method(self.parser, self.beginning):
                self.beginning = before
                return self._read_method(bytes(piece))
        self.head_bytes += len(piece)
        self.head_tail = (self.head_tail + piece[-3:])[-3:]
        if not hasattr(self.parser, "checks_partial_heads"):
            self.partial = self.partial or PartialHead()
            try:
                if self.partial.is_rtsp(bytes(piece)) and self.url is not None:
                    raise foreign_protocol(runtime.config, self.parser.get_method())
                self.partial.check(runtime.config, self.head_bytes, self.url, self.headers)
            except RequestRefused as exc:
                conn.refuse(exc)
        return b""

    def _read_method(self, data: bytes) -> bytes:
        """The message that began in `data`, if not before, is read anew, its method without the parser.

        Gives what of `data` is to be fed.
        """
        self.url, self.headers, self.underscored = None, [], False
        self.own.clear()
        if self.forwarded:
            self.forwarded.clear()
        self.parser = OtherMethod(self, self.beginning.lstrip(b"\r\n"))
        return data if self.beginning else data.lstrip(b"\r\n")

    def _begun_behind(self, data: bytes) -> bytes:
        """One more has begun behind the last head in `data`, within its method it may be; as `_head_incomplete`."""
        begun = message_behind(data)
        if is_other_method(self.parser, begun[:LONGEST_WORD]):
            return self._read_method(begun)
        self.beginning = begun[:LONGEST_WORD]
        if begun and not hasattr(self.parser, "checks_partial_heads"):
            self.partial = PartialHead()
            self.partial.is_rtsp(begun)
        return b""

    def _check_chunk_overhead(self, size: int) -> None:
        """Bound what a chunked body may take on the wire beyond its content: extensions, zeros, trailers."""
        # What has come of the body pays for what came with it; it leaves no credit for later.
        overhead = self.overhead + size - self.body_bytes * CHUNK_OVERHEAD_RATIO
        self.overhead = max(0, overhead)
        self.body_bytes = 0
        if overhead > CHUNK_OVERHEAD_LIMIT:
            self.conn.refuse(RequestRefused(400, "chunk extensions or trailers are too long"))

    def _parser_stopped(self, exc: Exception, data: bytes | memoryview) -> bytes:
        """The parser won't go on: the request is refused, or it asks for another protocol.

        Gives the end of `data` that is to be fed to the parser that takes its place.
        """
        # h11's errors are held by their own tracebacks, in which this connection is too.
        exc.__traceback__ = None
        if self.state is STOPPED:
            # The callbacks found the reason first.
            return b""
        conn = self.conn
        if type(exc).__name__ == "HttpParserUpgrade":
            rest = bytes(data[exc.args[0] :])
            if self._upgrade(rest):
                return b""
            self._decline_upgrade()
            return rest
        last = conn.waiting[-1] if conn.waiting else conn.cycle
        if isinstance(exc, RequestRefused):
            conn.refuse(exc)
        elif self.state is not BODY and last is not None and last.complete and not last.persistent:
            # Bytes after the last request of a connection are not looked at (RFC 9112, 9.6).
            self.stop()
        else:
            other = type(exc.__context__) is OtherMethodError
            if exc.__context__ is not None and not other:
                self.runtime.log.error("Error in a callback of the HTTP parser", exc_info=exc.__context__)
            # Where it is the method, what came before is whole and good.
            kind, begun = type(exc).__name__, message_behind(bytes(data)) if self.head_done else bytes(data)
            start = self.beginning + begun[:HEAD_SLICE]
            behind_method = self.state is HEAD and (self.url is not None or kind == "HttpParserInvalidURLError")
            if (
                other
                or kind == "HttpParserInvalidMethodError"
                or (
                    # llhttp knows methods of other protocols, too, and what is wrong comes behind them.
                    behind_method and self.parser.get_method() not in METHODS and is_other_method(self.parser, start)
                )
            ):
                return self._read_method(begun)
            conn.refuse(explain(exc, start), start)
        return b""

    def _upgrade(self, rest: bytes) -> bool:
        """Let the server answer a request for another protocol; False: what follows is HTTP/1.1.

        What comes behind the request is held. It is the other protocol's if the request is granted, and
        HTTP's if not.
        """
        conn = self.conn
        cycle = conn.waiting[-1] if conn.waiting else conn.cycle
        upgraded = self.shared.upgrade(cycle) if cycle is not None else None
        if upgraded is None:
            return False
        if conn.waiting:
            conn.waiting[-1] = upgraded
        else:
            conn.cycle = upgraded
        if self.body_declared != 0:
            # Its body comes before, and is HTTP/1.1's.
            return False
        self.parser = self.shared.make_parser(self)
        self.hold(rest)
        return True

    def _decline_upgrade(self) -> None:
        """The protocol that is asked for is not spoken here: the request is served as the HTTP/1.1 that it is.

        llhttp stops at the end of such a head. A body that follows is left to a new parser.
        """
        cycle = self.conn.waiting[-1] if self.conn.waiting else self.conn.cycle
        if cycle is None or self.body_declared == 0:
            self.parser = self.shared.make_parser(self)
            return
        if self.body_declared is not None:
            # A chunked one has a reader of its own.
            self.parser = parser_behind_head(self.shared.make_parser, self, self.body_declared)
        cycle.complete = False
        self.incoming = cycle
        self.state = BODY

    # Parser callbacks --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.state is START:
            self.state = HEAD

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
        if self.state is STOPPED:
            return
        runtime, conn, parser, own, shared = self.runtime, self.conn, self.parser, self.own, self.shared
        raw_method = parser.get_method()
        if raw_method not in METHODS:
            check_method(parser)
        headers, self.headers = self.headers, []
        url, self.url = self.url or b"", None
        self.head_done, self.head_bytes, self.body_declared, self.beginning, self.partial = True, 0, 0, b"", None
        scope = conn.scope_base.copy()
        cycle = new(RequestCycle)
        cycle.set_up(conn, runtime, scope, parser.should_keep_alive())
        try:
            version = parser.get_http_version()
            if version == "1.0":
                cycle.http10 = True
                scope["http_version"], scope["extensions"] = "1.0", without_newer(scope["extensions"])
                asked = asks_to_persist(headers)
                cycle.persistent, cycle.keep_alive = cycle.persistent and asked, cycle.keep_alive and asked
            elif version != "1.1" and runtime.config.permit_unconventional_http_version:
                # What the client makes of the connection is anyone's guess: it ends with this request.
                version = effective_version(version)
                cycle.persistent = cycle.keep_alive = False
            method = METHODS.get(raw_method) or other_name(runtime.config, raw_method)
            if self.careful:
                check_head(runtime.config, raw_method, url, headers)
            if len(headers) > shared.limit_fields:
                raise too_many_fields(runtime.config)
            alone = len(own) == 1 and (own[0] in shared.hosts or shared.remember_host(own[0]))
            if not alone or version != "1.1" or method == "CONNECT":
                framing = read_framing(version, method, own)
                self.body_bytes = self.overhead = 0
                self.body_declared = length = framing.length
                cycle.expect_continue = framing.expects_continue
                if length is None:
                    self.body_allowed = runtime.body_limit(url)
                elif length > runtime.limit_body and length > (limit := runtime.body_limit(url)):
                    raise body_too_long(limit)
            own.clear()
            if url[0] != SLASH:
                url, authority = to_origin_form(url, method)
                if authority is not None:
                    # RFC 9112, 3.2.2: the target's authority takes the place of the Host field.
                    headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
            url = checked_target(url)
            if self.underscored:
                self.underscored = False
                headers = shared.proxies.screen(headers, conn.trusted)
            if self.forwarded is not None:
                self.origin = self.read_forwarded(self.forwarded) if self.forwarded else None
        except RequestRefused as exc:
            conn.refuse(exc, unread=fill_refused(cycle, raw_method, url, headers))
            return
        self.incoming = cycle
        self.state = BODY
        self.accept(cycle, method, url, headers, self.origin)

    def on_body(self, body: bytes) -> None:
        cycle = self.incoming
        if cycle is None:
            return
        size = len(body)
        self.body_bytes += size
        if cycle.stage == DONE or cycle.gone:
            return
        conn = self.conn
        if self.body_declared is None:
            self.body_allowed -= size
            if self.body_allowed < 0:
                conn.refuse(body_too_long(self.runtime.body_limit(cycle.target)))
                return
        cycle.expect_continue = False
        (cycle.keep_chunk if cycle.chunks else cycle.chunks.append)(body)
        conn.buffered += size
        if conn.buffered > BODY_HIGH_WATER:
            conn.pause_reading()
        if cycle.waiters is not None:
            cycle.wake()

    def on_message_complete(self) -> None:
        cycle = self.incoming
        if cycle is None:
            return
        self.incoming = None
        self.state = START
        if self.headers:
            # Trailers: read, checked by the parser, and never mixed into the headers (RFC 9110, 6.5.1).
            self.headers = []
            self.own.clear()
            self.underscored = False
            if self.forwarded:
                self.forwarded.clear()
        cycle.complete = True
        if cycle.waiters is not None:
            cycle.wake()
        conn = self.conn
        if cycle.stage == DONE and cycle is conn.cycle:
            # The rest of a body that the application did not want has been read and dropped.
            conn.next_request()
