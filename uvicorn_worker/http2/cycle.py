"""One HTTP/2 request in the application, and its response: a stream.

    request                                response
    ───────                                ────────
    chunks arrive ─► complete              AWAIT_START ─► HEAD_HELD ─► BODY ─► DONE
        │ receive()      │ receive()         │  ▲ start       body ▲ ─┘   │
        ▼                ▼                   └──┘ early_hint    more_body  ├ a last body message
                                                                           └ or the trailers behind it

What the client's windows, or its socket, have no room for waits in `pending`, and send() with it; the connection
lets the streams that wait send in turns. `DONE` is the end of what the application has to say, not of the sending.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from uvicorn_worker.core.asgi import Event
from uvicorn_worker.core.cycle import (
    AWAIT_START,
    BODILESS,
    BODY,
    DONE,
    EXPECTED,
    HEAD_HELD,
    RETURNED,
    WAITING,
    Cycle,
    as_bytes,
    wrong_length,
)
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.core.figures import Tally
from uvicorn_worker.core.files import TURN_SIZE, FilePart, file_of, opened_path, read_piece
from uvicorn_worker.core.response_fields import (
    INFORMATIONAL,
    as_fields,
    check_status,
    check_trailers,
    informational_of,
    missing,
)
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http2.engine.codes import ErrorCode
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.prepared_fields import PreparedFields
from uvicorn_worker.http2.scheduler import DEFAULT_URGENCY

__all__ = ["Connection", "StreamCycle"]

# What remains of a response that has no body, whatever the application sends.
NO_BODY = -1


# The chunks of a request without a body; nothing is ever added to them.
NO_CHUNKS: list[bytes] = []


class Connection(Protocol):
    """What a stream needs of its connection."""

    # Whether the client does not read as fast as the applications send.
    write_paused: bool
    # Whether what is queued is written when this turn of the loop ends.
    flush_due: bool

    def flush_soon(self) -> None:
        """Write when this turn of the loop ends."""

    @property
    def prepared(self) -> PreparedFields:
        """Makes response fields of the form that the engine sends."""

    def respond(self, cycle: StreamCycle, fields: list[Any], body: bytes) -> None:
        """Send a whole response."""

    def send_informational(self, cycle: StreamCycle, status: int, fields: list[Any]) -> None:
        """Send the head of a response before the final one."""

    def send_head(self, cycle: StreamCycle, fields: list[Any]) -> None:
        """Send the head of a response whose body comes in pieces."""

    def send_body(self, cycle: StreamCycle, body: bytes, last: bool) -> None:
        """Send a piece of a body; `last` ends the stream."""

    def end_with_trailers(self, cycle: StreamCycle) -> None:
        """All of the trailers are there; they are sent behind what is pending."""

    def reset_stream(self, cycle: StreamCycle, code: int) -> None:
        """End a stream that can't be completed."""

    def body_taken(self, cycle: StreamCycle, size: int) -> None:
        """The application has taken `size` bytes of a body."""

    def on_stream_deadline(self, cycle: StreamCycle) -> None:
        """The tick `deadline` of a stream has come."""


class StreamCycle(Cycle):
    """Holds the request; its bound `receive` and `send` are what the application is called with."""

    __slots__ = (
        "conn",
        "deadline",
        "discard_end",
        "discarded",
        "ending",
        "fields",
        "head",
        "length",
        "pending",
        "queued",
        "received",
        "remaining",
        "serial",
        "stream_id",
        "trailers",
        "trailing",
        "urgency",
    )

    counted_at = Tally.HTTP2

    conn: Connection
    # Prepared fields: of the head, while it is held, and of trailers.
    fields: list[Any]
    trailers: list[Any] | None
    # What remains of the body by Content-Length; None without it.
    remaining: int | None

    def set_up(
        self,
        conn: Connection,
        runtime: Runtime,
        scope: dict[str, Any],
        stream_id: int,
        head: RequestHead,
        complete: bool,
    ) -> None:
        """In the place of a constructor: after `object.__new__` it takes half as long as by calling the class."""
        self.conn = conn
        self.runtime = runtime
        self.scope = scope
        self.stream_id = stream_id
        self.head = head
        # As it was sent: applications change what is in the scope.
        self.target = head.target
        self.progress = WAITING
        # The request's body: what has come and was not taken, whether all has come, whether all was taken.
        self.complete = complete
        self.chunks = NO_CHUNKS if complete else []
        # `discarded`: less what may be; `discard_end`: the tick by which the rest must have come, 0 for none.
        self.received = self.discarded = self.discard_end = 0
        self.expect_continue = head.expects_continue and not complete
        self.stage = AWAIT_START
        # `queued`: in the row of those who wait for their turn. `ending`: what is pending is the rest of the body.
        # `trailing`: the application has announced trailers; `trailers` are they.
        self.delivered = self.gone = self.lost = self.queued = self.ending = self.trailing = False
        # The part of the body that could not be sent yet.
        self.pending: deque[memoryview] | None = None
        self.task = self.name = self.waiters = self.trailers = None
        self.remaining = None
        # The tick at which the client has taken too long; 0 for none.
        self.deadline = 0
        self.urgency, self.serial = DEFAULT_URGENCY, False
        self.started = runtime.now

    # The request -------------------------------------------------------------------------------------

    def ask_for_body(self) -> None:
        """Answer 100 Continue."""
        self.conn.send_informational(self, 100, [])

    async def wait_for_body(self) -> None:
        """Wait for more of the body, for as long as timeout_request_body lets the client take."""
        runtime = self.runtime
        ticks = runtime.request_body_ticks if runtime.paths is None else runtime.paths.body_ticks(self.target)
        others, woken = getattr(self, "asking", 0), False
        if ticks and not self.pending and not (others and self.deadline):
            self.deadline = runtime.tick + ticks
        self.asking = others + 1
        try:
            await self.wait()
            woken = True
        finally:
            self.asking -= 1
            # Otherwise the deadline is another one. Where one of several is cancelled, the time of the others goes on.
            if (woken or not self.asking) and not self.pending and self.stage != DONE:
                self.deadline = 0

    # The response ------------------------------------------------------------------------------------

    async def send(self, message: Event) -> None:
        """Take one message of the response; waits while the client does not read.

        Raises `ClientDisconnected` when the client has left, `ApplicationError` for a message that is out
        of order or can't be put on the wire.
        """
        if self.lost:
            if self.stage != BODY or not self._is_sized or not self.runtime.drops_rest:
                raise ClientDisconnected("the client left before the response was complete")
            self.remaining = self.drop_rest(message, self.remaining or 0)
            await asyncio.sleep(0)
            return
        try:
            kind, stage = message["type"], self.stage
        except (KeyError, TypeError):
            raise missing(message, "type") from None
        if kind == "http.response.body" and HEAD_HELD <= stage <= BODY and not self.ending:
            body, more = message.get("body", b""), message.get("more_body", False)
            if type(body) is not bytes:
                body = as_bytes(body)
            if stage == HEAD_HELD:
                self._send_first(body, more)
            else:
                self._send_more(body, more)
            if more and self.pending:
                await self._wait_for_client()
        elif kind == "http.response.start" and stage == AWAIT_START:
            try:
                status = message["status"]
            except KeyError:
                raise missing(message, "status") from None
            self.hold_head(status, message.get("headers", ()))
            self.trailing = bool(message.get("trailers", False))
        elif kind == "http.response.trailers" and self.ending and self.trailing:
            self._send_trailers(message)
        elif kind in INFORMATIONAL and stage == AWAIT_START:
            status, headers = informational_of(message)
            fields = self.conn.prepared.informational(headers)
            if status != 100:
                self.conn.send_informational(self, status, fields)
        elif kind == "http.response.pathsend" and HEAD_HELD <= stage <= BODY and not self.ending:
            with opened_path(message) as part:
                await self._send_file(part, False)
        elif kind == "http.response.zerocopysend" and HEAD_HELD <= stage <= BODY and not self.ending:
            with file_of(message) as part:
                await self._send_file(part, bool(message.get("more_body", False)))
        else:
            expected = "http.response.trailers" if self.ending else EXPECTED[stage]
            raise self.out_of_order(kind, expected)

    def hold_head(self, status: Any, headers: Any) -> None:
        """Check and prepare the head, and hold it."""
        if type(headers) is not list and headers != ():
            headers = as_fields(headers)
        if self.runtime.access is not None:
            headers = self.response_headers = list(headers)
        self.status = status = check_status(status)
        if status < 200:
            raise ApplicationError(f"status {status} of http.response.start is not one of a final response")
        self.body_sent = 0
        self.fields, self.length = self.conn.prepared.encode(headers)
        self.stage = HEAD_HELD
        if self.task is not None:
            # As `watch_head`, with the callback that writes when the turn ends, which sends what is held first.
            self.runtime.held.append(self)
            if not self.conn.flush_due:
                self.conn.flush_soon()

    def flush_head(self) -> None:
        """Send the head alone."""
        self._send_first(b"", True)

    def _send_first(self, body: bytes, more: bool) -> None:
        """Send the head together with what there is of the body."""
        fields, length, size, status = self.fields, self.length, len(body), self.status
        conn = self.conn
        if status in BODILESS or self.head.method == "HEAD":
            if length is None and not more and size and status not in BODILESS:
                length = size
            # RFC 9110, 8.6: no length for 204.
            if length is not None and status != 204:
                fields.append(conn.prepared.length(length))
            self.remaining = NO_BODY
            body, size = b"", 0
        elif length is not None:
            if size > length or (size < length and not more):
                raise wrong_length(length, size)
            fields.append(conn.prepared.length(length))
            self.remaining = length - size
        self.fields = []
        self.body_sent = size
        if more or self.trailing:
            self.stage = BODY
            conn.send_head(self, fields)
            conn.send_body(self, body, False)
            self.ending = not more
        else:
            self.stage = DONE
            conn.respond(self, fields, body)

    def _send_more(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body."""
        size, remaining = len(body), self.remaining
        if remaining is not None:
            if remaining == NO_BODY:
                body, size = b"", 0
            else:
                self.remaining = remaining - size
                if self.remaining < 0 or (self.remaining and not more):
                    self.remaining = remaining
                    raise wrong_length(self.body_sent + remaining, self.body_sent + size)
        self.body_sent += size
        last = not more and not self.trailing
        if last:
            self.stage = DONE
        self.ending = not more
        self.conn.send_body(self, body, last)

    def _send_trailers(self, message: Event) -> None:
        """Take trailers; the last of them end the response."""
        trailers = self.trailers = self.trailers or []
        headers = as_fields(message.get("headers", ()))
        check_trailers(headers)
        trailers += self.conn.prepared.informational(headers)
        if not message.get("more_trailers", False):
            self.stage = DONE
            self.conn.end_with_trailers(self)

    def end_without_trailers(self) -> bool:
        """As on HTTP/1.1."""
        if not (self.ending and self.trailing):
            return False
        self._send_trailers({})
        return True

    async def _send_file(self, part: FilePart, more: bool) -> None:
        """Send a part of a file as a piece of the body, in pieces that are read as the client takes them."""
        size, at = part.size, part.offset
        if self.stage == HEAD_HELD:
            if self.length is None and not more and self.status not in BODILESS:
                # The head says it also where it leaves before the first piece was read.
                self.length = size
            declared, sent = self.length, 0
        else:
            declared, sent = self.remaining, self.body_sent
        if self.status in BODILESS or self.head.method == "HEAD":
            await self.send({"type": "http.response.body", "more_body": more})
            return
        if declared is not None and (size > declared or (size < declared and not more)):
            raise wrong_length(sent + declared, sent + size)
        end, turn = at + size, 0
        while True:
            piece = await read_piece(self.runtime.loop, part.fd, end - at, at) if size else b""
            if size and not piece:
                raise part.shrunk()
            at += len(piece)
            goes_on = more or at < end
            if self.lost or not size:
                await self.send({"type": "http.response.body", "body": bytes(piece), "more_body": goes_on})
            else:
                # As `send` does it, which would copy what is no bytes.
                send = self._send_first if self.stage == HEAD_HELD else self._send_more
                send(piece, goes_on)  # type: ignore[arg-type]  # memoryviews are bytes to the engines
            if self.pending:
                # Not more of the file in memory than one piece.
                await self._wait_for_client()
            if at >= end or self.lost:
                return
            turn += len(piece)
            if turn >= TURN_SIZE:
                await asyncio.sleep(0)
                turn = 0

    async def _wait_for_client(self) -> None:
        while self.pending:
            await self.wait()
            if self.lost:
                if self._is_sized and self.runtime.drops_rest:
                    return
                raise ClientDisconnected("the client left while the response was being sent")

    @property
    def _is_sized(self) -> bool:
        """Whether the response has begun, with a length, and ends with its body."""
        return self.remaining is not None and self.remaining != NO_BODY and not self.trailing

    # The server's own answers -------------------------------------------------------------------------

    def answer(self, status: int, text: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send a whole response of the server's own."""
        self.trailing = False
        self.hold_head(status, headers)
        self._send_first(text, False)

    def refuse(self, status: int, reason: str) -> None:
        """Answer a request that does not get to the application."""
        self.progress = RETURNED
        self.started = time.monotonic()
        self.runtime.tally.refused(status)
        self.fail_with(status, reason.encode("ascii", "replace") + b"\n")

    def refuse_body(self, limit: int) -> None:
        """The body has become larger than limit_request_body: 413, or http.disconnect once the response has begun."""
        if self.stage < BODY:
            self.runtime.tally.refused(413)
            self.fail_with(413, f"the request body is longer than {limit} bytes\n".encode())
        self.disconnect()

    def time_out(self) -> None:
        """The body did not come in time: 408, or http.disconnect once the response has begun."""
        if self.stage < BODY:
            self.runtime.tally.refused(408)
            self.fail_with(408, b"the request body did not arrive in time\n")
        self.disconnect()

    def cut(self) -> None:
        """End a response that can't be completed; the other streams go on."""
        self.conn.reset_stream(self, ErrorCode.INTERNAL_ERROR)

    # What the connection says -------------------------------------------------------------------------

    def drained(self) -> None:
        """What was pending has been handed to the engine."""
        if self.waiters is not None:
            self.wake()

    def receive_data(self, data: bytes, end: bool) -> None:
        """A piece of the body has come, or its end."""
        if data:
            self.keep_chunk(data)
            self.received += len(data)
        self.complete = end
        if self.waiters is not None:
            self.wake()

    def on_tick(self, tick: int) -> None:
        """Twice a second: the stream's deadlines."""
        if 0 < self.deadline <= tick:
            self.deadline = 0
            self.conn.on_stream_deadline(self)

    def connection_lost(self) -> None:
        """The stream is gone: nothing can be received or sent any more."""
        if self.stage == DONE and self.pending:
            self.runtime.tally.cut += 1
            self.log_access()
        self.pending = None
        self.deadline = 0
        super().connection_lost()
