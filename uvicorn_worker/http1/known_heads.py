"""Heads that need no parser, since a parser has read their parts before.

Clients say the same again and again. Where a small head comes whole in one read there are four ways past the parser,
which all give what it would give, or leave the request to it:

    first       the read is the first of its connection, and ends with exactly the bytes of the fields that a first
                request of another connection had: most clients that make a connection for each request say the same
    repeated    the read ends with exactly the bytes of the fields of an earlier request on this connection; or it is
                several requests, and each of them does
    pattern     the same, but for the values of a few plain fields that are others each time and the length of a body
    plain       each line is one that was read before, or is a field of a known name that can mean nothing to a parser

A body of known length may come with its head, in part or whole, or later: it is cut off by known_length.py.

Names are known when a parser has read them. A line is left to the parser wherever the two could differ: a byte that is
no visible ASCII, white space anywhere but behind the colon and within the value, a field that says something about the
message or the connection. `test_first_heads.py`, `test_repeated_heads.py`, `test_patterns.py` and `test_plain_heads.py`
of `tests/http1` hold these ways against a connection that goes without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.cycle import request_name
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.grammar import PLAIN_VALUE
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.core.scope import Field, Origin, RequestLine, is_plain_target, without_newer
from uvicorn_worker.core.target import METHODS
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http1.framing import OWN_FIELDS, asks_to_persist
from uvicorn_worker.http1.limits import BODY_HIGH_WATER
from uvicorn_worker.http1.parsers import SPENT, UnmadeParser
from uvicorn_worker.http1.shared import MOST_LINES, Shared
from uvicorn_worker.http1.states import BODY, Reading

if TYPE_CHECKING:
    from uvicorn_worker.http1.row import Row

__all__ = ["KnownHeads", "new"]

new = object.__new__

# The methods of plain requests; any other is the parser's.
_PLAIN_METHODS = {
    method: METHODS[method] for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
}
_CLOSE = (b"connection", b"close")
# Fields that parsers act on, besides OWN_FIELDS.
_ACTED_ON = OWN_FIELDS | {b"connection", b"proxy-connection", b"upgrade"}
_ZERO = ord("0")
# How long the lines may be that are remembered.
LONGEST_LINE = 128
# Secrets are not, and mostly are others each time.
_SECRETS = frozenset([b"authorization", b"cookie", b"proxy-authorization"])
# How long the length of a body may be, in digits.
LONGEST_LENGTH = 18
# Shorter ones are remembered by their digits.
KNOWN_LENGTHS = 2048
NO_FIELDS: list[Field] = []
NOTHING: set[int] = set()
# How many heads of first requests are remembered, and how long they may be.
MOST_FIRST = 64
LONGEST_FIRST = 1024
# How often the fields of a request are remembered on a connection where they turn out to be others each time.
REPEATS = 3
# How many values may be others each time for the rest to be known again.
MOST_VARIED = 8

Pattern = tuple[list[tuple[bytes, int, bytes]], bytes, list[Field], int, "Origin | None"]
"""Of fields that were read before, for each value that may be another one: the bytes before it (from the end of the
line before), where among the fields it is, and its name; then the bytes behind the last of them, the fields, where
among them the length of a body is (-1: there is none), and where the request comes from."""


class KnownHeads:
    """The part of a `MessageReader` that takes requests without asking the parser."""

    __slots__ = (
        "again",
        "again_size",
        "body_bytes",
        "body_declared",
        "conn",
        "fields_before",
        "forwarded",
        "incoming",
        "noted",
        "origin",
        "parser",
        "pattern",
        "repeated",
        "repeated_fields",
        "repeated_origin",
        "repeated_size",
        "repeats",
        "runtime",
        "shared",
        "spare",
        "state",
        "varied",
    )

    conn: Row
    runtime: Runtime
    shared: Shared
    state: Reading
    # Of BODY: its request.
    incoming: RequestCycle | None
    # While a body is cut by hand, `spare` is the parser of what comes behind it; None: there is none yet.
    parser: Any
    spare: Any
    # The fields to be noted: our own, and those of proxies where the peer is one that is believed.
    noted: frozenset[bytes]
    forwarded: list[Field] | None
    # Where the request that was read last comes from, as its proxies tell.
    origin: Origin | None
    # The size of its body, as it was told (None: chunked) and as it has come.
    body_declared: int | None
    body_bytes: int
    # The bytes of the fields of an earlier request, with the line end before them; what they mean; and how often to
    # remember others.
    repeated: bytes | None
    repeated_fields: list[Field]
    repeated_origin: Origin | None
    repeated_size: int
    repeats: int
    # What is known again though some values are others; the lines it was made of, and where those values are.
    pattern: Pattern | None
    # Where only the length of a body may be another one, and in the last two requests was not: the fields, with the
    # line end before them, and how long they and the body are together. None: it was another one.
    again: bytes | None
    again_size: int
    fields_before: list[bytes] | None
    varied: set[int]

    def accept(self, cycle: RequestCycle, method: str, url: bytes, headers: list[Field], origin: Origin | None) -> None:
        """Fill the scope of a request whose head is good, and put it in the row."""
        scopes = self.runtime.scopes
        path, raw_path, query = scopes.targets.get(url) or scopes.split(url)
        self.fill(cycle, (method, url, path, raw_path, query, None, method == "HEAD"), headers, origin)

    def fill(self, cycle: RequestCycle, line: RequestLine, headers: list[Field], origin: Origin | None) -> None:
        """The same, where it is known what the request line means."""
        runtime, conn, scope = self.runtime, self.conn, cycle.scope
        (
            scope["method"],
            cycle.target,
            scope["path"],
            scope["raw_path"],
            scope["query_string"],
            cycle.name,
            cycle.head_only,
        ) = line
        scope["headers"] = headers
        scope["client"] = conn.client
        # Its own, as these are: applications change them.
        scope["state"] = runtime.state.copy()
        scope["extensions"] = scope["extensions"].copy()
        scope["asgi"] = scope["asgi"].copy()
        if origin is not None:
            scope.update(origin.changes)
            if origin.rewrite is not None:
                runtime.scopes.rewrite(scope, origin)
                cycle.name = None
        if conn.cycle is None:
            conn.cycle = cycle
        elif conn.waiting is None:
            conn.waiting = [cycle]
        else:
            conn.waiting.append(cycle)

    def read_forwarded(self, forwarded: list[Field]) -> Origin:
        """Where the request comes from, by the fields that were noted; raises `RequestRefused`."""
        fields = tuple(forwarded)
        forwarded.clear()
        proxies = self.shared.proxies
        return proxies.origins.get(fields) or proxies.read(fields)

    # First -------------------------------------------------------------------------------------------

    def _take_first(self, data: bytes) -> bool:
        """Take the first request of a connection, where another connection began with its fields; False: look at them.

        What is remembered is for all of those whose peers are believed, or for all others.
        """
        shared, runtime = self.shared, self.runtime
        end = data.find(b"\r\n")
        known = (shared.first if self.forwarded is None else shared.first_proxied).get(data[end:])
        if known is None:
            return False
        line = runtime.scopes.request_lines.get(data[:end])
        if line is None:
            if data[end - 9 : end] != b" HTTP/1.1":
                return False
            line = self.read_request_line(data[:end])
            if line is None:
                return False
        fields, headers, origin, persistent = known
        conn = self.conn
        cycle = new(RequestCycle)
        cycle.set_up(conn, runtime, conn.scope_base.copy(), persistent)
        cycle.complete = True
        self.body_declared = self.body_bytes = 0
        self.origin = origin
        if persistent:
            # Of the next one it is known, too, which takes no memory of its own.
            self.repeats -= 1
            self.repeated, self.repeated_size = fields, len(fields)
            self.repeated_fields, self.repeated_origin = headers, origin
        else:
            self.parser = SPENT
        self.fill(cycle, line, headers.copy(), origin)
        return True

    def _remember_first(self, fields: bytes, headers: list[Field], persistent: bool) -> None:
        """Keep what the fields of a first request mean, which has no body; there are no secrets among them."""
        if len(fields) <= LONGEST_FIRST:
            shared = self.shared
            heads = shared.first if self.forwarded is None else shared.first_proxied
            shared.remember_line(heads, fields, (fields, headers.copy(), self.origin, persistent), MOST_FIRST)

    # Repeated ----------------------------------------------------------------------------------------
    #
    # A client that keeps a connection mostly sends the same fields with each request. When a read ends with
    # exactly the bytes that were taken as fields before, on this connection, and what is before them
    # is a plain request line, the parser would say the same again: the fields are taken from the last time.

    def take_repeated(self, data: bytes, end: int) -> bool:
        """Take a request whose fields, behind a line end at `end`, are those of an earlier one; False: the parser's."""
        line = self.runtime.scopes.request_lines.get(data[:end])
        if line is None:
            if data[end - 9 : end] != b" HTTP/1.1":
                return False
            line = self.read_request_line(data[:end])
            if line is None:
                return self._take_several(data)
        conn = self.conn
        cycle = new(RequestCycle)
        cycle.set_up(conn, self.runtime, conn.scope_base.copy(), True)
        cycle.complete = True
        self.fill(cycle, line, self.repeated_fields.copy(), self.repeated_origin)
        return True

    def _take_several(self, data: bytes) -> bool:
        """Take pipelined requests which all have the fields of an earlier one; False: they are for the parser."""
        first_lines = data.split(self.repeated)
        if first_lines.pop():
            return False
        request_lines = self.runtime.scopes.request_lines
        lines: list[RequestLine] = []
        for first in first_lines:
            line = request_lines.get(first)
            if line is None and first[-9:] == b" HTTP/1.1":
                line = self.read_request_line(first)
            if line is None:
                return False
            lines.append(line)
        conn = self.conn
        for line in lines:
            cycle = new(RequestCycle)
            cycle.set_up(conn, self.runtime, conn.scope_base.copy(), True)
            cycle.complete = True
            self.fill(cycle, line, self.repeated_fields.copy(), self.repeated_origin)
        return True

    def take_pattern(self, start: bytes, data: bytes | memoryview) -> bool:  # noqa: C901 - a call is dearer
        """The same, where only a few plain values are not those of an earlier one, or the length of the body."""
        parts, behind, fields, sized, origin = self.pattern  # type: ignore[misc]  # asked for where there is one
        headers = fields.copy()
        again = self.again
        if again is not None and (end := len(data) - self.again_size) > 0 and start.startswith(again, end):
            # Not even the length of the body is another one, and all of it is there.
            at = end + len(again)
            size = length = self.again_size - len(again)
        else:
            self.again = None
            at = end = start.find(b"\r\n")
            length, lengths = 0, self.shared.lengths
            for before, place, name in parts:
                if not start.startswith(before, at):
                    return False
                at += len(before)
                behind_value = start.find(b"\r", at)
                value = start[at:behind_value]
                if place == sized:
                    length = lengths.get(value, 0)
                    if not length:
                        if not value.isdigit() or value[0] == _ZERO or len(value) > LONGEST_LENGTH:
                            return False
                        length = int(value)
                        if length < KNOWN_LENGTHS:
                            lengths[value] = length
                elif value.translate(PLAIN_VALUE).strip() != value:
                    return False
                headers[place] = (name, value)
                at = behind_value
            if not start.startswith(behind, at):
                return False
            at += len(behind)
            size = len(data) - at
            if size > length or length > self.runtime.limit_body:
                return False
        line = self.runtime.scopes.request_lines.get(start[:end])
        if line is None:
            if start[end - 9 : end] != b" HTTP/1.1":
                return False
            line = self.read_request_line(start[:end])
            if line is None:
                return False
        conn = self.conn
        cycle = new(RequestCycle)
        cycle.set_up(conn, self.runtime, conn.scope_base.copy(), True)
        if not length:
            cycle.complete = True
            self.body_declared = self.body_bytes = 0
        elif size == length and type(data) is bytes:
            # As `_begin_body`, without the call.
            if length == self.body_declared and len(parts) == 1 and self.again is None:
                fields[sized] = headers[sized]
                self.again, self.again_size = start[end:at], len(data) - end
            cycle.complete = True
            self.body_declared = self.body_bytes = length
            cycle.chunks.append(data[at:])
            conn.buffered += length
            if conn.buffered > BODY_HIGH_WATER:
                conn.pause_reading()
        else:
            self._begin_body(cycle, data, at, length)
        self.fill(cycle, line, headers, origin)
        return True

    def read_request_line(self, line: bytes) -> RequestLine | None:
        """What a plain request line of HTTP/1.1 or 1.0 means; None: it is for the parser."""
        method, _, rest = line.partition(b" ")
        url, version = rest[:-9], rest[-9:]
        persistent = version == b" HTTP/1.1"
        if method not in _PLAIN_METHODS or not (persistent or version == b" HTTP/1.0"):
            return None
        scopes = self.runtime.scopes
        parts = scopes.targets.get(url)
        if parts is None:
            if not is_plain_target(url):
                return None
            parts = scopes.split(url)
        name, path = _PLAIN_METHODS[method], parts[0]
        if url not in scopes.targets or not persistent:
            return name, url, *parts, None, name == "HEAD"
        known = name, url, *parts, request_name(name, path), name == "HEAD"
        scopes.request_lines[line] = known
        return known

    def remember(self, data: bytes) -> None:
        """Keep the fields of a request without a body that came alone in one read, or with others that have them."""
        self.repeats -= 1
        if self.repeats >= REPEATS:
            return
        conn, cycle, self.repeated = self.conn, self.conn.cycle, None
        start, end = data.find(b"\r\n"), data.find(b"\r\n\r\n") + 4
        fields = data[start:end]
        first_lines = data.split(fields)
        if (
            cycle is not None
            # It is the first in this read, in which there are no others than those that wait.
            and len(first_lines) == 2 + len(conn.waiting or ())
            and not any(b"\r" in line for line in first_lines)
            and cycle.complete
            and cycle.persistent
            and self.body_declared == 0
            # Of another form of target the Host field is not what it was sent as.
            and data[:start].partition(b" ")[2].startswith(b"/")
            and data[start - 9 : start] == b" HTTP/1.1"
            # The parser is to see each wish for another protocol.
            and all(name != b"upgrade" for name, _ in cycle.scope["headers"])
        ):
            self.repeated, self.repeated_size = fields, end - start
            self.repeated_fields = cycle.scope["headers"].copy()
            self.repeated_origin = self.origin

    def _learn(self, lines: list[bytes], fields: list[Field]) -> None:
        """Keep the fields of a request, which are one for each of `lines`, and see which values are others now."""
        self.repeats -= 1
        if self.repeats >= REPEATS:
            return
        lines_before, self.fields_before = self.fields_before, lines if self.repeats else None
        sized = next((at for at, (name, _) in enumerate(fields) if name == b"content-length"), -1)
        varied = {at for at, line in enumerate(lines) if at == sized}
        if lines_before is not None and len(lines_before) == len(lines):
            varied.update(self.varied, (at for at, line in enumerate(lines) if line != lines_before[at]))
        self.varied, self.pattern, self.again = varied, None, None
        if not varied:
            self.repeated = b"\r\n".join([b"", *lines, b"", b""])
            self.repeated_size = len(self.repeated)
            self.repeated_fields, self.repeated_origin = fields.copy(), self.origin
        elif len(varied) <= MOST_VARIED:
            self.pattern = self._pattern_of(lines, fields, varied, sized)

    def _pattern_of(self, lines: list[bytes], fields: list[Field], varied: set[int], sized: int) -> Pattern | None:
        """What is known again where the values at `varied` are others; None: they may mean something to the parser."""
        plain_names = self.shared.plain_names
        parts: list[tuple[bytes, int, bytes]] = []
        before = [b""]
        for at, line in enumerate(lines):
            if at not in varied:
                before.append(line)
                continue
            raw_name, colon, _ = line.partition(b": ")
            name = fields[at][0]
            if at != sized and plain_names.get(raw_name) != name:
                return None
            parts.append((b"\r\n".join([*before, raw_name + colon]), at, name))
            before = [b""]
        return parts, b"\r\n".join([*before, b"", b""]), fields.copy(), sized, self.origin

    def forget(self) -> None:
        """An idle connection holds no more than it must."""
        self.parser = UnmadeParser(self)
        if self.repeated is not None or self.pattern is not None:
            # Of two requests it is seen which values are others.
            self.repeats = min(self.repeats + 2, REPEATS)
        self.repeated, self.repeated_fields = None, NO_FIELDS
        self.pattern = self.again = self.fields_before = None
        self.varied = NOTHING

    # Plain -------------------------------------------------------------------------------------------

    def take_plain(  # noqa: C901, PLR0912, PLR0915 - a call is dearer
        self, start: bytes, data: bytes | memoryview
    ) -> bool:
        """Take a request whose head is nothing but known lines and plain fields; False: it is for the parser.

        `start` is all of the read `data`, or as much of it as a head may have.
        """
        # Whether it is the first one of its connection, and may be remembered as such.
        is_first = self.repeats > REPEATS and start is data
        if is_first and self._take_first(start):
            return True
        end = start.find(b"\r\n\r\n")
        if end < 0:
            return False
        runtime, shared = self.runtime, self.shared
        lines = start[:end].split(b"\r\n")
        first = lines.pop(0)
        request_line = runtime.scopes.request_lines.get(first) or self.read_request_line(first)
        if request_line is None:
            return False
        http10 = first[-1] == _ZERO
        # Whether the client lets the connection persist.
        persistent = not http10
        known_hosts, plain_names, crowded = shared.host_lines, shared.plain_names, shared.crowded
        # Most lines were read before, and are found without a step of Python for each.
        found: list[Any] = [*map(shared.lines.get, lines)]
        end += 4
        size = len(data) - end
        hosts = declared = length = 0
        for at, field in enumerate(found):
            if field is not None:
                continue
            line = lines[at]
            if line in known_hosts:
                hosts += 1
                found[at] = known_hosts[line]
                continue
            raw_name, colon, value = line.partition(b": ")
            if not colon or value.translate(PLAIN_VALUE).strip() != value:
                return self._leave_to_parser()
            name = plain_names.get(raw_name)
            if name is not None:
                found[at] = read = (name, value)
                if name in _SECRETS:
                    is_first = False
                elif len(line) <= LONGEST_LINE and crowded.get(name) != runtime.tick:
                    shared.remember_field(line, read)
            else:
                found[at] = other = self._read_line(line, raw_name, value)
                if other is None:
                    return self._leave_to_parser()
                if other[0] == b"content-length":
                    declared, length = declared + 1, int(value)
                persistent = persistent and other != _CLOSE
                is_first = is_first and other[0] not in _SECRETS
        headers: list[Field] = found
        if (
            hosts != 1
            # What comes behind the body is the parser's.
            or size > length
            or declared > 1
            or length > runtime.limit_body
            or len(headers) > shared.limit_fields
            or (http10 and asks_to_persist(headers))
        ):
            return self._leave_to_parser()
        if self.forwarded is not None:
            try:
                self.origin = self.read_forwarded(self.forwarded) if self.forwarded else None
            except RequestRefused:
                # It refuses with what is known of the request.
                return False
        conn = self.conn
        cycle = new(RequestCycle)
        cycle.set_up(conn, runtime, conn.scope_base.copy(), persistent)
        if not persistent:
            self._make_last(cycle, http10)
        if length:
            self._begin_body(cycle, data, end, length)
        else:
            cycle.complete = True
            self.body_declared = self.body_bytes = 0
            if is_first and not http10:
                self._remember_first(start[len(first) :], headers, persistent)
        self.fill(cycle, request_line, headers, self.origin)
        if self.repeats and persistent:
            self._learn(lines, headers)
        return True

    def take_upload(self, data: bytes | memoryview) -> bool:
        """As `take_plain`, of a read that is larger than a head may be: most of it is the body."""
        start = bytes(data[: self.shared.fast_size])
        return (self.pattern is not None and self.take_pattern(start, data)) or self.take_plain(start, data)

    def _begin_body(self, cycle: RequestCycle, data: bytes | memoryview, at: int, length: int) -> None:
        """What of the body of a plain request has come with it is behind `at`; the rest needs no parser either."""
        self.body_declared = length
        self.body_bytes = size = len(data) - at
        if size:
            conn = self.conn
            cycle.chunks.append(bytes(data[at:]))
            conn.buffered += size
            if conn.buffered > BODY_HIGH_WATER:
                conn.pause_reading()
        if size == length:
            cycle.complete = True
            return
        self.incoming, self.state = cycle, BODY
        if self.parser is not SPENT:
            self.spare, self.parser = self.parser, SPENT

    def _make_last(self, cycle: RequestCycle, http10: bool) -> None:
        """Nothing behind this request is looked at (RFC 9112, 9.6)."""
        self.parser = SPENT
        if http10:
            cycle.http10 = True
            scope = cycle.scope
            scope["http_version"], scope["extensions"] = "1.0", without_newer(scope["extensions"])

    def _leave_to_parser(self) -> bool:
        if self.forwarded:
            self.forwarded.clear()
        return False

    def _read_line(self, line: bytes, raw_name: bytes, value: bytes) -> Field | None:
        """A field whose name is not yet known to be a plain one; None: it is the parser's."""
        shared = self.shared
        # h11 tells them in lower case.
        name = shared.names.get(raw_name) or shared.names.get(raw_name.lower())
        if name is None:
            return None
        field = (name, value)
        if name in _ACTED_ON:
            if name == b"host" and (field in shared.hosts or shared.remember_host(field)):
                shared.remember_line(shared.host_lines, line, field)
            elif name == b"connection" and value.lower() == b"keep-alive":
                shared.remember_field(line, field)
                return field
            elif field == _CLOSE:
                return field
            # A length that is written as numbers are: there is something to be said about any other.
            plain = name == b"content-length" and value.isdigit() and (value[0] != _ZERO or value == b"0")
            return field if plain and len(value) < LONGEST_LENGTH else None
        if name not in shared.noted:
            if len(shared.plain_names) >= MOST_LINES:
                shared.plain_names.clear()
            shared.plain_names[raw_name] = name
        elif self.forwarded is not None:
            self.forwarded.append(field)
        return field
