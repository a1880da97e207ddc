"""One HTTP/1.1 request in the application, and its response.

    request                                response
    ───────                                ────────
    chunks arrive ─► complete              AWAIT_START ─► HEAD_HELD ─► BODY ─► DONE
        │ receive()      │ receive()           start          body ▲ ─┘   │
        ▼                ▼                                     more_body  └ a last body message

The head is held until the first body message, so that a small response is one write. The way in which
the body is delimited (RFC 9112, 6.3) is chosen then, once for the message. What only few applications send
(extended.py) is told apart by its type, or by `special`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from uvicorn_worker.core.address import Address, Endpoints
from uvicorn_worker.core.asgi import Event
from uvicorn_worker.core.cycle import (
    AWAIT_START,
    BODILESS,
    BODY,
    DONE,
    HEAD_HELD,
    WAITING,
    as_bytes,
    flush_heads,
    wrong_length,
)
from uvicorn_worker.core.errors import ClientDisconnected
from uvicorn_worker.core.response_fields import as_fields, check_status, missing
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http1.extended import CHUNKED, COPY_LIMIT, NO_BODY, SIZED, UNTIL_CLOSE, ExtendedCycle
from uvicorn_worker.http1.response_head import CLOSES, STATUS_LINES, FieldMemo, encode_fields, status_line

__all__ = ["Connection", "RequestCycle"]

# The Content-Length lines of small bodies, which need not be formatted anew.
LENGTHS = 1024
LENGTH_LINES = [b"content-length: %d\r\n" % length for length in range(LENGTHS)]


# How many whole heads are made in advance between two changes of the Date line, and how long they may be. Where
# applications make up a field for each response, no more than these are made in vain.
MOST_HEADS = 128
LONGEST_HEAD = 1024


class Connection(Protocol):
    """What a cycle, and one that asks for another protocol, needs of its connection."""

    transport: asyncio.Transport
    # The tick at which on_deadline() is called; 0 for none.
    deadline: int
    # Whether the client does not read as fast as the application sends.
    write_paused: bool
    # Whether more of a body has most likely come than was read.
    more_waits: bool
    # The ends of the connection as its proxies tell them, and whether its peer is one that is believed.
    client: Address | None
    endpoints: Endpoints | None
    trusted: bool

    @property
    def body_declared(self) -> int | None:
        """The length of the body of the request that was read last; None: it is chunked."""

    @property
    def cycle(self) -> RequestCycle | None:
        """The cycle whose turn it is."""

    @property
    def field_memo(self) -> FieldMemo:
        """Response field lines that were checked and encoded before."""

    @property
    def has_more_requests(self) -> bool:
        """Whether requests have come that were not begun yet."""

    @property
    def peer(self) -> str:
        """The client's address for the log."""

    def gather(self, data: bytes) -> None:
        """Send `data`; what is sent in one turn of the loop leaves in one write."""

    def take_gathered(self) -> bytes:
        """What was gathered and has not left, which is now the caller's to send."""

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Send at once pieces that are too large to be joined."""

    def response_complete(self, cycle: RequestCycle, last: bytes = b"") -> None:
        """Send the last bytes of a response, which it is complete with."""

    def body_taken(self, cycle: RequestCycle, size: int) -> None:
        """The application has taken `size` bytes of a body."""

    def read_on(self, cycle: RequestCycle) -> bool:
        """Take at once what has come of a body where `more_waits`; gives whether there was something."""

    def can_discard_body(self, cycle: RequestCycle) -> bool:
        """Whether what remains of the request's body is little enough to be read and dropped."""

    def cut(self, cycle: RequestCycle) -> None:
        """End a response that can't be completed in a way that the client can see."""

    def release(self) -> bytes:
        """Leave the transport to another protocol; gives the bytes that were read for it already."""


# How a head ends where the connection ends with its response.
LAST_LINES = b"connection: close\r\n\r\n"


class RequestCycle(ExtendedCycle):
    """Holds the request; its bound `receive` and `send` are what the application is called with."""

    __slots__ = ("conn", "keep_alive", "made_head", "persistent")

    conn: Connection
    # The whole head, where it was made for an equal response (`_know_head`).
    made_head: bytes | None

    def __init__(self, conn: Connection, runtime: Runtime, scope: dict[str, Any], persistent: bool) -> None:
        self.set_up(conn, runtime, scope, persistent)

    def set_up(self, conn: Connection, runtime: Runtime, scope: dict[str, Any], persistent: bool) -> None:
        """What the constructor does; after `object.__new__` it takes half as long as by calling the class."""
        self.conn = conn
        self.runtime = runtime
        self.scope = scope
        # Whether the client lets the connection persist; whether it does after this response.
        self.persistent = persistent
        self.keep_alive = persistent and runtime.persists
        self.http10 = False
        # Whether it is a HEAD, as it was sent: applications change what is in the scope.
        self.head_only = False
        self.special = 0
        # The request target in origin-form, as it was sent: applications change what is in the scope.
        self.target = b""
        self.progress = WAITING
        self.task = self.name = None
        # The request's body: what has come and was not taken, whether all has come, whether all was taken.
        self.chunks = []
        self.complete = False
        self.delivered = False
        self.expect_continue = False
        self.gone = False
        self.lost = False
        self.waiters = None
        self.stage = AWAIT_START
        self.started = runtime.now

    # Answering in the application's place ---------------------------------------------------------------

    def answer(self, status: int, text: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send a whole response of the server's own."""
        self.response_headers = headers = list(headers)
        self.body_sent = 0
        self._make_head(status, headers)
        self.status = status
        self.stage = HEAD_HELD
        self._send_first(text, False)

    def cut(self) -> None:
        """End a response that can't be completed, and the connection with it."""
        self.conn.cut(self)

    # The request -------------------------------------------------------------------------------------

    def ask_for_body(self) -> None:
        """Answer 100 Continue."""
        self.conn.gather(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def wait_for_body(self) -> None:
        """Wait for more of the body, for as long as timeout_request_body lets the client take."""
        conn, runtime = self.conn, self.runtime
        if conn.more_waits and conn.read_on(self):
            return
        ticks = runtime.request_body_ticks if runtime.paths is None else runtime.paths.body_ticks(self.target)
        others, woken = getattr(self, "asking", 0), False
        if ticks and not (others and conn.deadline):
            conn.deadline = runtime.tick + ticks
        self.asking = others + 1
        try:
            await self.wait()
            woken = True
        finally:
            self.asking -= 1
            # Once the response is complete the deadline is another one. Where one of several is cancelled, the time of
            # the others goes on.
            if (woken or not self.asking) and conn.cycle is self and self.stage != DONE:
                conn.deadline = 0

    # The response ------------------------------------------------------------------------------------

    async def send(self, message: Event) -> None:  # noqa: C901, PLR0912, PLR0915 - a call more costs more than a branch
        """Take one message of the response; waits while the client does not read.

        Raises `ClientDisconnected` when the client has left, `ApplicationError` for a message that is out
        of order or can't be put on the wire.
        """
        if self.lost:
            if self.stage != BODY or self.framing != SIZED or not self.runtime.drops_rest:
                raise ClientDisconnected("the client left before the response was complete")
            self.remaining = self.drop_rest(message, self.remaining)
            await asyncio.sleep(0)
            return
        try:
            kind, stage = message["type"], self.stage
        except (KeyError, TypeError):
            raise missing(message, "type") from None
        if kind == "http.response.body" and HEAD_HELD <= stage <= BODY:
            body, more = message.get("body", b""), message.get("more_body", False)
            if type(body) is not bytes:
                body = as_bytes(body)
            if self.special:
                more = self.send_special(body, more)
            elif stage == HEAD_HELD:
                head = self.made_head
                if (
                    head is None
                    or more
                    or len(body) != self.length
                    or not self.complete
                    or self.runtime.draining
                    or self.http10
                    or self.head_only
                ):
                    self._send_first(body, more)
                else:
                    if not self.keep_alive:
                        head = head[:-2] + LAST_LINES
                    # As `_send_first` would, with the head as it was made for an equal response.
                    self.body_sent = len(body)
                    self.stage = DONE
                    self.conn.response_complete(self, head + body)
            else:
                self._send_more(body, more)
            if more and self.conn.write_paused:
                await self._wait_for_client()
        elif kind == "http.response.start" and stage == AWAIT_START:
            runtime, headers = self.runtime, message.get("headers", ())
            try:
                status = message["status"]
            except KeyError:
                raise missing(message, "status") from None
            if type(status) is not int:
                status = check_status(status)
            if type(headers) is not list and headers != ():
                headers = as_fields(headers)
            if runtime.access is not None:
                headers = self.response_headers = list(headers)
                self.body_sent = 0
            known = None
            if type(headers) is list:
                try:
                    known = runtime.defaults.heads.get((status, *headers))
                except TypeError:
                    # A field that is a list, which ASGI allows, has no hash.
                    pass
            if known is not None:
                self.made_head, self.length, self.lines = known
            else:
                self._make_head(status, headers)
            self.status = status
            self.stage = HEAD_HELD
            if self.task is not None:
                # As `watch_head`, without the call.
                held = runtime.held
                if not held:
                    runtime.loop.call_soon(flush_heads, runtime)
                held.append(self)
            if len(message) > 3 and message.get("trailers", False):
                self.announce_trailers()
        else:
            await self.send_other(message)

    def _make_head(self, status: int, headers: Any) -> None:
        """Encode and check a head, of which the first line and the fields are not known."""
        defaults = self.runtime.defaults
        self.made_head = None
        lines = [STATUS_LINES.get(status) or status_line(status), defaults.lines]
        self.length, flags, present = encode_fields(headers, lines, self.conn.field_memo, defaults.names)
        if present is not None:
            lines[1] = defaults.without(present)
        if flags & CLOSES:
            self.keep_alive = False
        elif type(headers) is list and len(defaults.heads) < MOST_HEADS:
            self._know_head((status, *headers), status, lines)
        self.lines = lines

    def _know_head(self, key: tuple[Any, ...], status: int, lines: list[bytes]) -> None:
        """Keep the head of a small response whose length was told, for those that have the same one."""
        length = self.length
        if length is None or length > COPY_LIMIT or status in BODILESS or status < 200:
            return
        head = b"".join([*lines, b"content-length: %d\r\n\r\n" % length])
        if len(head) <= LONGEST_HEAD:
            try:
                self.runtime.defaults.heads[key] = head, length, lines.copy()
            except TypeError:
                # A field that is a list has no hash.
                return

    def flush_head(self) -> None:
        """Send the head alone, unless the connection would have to end with the body for it."""
        if self.length is not None or not self.http10 or not self.keep_alive:
            self._send_first(b"", True)

    def _send_first(self, body: bytes, more: bool) -> None:
        """Choose how the body is delimited, and send the head together with what there is of the body."""
        lines, length, size, status = self.lines, self.length, len(body), self.status
        if self.made_head is not None:
            # They are those of others, too.
            lines = lines.copy()
        if status in BODILESS or status < 200 or self.head_only:
            self._end_bodiless_head(lines, size, more)
            body, size = b"", 0
        elif length is not None or not more:
            if length is None:
                length = size
            elif size > length or (size < length and not more):
                raise wrong_length(length, size)
            self.framing = SIZED
            self.remaining = length - size
            lines.append(LENGTH_LINES[length] if length < LENGTHS else b"content-length: %d\r\n" % length)
        elif self.http10:
            self.framing = UNTIL_CLOSE
            self.keep_alive = False
        else:
            self.framing = CHUNKED
            lines.append(b"transfer-encoding: chunked\r\n")
            if size:
                body = b"%x\r\n%b\r\n" % (size, body)

        if self.keep_alive and (self.runtime.draining or not self.complete):
            self.keep_alive = self._may_persist()
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif self.http10:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")

        self.body_sent = size
        self.lines = []
        conn = self.conn
        if more:
            self.stage = BODY
            lines.append(body)
            conn.gather(b"".join(lines))
            return
        self.stage = DONE
        if size > COPY_LIMIT:
            conn.write_pieces([b"".join(lines), body])
            conn.response_complete(self)
        else:
            lines.append(body)
            conn.response_complete(self, b"".join(lines))

    def _end_bodiless_head(self, lines: list[bytes], size: int, more: bool) -> None:
        """The length that is told for a body that is not sent (RFC 9110, 8.6: not for 1xx and 204)."""
        self.framing = NO_BODY
        status, length = self.status, self.length
        if status >= 200 and status != 204:
            if length is None and not more and size and status != 304:
                length = size
            if length is not None:
                lines.append(b"content-length: %d\r\n" % length)
        elif status < 200:
            # The client goes on waiting for the final response, which won't come.
            self.keep_alive = False

    def _may_persist(self) -> bool:
        """Whether the connection persists where the server drains, or the request has not come whole yet."""
        if not self.complete and not self.conn.can_discard_body(self):
            return False
        # At a drain the last answer of the connection says `close`; pipelined requests before it are answered.
        return not self.runtime.draining or self.conn.has_more_requests

    def _send_more(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body."""
        conn, framing, size = self.conn, self.framing, len(body)
        if framing == CHUNKED:
            if size > COPY_LIMIT:
                conn.gather(b"%x\r\n" % size)
                conn.gather(body)
                conn.gather(b"\r\n")
            elif size:
                conn.gather(b"%x\r\n%b\r\n" % (size, body))
            if not more:
                conn.gather(b"0\r\n\r\n")
        elif framing == SIZED:
            remaining = self.remaining - size
            if remaining < 0 or (remaining and not more):
                total = self.body_sent + self.remaining
                raise wrong_length(total, self.body_sent + size)
            self.remaining = remaining
            if size:
                conn.gather(body)
        elif framing == UNTIL_CLOSE:
            if size:
                conn.gather(body)
        else:
            size = 0
        self.body_sent += size
        if not more:
            self.stage = DONE
            conn.response_complete(self)

    # Waiting -----------------------------------------------------------------------------------------

    async def _wait_for_client(self) -> None:
        while self.conn.write_paused:
            await self.wait()
            if self.lost:
                if self.framing == SIZED and self.runtime.drops_rest:
                    return
                raise ClientDisconnected("the client left while the response was being sent")
