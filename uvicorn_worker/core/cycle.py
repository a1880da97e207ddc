"""One request in the application: what its cycle is on every version of HTTP.

How a request is received and a response is sent is the protocol's: `receive` and `send` are in the cycles that
derive from `Cycle`. What becomes of an application that fails, returns too early, or is not waited for, and how
those who wait are woken, is the same for all.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Iterable
from typing import Any, ClassVar

from uvicorn_worker.core.address import peer_name
from uvicorn_worker.core.asgi import TOLD_AT_ONCE, Event
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected, comes_from_disconnect, ends_process
from uvicorn_worker.core.figures import MOST_SPANS, Tally
from uvicorn_worker.core.log import Losses
from uvicorn_worker.core.reached import Reached
from uvicorn_worker.core.runtime import Runtime, end_loop
from uvicorn_worker.core.stages import AWAIT_START, BODY, DONE, HEAD_HELD

__all__ = [
    "AWAIT_START",
    "BEGUN",
    "BODILESS",
    "BODY",
    "CANCELLED",
    "DONE",
    "EXPECTED",
    "HEAD_HELD",
    "PLAIN_TEXT",
    "RETRY_SOON",
    "RETURNED",
    "WAITING",
    "Cycle",
    "as_bytes",
    "flush_heads",
    "request_name",
    "wrong_length",
]

# Progress of the application's call.
WAITING, BEGUN, CANCELLED, RETURNED = range(4)

# What may come in each stage of the response.
EXPECTED = {
    AWAIT_START: "http.response.start",
    HEAD_HELD: "http.response.body",
    BODY: "http.response.body",
    DONE: "nothing, since the response is complete",
}

# Statuses whose responses have no body whatever the application sends; and all 1xx (RFC 9110, 6.4.1).
BODILESS = frozenset([204, 304])

# How long the name of a request's task may be: its method and its path.
NAMED = 64

# Pieces of a body that wait are joined up to this size each, where more than a few wait.
SMALL_CHUNK = 4096
FEW_CHUNKS = 16

PLAIN_TEXT = (b"content-type", b"text/plain; charset=utf-8")
# For whom another server, or this one a moment later, has an answer (RFC 9110, 10.2.3).
RETRY_SOON = (b"retry-after", b"1")


class Cycle(Reached):
    """A request in the application and its response; there is no constructor, so that making one is one call."""

    __slots__ = (
        "__weakref__",
        "asking",
        "body_sent",
        "chunks",
        "complete",
        "delivered",
        "expect_continue",
        "gone",
        "left",
        "lost",
        "name",
        "progress",
        "response_headers",
        "runtime",
        "scope",
        "stage",
        "started",
        "status",
        "target",
        "task",
        "told",
        "waiters",
    )

    # Whether it is, or may become, a WebSocket.
    websocket: ClassVar[bool] = False

    # Where its responses are counted (core/figures.py).
    counted_at: ClassVar[int] = Tally.HTTP1

    # Of the access log: one that fails is said once, not for each request.
    _losses: ClassVar[Losses] = Losses("The access log")

    runtime: Runtime
    scope: dict[str, Any]
    target: bytes
    # That of its task; None: it is made of the scope (`request_name`).
    name: str | None
    progress: int
    stage: int
    status: int
    # When the application was begun, by time.monotonic(); before that, within one tick, when the request was read.
    started: float
    body_sent: int
    response_headers: Any
    task: asyncio.Task[None] | None
    # `gone`: receive() says http.disconnect, since the time `left`. `lost`: nothing can be sent any more.
    gone: bool
    left: float
    lost: bool
    # How often receive() has said so; not there before.
    told: int
    # The request's body: what has come and was not taken, whether all has come, whether all was taken or nothing of it
    # is given any more, and whether the client waits to be asked for it.
    chunks: list[bytes]
    # The connection, which is told by body_taken() how much the application has taken.
    conn: Any
    # How many calls of receive() wait for more of the body; not there before the first.
    asking: int
    complete: bool
    delivered: bool
    expect_continue: bool
    waiters: list[asyncio.Future[None]] | None

    # Hooks of the protocol ----------------------------------------------------------------------------

    async def send(self, message: Event) -> None:
        """The application's `send`."""
        raise NotImplementedError

    def answer(self, status: int, text: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send a whole response of the server's own, where none was begun."""
        raise NotImplementedError

    def cut(self) -> None:
        """End a response that can't be completed in a way that the client can see."""
        raise NotImplementedError

    def keep_chunk(self, data: bytes) -> None:
        """Keep a piece of the body; small ones are joined, since each object costs more than they hold."""
        chunks = self.chunks
        if len(chunks) >= FEW_CHUNKS and len(data) < SMALL_CHUNK and len(chunks[-1]) < SMALL_CHUNK:
            chunks[-1] += data
        else:
            chunks.append(data)

    def take_body(self) -> bytes:
        """What has come of the body and was not taken; the client may send as much more."""
        chunks = self.chunks
        if not chunks:
            return b""
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.conn.body_taken(self, len(body))
        return body

    def ask_for_body(self) -> None:
        """Answer 100 Continue: the client waits for this before it sends the body (RFC 9110, 10.1.1)."""
        raise NotImplementedError

    async def wait_for_body(self) -> None:
        """Wait for more of the body, for as long as timeout_request_body lets the client take."""
        raise NotImplementedError

    # The application ---------------------------------------------------------------------------------

    def admit(self) -> None:
        """Start the application, or answer in its place where it has as much to do as limit_concurrency lets it."""
        runtime = self.runtime
        self.progress = BEGUN
        self.started = time.monotonic()
        cycles = runtime.cycles
        if runtime.limit_cycles and len(cycles) >= runtime.limit_cycles:
            runtime.tally.refused(503)
            self.overload()
            return
        cycles.add(self)
        name = self.name
        if name is None:
            name = request_name(self.scope["method"], self.scope["path"])
        try:
            task = runtime.make_task(self.run(), name, runtime.context.copy())
        except (SystemExit, KeyboardInterrupt) as exc:
            # Where tasks start at once, this is called by a transport.
            end_loop(runtime.loop, exc)
            return
        # One that is done already has cleared it.
        if self.progress == BEGUN:
            self.task = task
            if self.stage == HEAD_HELD:
                self.watch_head()

    async def run(self) -> None:
        """Call the application, and see to it that the client gets an answer or sees that there is none."""
        try:
            await self.runtime.app(self.scope, self.receive, self.send)
        except BaseException as exc:
            # Whatever the application raises is answered and logged here.
            if not isinstance(exc, Exception) and self.is_ended_by(exc):
                if isinstance(exc, asyncio.CancelledError):
                    self.abandon()
                raise
            self._application_failed(exc)
        else:
            if self.stage != DONE and not self.lost:
                self._application_returned_early()
        finally:
            # As `returned`, without the call.
            self.runtime.cycles.discard(self)
            self.progress = RETURNED
            self.task = None

    def is_ended_by(self, exc: BaseException) -> bool:
        """Whether an exception that has come out of the application ends its task, and is not the application's own.

        It is not where the task is being cancelled or closed, or the process ends. An application that lets out a
        CancelledError of something that it has waited for has failed as with any other exception.
        """
        if not isinstance(exc, (asyncio.CancelledError, GeneratorExit)):
            return ends_process(exc)
        task: Any = asyncio.current_task(self.runtime.loop)
        if isinstance(exc, GeneratorExit):
            # A coroutine is closed from outside of its task. One that starts at once is not known to us yet.
            return self.task is not None and task is not self.task
        if self.progress == CANCELLED or not hasattr(task, "cancelling"):
            # Python 3.10 does not say whether it was cancelled; all that we cancel we mark.
            return self.progress == CANCELLED or self.runtime.draining
        return bool(task.cancelling())

    def cancel(self) -> None:
        """Cancel the application, which is not waited for any longer; `abandon` says so to the client."""
        self.progress = CANCELLED
        task = self.task
        if task is not None:
            task.cancel()
            # Not every task factory gives what has one, and a task that is done has none.
            coroutine = getattr(task, "get_coro", _nothing)()
            if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                # It comes to its first step in the next turn only (before Python 3.12), and now never: nor to its end.
                self.returned()

    def returned(self) -> None:
        """The application is done with the request."""
        self.runtime.cycles.discard(self)
        self.progress = RETURNED
        self.task = None

    def finish(self) -> None:
        """The response is complete, or the WebSocket is open: it counts, and is in the access log."""
        runtime = self.runtime
        tally = runtime.tally
        tally.responses[self.counted_at + self.status // 100] += 1
        spans, seconds = tally.spans, time.monotonic() - self.started
        spans.append(seconds)
        if len(spans) >= MOST_SPANS:
            tally.fold()
        if runtime.paths is not None:
            runtime.paths.count(self.target, self.status, seconds)
        runtime.requests = requests = runtime.requests + 1
        if requests >= runtime.limit_requests:
            runtime.on_limit()
        if runtime.access is not None:
            self.log_access()
        if self.waiters is not None:
            self.wake()

    def _application_failed(self, exc: BaseException) -> None:
        scope, log = self.scope, self.runtime.log
        if (self.gone or self.lost) and comes_from_disconnect(exc):
            log.debug("%s %s: the client left before the response was complete", scope["method"], scope["path"])
            self._end_told()
            return
        self.runtime.tally.failed += 1
        try:
            log.error("Exception in ASGI application: %s %s", scope["method"], self.label, exc_info=exc)
        finally:
            # A log that can't be written must not cost the client its answer.
            self.fail_with(500, b"Internal Server Error")

    @property
    def label(self) -> str:
        """The path for the log, with the id of the request where it has one."""
        scope = self.scope
        value = scope.get("state", {}).get("request_id") if self.runtime.config.request_id_header else None
        return f"{scope['path']} [{value}]" if value else str(scope["path"])

    def _application_returned_early(self) -> None:
        scope = self.scope
        if self.gone:
            self._end_told()
            return
        if self.end_without_trailers():
            self.runtime.log.warning(
                "ASGI application returned without the trailers that it has announced: %s %s",
                scope["method"],
                self.label,
            )
            return
        self.runtime.tally.failed += 1
        self.runtime.log.error(
            "ASGI application returned without completing the response: %s %s", scope["method"], self.label
        )
        self.fail_with(500, b"Internal Server Error")

    def end_without_trailers(self) -> bool:
        """Where only trailers are still to come, the response ends with what is there; gives whether that was so."""
        return False

    def _end_told(self) -> None:
        """The application was told http.disconnect, and has ended without a complete response."""
        if self.lost or self.stage == DONE:
            return
        if self.runtime.draining:
            # It was told to leave: its client may ask another server.
            self.fail_with(503, b"Service Unavailable", [RETRY_SOON])
        else:
            # There is nobody to answer; the connection has no further use.
            self.cut()

    def out_of_order(self, kind: str, expected: str) -> Exception:
        """What send() raises for a message that has no place here; after http.disconnect this is nobody's fault."""
        if self.gone:
            return ClientDisconnected("the client has left")
        return ApplicationError(f"got the ASGI message {kind!r} where the server expects {expected}")

    def drop_rest(self, message: Event, remaining: int) -> int:
        """Let a piece of a sized response pass whose client has left; gives what remains of its length.

        The application comes to its end by itself, and with it what is to be done behind a response: files are removed
        that were sent, for instance. A stream may have no end, so send() raises there.
        """
        remaining -= len(message.get("body") or b"")
        if message["type"] != "http.response.body" or remaining < 0:
            raise ClientDisconnected("the client left before the response was complete")
        if not message.get("more_body", False):
            self.stage = DONE
        return remaining

    def abandon(self) -> None:
        """The server stops and won't wait for the application any longer."""
        self.fail_with(503, b"Service Unavailable", [RETRY_SOON])

    def overload(self) -> None:
        """Answer in the place of the application, which has as much to do as limit_concurrency lets it."""
        self.progress = RETURNED
        self.fail_with(503, b"Service Unavailable", [RETRY_SOON])

    def fail_with(self, status: int, text: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer with `status` where nothing was sent; else cut the connection, so that the client sees it."""
        if self.lost or self.stage == DONE:
            return
        if self.stage == BODY:
            self.cut()
            return
        header = self.runtime.config.request_id_header
        if header is not None and (value := self.scope.get("state", {}).get("request_id")):
            headers = [*headers, (header.lower().encode("latin-1"), value.encode("latin-1"))]
        self.answer(status, text, [PLAIN_TEXT, *headers])

    # The request -------------------------------------------------------------------------------------

    async def receive(self) -> Event:
        """The next piece of the request body, or http.disconnect when the client left or was answered."""
        while True:
            if self.lost or self.stage == DONE:
                break
            if not self.delivered:
                if self.complete:
                    self.delivered = True
                    chunks = self.chunks
                    if len(chunks) != 1:
                        return {"type": "http.request", "body": self.take_body(), "more_body": False}
                    # As `take_body`, without the call: a small body comes in one piece.
                    body = chunks.pop()
                    self.conn.body_taken(self, len(body))
                    return {"type": "http.request", "body": body, "more_body": False}
                if self.gone:
                    break
                if self.chunks:
                    return {"type": "http.request", "body": self.take_body(), "more_body": True}
                if self.expect_continue:
                    self.expect_continue = False
                    if self.stage <= HEAD_HELD:
                        self.ask_for_body()
                await self.wait_for_body()
                continue
            if self.gone:
                break
            await self.wait()
        self.told = told = getattr(self, "told", 0) + 1
        if told % TOLD_AT_ONCE == 0:
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    @property
    def only_waits(self) -> bool:
        """Whether the application has the request whole, has sent nothing, and waits for its client's end, or asks for
        it again and again: a long poll, which ends when it is told that there is nobody to answer.

        Frameworks that wait for the client's end beside each request do so in another task.
        """
        waiters = self.waiters
        if waiters is None or not self.delivered or self.stage != AWAIT_START or self.gone:
            return False
        # It is empty where receive() was called and given up, as `Request.is_disconnected()` of Starlette does.
        return not waiters or getattr(self.task, "_fut_waiter", None) in waiters

    def drain(self) -> None:
        """The server stops; a hook for WebSockets, which are to end by themselves."""

    # Time -------------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        """The client's address for the log."""
        return peer_name(self.scope["client"])

    def check_time(self, now: float) -> None:
        """Cancel an application that has taken too long, or whose client has left too long ago.

        What it does after the response is complete has no limit.
        """
        runtime = self.runtime
        paths = runtime.paths
        limit = runtime.config.timeout_request if paths is None else paths.of(self.target, "timeout_request")
        if limit is not None and self.progress == BEGUN and self.stage != DONE and now - self.started >= limit:
            self.runtime.tally.timed_out += 1
            self._cancel("took longer than timeout_request", now)
            self.fail_with(504, b"Gateway Timeout")
            # What the application goes on to send has no place any more.
            self.lost = True
        elif self.stage != DONE:
            self.check_left(now)

    def check_left(self, now: float) -> None:
        """Cancel an application that goes on for too long after its client has left."""
        limit = self.runtime.config.timeout_disconnect
        if limit is not None and self.progress == BEGUN and self.gone and now - self.left >= limit:
            self.runtime.tally.cancelled += 1
            self._cancel("went on after its client had left", now)

    def _cancel(self, reason: str, now: float) -> None:
        scope = self.scope
        self.runtime.log.error(
            "Cancelled after %.1f s in the application, since it %s: %s %s from %s",
            now - self.started,
            reason,
            # The scope of a WebSocket has none.
            scope.get("method", "GET"),
            scope["path"],
            self.peer,
        )
        self.cancel()

    def log_access(self) -> None:
        """Write the access line; one that can't be written must not cost the client its answer."""
        runtime = self.runtime
        if runtime.access is None:
            return
        try:
            runtime.access(self)
        except Exception as exc:
            if self._losses.add(exc):
                runtime.log.error("The access line could not be logged", exc_info=exc)
        else:
            if self._losses.lost:
                self._losses.end()

    # The head ----------------------------------------------------------------------------------------

    def watch_head(self) -> None:
        """Send the head when this turn of the loop ends, unless something of the body is sent by then.

        Those that are held in one turn have one callback in common. Where the application runs its first step, its
        head is looked at when that is over, which is no turn yet (`admit`).
        """
        runtime = self.runtime
        if not runtime.held:
            runtime.loop.call_soon(flush_heads, runtime)
        runtime.held.append(self)

    def flush_head(self) -> None:
        """Send the head that is held."""
        raise NotImplementedError

    # Waiting ----------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Wait until something changes: body, disconnect, room to write."""
        waiter = self.runtime.loop.create_future()
        if self.waiters is None:
            self.waiters = [waiter]
        else:
            self.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        if self.waiters is not None and waiter in self.waiters:
            self.waiters.remove(waiter)

    def wake(self) -> None:
        """Let everything that waits look again."""
        waiters, self.waiters = self.waiters, None
        if waiters is not None:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def disconnect(self) -> None:
        """receive() says http.disconnect from now on; what is sent still goes out."""
        if not self.gone:
            self.gone = True
            self.left = time.monotonic()
            if not self.complete:
                # What comes of the body from now on is dropped: its end must not look like that of a shorter one.
                self.delivered = True
        self.wake()

    def connection_lost(self) -> None:
        """Nothing can be received or sent any more."""
        self.lost = True
        self.chunks.clear()
        if self.stage in (HEAD_HELD, BODY):
            self.runtime.tally.cut += 1
            self.log_access()
        self.disconnect()


def request_name(method: str, path: str) -> str:
    """The name of a request's task."""
    name = f"{method} {path}"
    return name if len(name) <= NAMED else name[:NAMED]


def flush_heads(runtime: Runtime) -> None:
    """The turn is over: send the heads of which nothing has followed."""
    held, runtime.held = runtime.held, []
    for cycle in held:
        if cycle.stage == HEAD_HELD and not cycle.lost:
            cycle.flush_head()


def _nothing() -> None:
    """The coroutine of what has none."""


def as_bytes(body: Any) -> bytes:
    """A copy of a body that is not just bytes: a bytearray may change after send() has returned, and a class of bytes
    (PyMongo's `Binary`, NumPy's `bytes_`) is not what transports have short ways for. None is none."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if body is None:
        return b""
    raise ApplicationError(f"body of http.response.body must be bytes, not {type(body).__name__}")


def wrong_length(declared: int, actual: int) -> ApplicationError:
    more_or_less = "longer" if actual > declared else "shorter"
    return ApplicationError(
        f"the response body is {more_or_less} ({actual} bytes) than its content-length ({declared})"
    )
