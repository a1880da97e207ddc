"""`Runtime`: what all connections of one server share.

The server makes it when the application has started, and it is whole then; every protocol room reads it. It holds no
wire format and no socket: only the application, the limits in the form that the hot path wants, the sets of what is
under way, and counters.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.default_lines import DefaultLines
from uvicorn_worker.core.figures import Tally
from uvicorn_worker.core.kernel import can_writelines
from uvicorn_worker.core.log import ErrorLog
from uvicorn_worker.core.paths import Paths
from uvicorn_worker.core.scope import Scopes, TlsExtension
from uvicorn_worker.core.watched import watched

__all__ = ["AccessHook", "Connection", "CycleView", "Runtime", "end_loop"]

# From so many connections that write in one turn of the loop on, responses wait for the ends of the next ones. After so
# many responses that did not, those of two turns are counted, to see whether they should.
CROWD = 6
LONE = 32


class Connection(Protocol):
    """What the server asks of a connection, whatever protocol it speaks."""

    @property
    def rest_until(self) -> int:
        """Nothing is to be done at the ticks before this one, unless something comes or is sent; 0: there may be.

        Below 0 the connection is new: it was opened a moment ago, and nothing has come yet.
        """

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no request is received, run or answered, and it is not being closed."""

    @property
    def lingering(self) -> bool:
        """Whether everything was sent that will be, and only the client's end is waited for."""

    def on_tick(self, tick: int) -> None:
        """Called twice a second with the count of ticks: deadlines are met here."""

    def drain(self) -> None:
        """The server stops: say so to the client where the protocol has a way to."""

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way on it, or has come and was not read yet.

        One that is being closed already is not to linger for long. Called again and again while the server stops.
        """

    def abort(self) -> None:
        """Cut the connection at once."""


class Writing(Protocol):
    """What may have something to write at the end of a turn of the loop."""

    def end_turn(self) -> None:
        """The turn is over."""


class CycleView(Protocol):
    """One request in the application and its response, as the server and the access log see it."""

    scope: dict[str, Any]
    target: bytes
    task: asyncio.Task[None] | None
    status: int
    response_headers: Any
    body_sent: int
    started: float
    stage: int
    lost: bool
    websocket: ClassVar[bool]

    @property
    def only_waits(self) -> bool:
        """Whether it is a long poll: it has sent nothing, and ends when it is told that the client is gone."""

    def drain(self) -> None:
        """The server stops: a WebSocket is closed with 1012."""

    def disconnect(self) -> None:
        """Tell the application that the client is gone."""

    def cancel(self) -> None:
        """Cancel the application."""

    def abandon(self) -> None:
        """Answer in the place of the application, which is not waited for any longer."""

    def flush_head(self) -> None:
        """Send the head of the response, of which nothing has followed in this turn of the loop."""

    def check_time(self, now: float) -> None:
        """Called at each tick where timeout_request or timeout_disconnect is set; `now` is of time.monotonic()."""


AccessHook = Callable[[CycleView], None]


class Runtime:
    """State shared by the connections of one server; see the module's text.

    `access` is called for each response; None: nobody is to be told. `state` is what the lifespan has put into its
    scope, `context` the context variables of the requests (None: those of whoever makes it). `on_limit` is called when
    `limit_requests` were served (None: no limit), and for each one above.
    """

    # What other rooms may assign; everything else is what the constructor made of it. tests/test_house.py holds it.
    STATES = frozenset({"draining", "hurries", "lone"})

    __slots__ = (
        "access",
        "app",
        "can_writelines",
        "config",
        "connections",
        "context",
        "crowded",
        "cycles",
        "defaults",
        "draining",
        "drops_rest",
        "few_before",
        "first_byte_ticks",
        "held",
        "hurries",
        "keep_alive_ticks",
        "limit_body",
        "limit_cycles",
        "limit_requests",
        "log",
        "lone",
        "loop",
        "make_task",
        "now",
        "on_limit",
        "paths",
        "persists",
        "read_buffer",
        "request_body_ticks",
        "request_head_ticks",
        "requests",
        "scopes",
        "state",
        "tally",
        "tick",
        "times_requests",
        "write_ticks",
        "writing",
    )

    def __init__(
        self,
        config: Config,
        app: ASGIApp,
        loop: asyncio.AbstractEventLoop,
        *,
        access: AccessHook | None = None,
        state: dict[str, Any] | None = None,
        context: contextvars.Context | None = None,
        limit_requests: int | None = None,
        on_limit: Callable[[], None] | None = None,
        tls_extension: TlsExtension | None = None,
    ) -> None:
        self.config = config
        self.app = app
        self.loop = loop
        self.log = ErrorLog()
        self.access = access
        self.can_writelines = can_writelines(loop)
        self.scopes = Scopes(config, tls_extension)
        # Whether the rest of a sized response is let pass where its client has left, as before ASGI HTTP 2.4.
        self.drops_rest = config.asgi_spec_version < "2.4"
        self.defaults = DefaultLines(config)

        # What each request gets copies of, and how its task is made.
        self.state = {} if state is None else state
        self.context = contextvars.copy_context() if context is None else context
        if config.reset_contextvars:
            self.context = contextvars.Context()
        self.make_task = _task_maker(loop)

        # What is under way, and what was.
        self.connections: set[Connection] = set()
        self.cycles: set[CycleView] = set()
        self.draining = False
        # Whether, of those that idle then, clients on this machine are not waited for.
        self.hurries = False
        # Responses of which the head was sent in this turn of the loop, and may be alone.
        self.held: list[CycleView] = []
        # Connections that write at the end of this turn of the loop, one after the other.
        self.writing: list[Writing] = []
        # Whether whole responses wait for the end of their turn; and how many more don't before they are counted.
        self.crowded = False
        self.lone = LONE
        # Whether there were few at the end of the last turn.
        self.few_before = False
        self.requests = 0
        self.tally = Tally()
        self.limit_requests = sys.maxsize if limit_requests is None else limit_requests
        self.on_limit = on_limit or _nothing
        # What large reads go into, once there are any (core/large_reads.py).
        self.read_buffer: memoryview | None = None

        # 0: no limit.
        self.limit_cycles = config.limit_concurrency or 0
        # Paths with options of their own; None: there are none. The lowest limit of bodies is that of all of them.
        self.paths = Paths(config) if config.paths else None
        self.limit_body = sys.maxsize if config.limit_request_body is None else config.limit_request_body
        if self.paths is not None:
            self.limit_body = min(self.limit_body, self.paths.least_body)
        self.tick = 0
        # time.monotonic() at the last tick: a time of day for what needs no better one.
        self.now = time.monotonic()
        self.keep_alive_ticks = ticks(config.timeout_keep_alive) if config.timeout_keep_alive else 0
        # Whether connections of HTTP/1.1 outlast a response.
        self.persists = self.keep_alive_ticks > 0 and not self.defaults.closes
        self.request_head_ticks = ticks(config.timeout_request_head) if config.timeout_request_head else 0
        # Balancers open connections ahead: one that has sent nothing yet waits for the longer of the two. 0: no limit.
        self.first_byte_ticks = max(self.request_head_ticks, self.keep_alive_ticks) if self.request_head_ticks else 0
        self.request_body_ticks = ticks(config.timeout_request_body) if config.timeout_request_body else 0
        self.write_ticks = ticks(config.timeout_write) if config.timeout_write else 0
        # Whether each tick looks at the time that the requests have taken.
        self.times_requests = config.timeout_request is not None or config.timeout_disconnect is not None
        if self.paths is not None and self.paths.limits_time:
            self.times_requests = True

    def body_limit(self, target: bytes) -> int:
        """The longest body that a request may have; `limit_body` is the lowest of all such limits."""
        return self.limit_body if self.paths is None else self.paths.body_limit(target)

    def write_at_end_of_turn(self, connection: Writing) -> None:
        """Call its `end_turn` when this turn of the loop ends."""
        if not self.writing:
            self.loop.call_soon(self.end_turn)
        self.writing.append(connection)

    def end_turn(self) -> None:
        """Let all connections write that wanted to in this turn of the loop.

        Where many requests are answered in a turn, their clients are woken by one burst: an answer alone wakes a
        client that has slept for as long as the application took, which costs both sides more than the write. Where
        there are few, a response that waits for the end of its turn is only later, by the price of a turn.
        """
        writing, self.writing = self.writing, []
        if len(writing) >= CROWD:
            self.crowded, self.few_before = True, False
        elif self.crowded or not self.lone:
            # The first time it may have been the rest of a turn, of which others were not counted.
            if self.few_before:
                self.crowded, self.lone = False, LONE
            self.few_before = not self.few_before
        left = iter(writing)
        try:
            for connection in left:
                connection.end_turn()
        except BaseException:
            # That of a signal, say. It is no concern of the others.
            for connection in left:
                self.write_at_end_of_turn(connection)
            raise

    def count_requests(self, number: int) -> None:
        """So many were served; those of the server's own protocols count by themselves."""
        self.requests = number
        if number >= self.limit_requests:
            self.on_limit()

    def count_tick(self) -> None:
        """Half a second has passed."""
        self.tick += 1

    def on_tick(self, now: float) -> None:
        """Meet the deadlines of the tick that `tick` counts; `now` is of time.monotonic()."""
        self.now = now
        self.defaults.refresh()
        self.scopes.refresh()
        tick = self.tick
        # Of thousands of connections most are at rest: they cost this look at each, and no call.
        for connection in [each for each in self.connections if each.rest_until <= tick]:
            try:
                connection.on_tick(tick)
            except Exception as exc:
                # The others have deadlines too.
                self.log.error("Error at a deadline of a connection", exc_info=exc)
                connection.abort()
        if self.times_requests:
            for cycle in list(self.cycles):
                cycle.check_time(now)

    def watch_connections(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` from now on each time that a connection has ended."""
        self.connections = watched(self.connections, watcher)

    def watch_cycles(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` from now on each time that an application is done with a request."""
        self.cycles = watched(self.cycles, watcher)


def _task_maker(loop: asyncio.AbstractEventLoop) -> Callable[..., asyncio.Task[None]]:
    """The cheapest way that this Python has to make a task: called with a coroutine, a name and a context.

    From Python 3.12 on the task runs at once, up to where it first has to wait, and may be done when it is made. It
    enters the context, which is to be its own.
    """
    version = tuple(sys.version_info)
    if loop.get_task_factory() is not None:
        # It is the operator's own choice, and is asked.
        def make(coroutine: Any, name: str, context: contextvars.Context) -> asyncio.Task[None]:
            task: asyncio.Task[None] = context.run(loop.create_task, coroutine)
            # A factory may give something else that can be awaited.
            if isinstance(task, asyncio.Task):
                task.set_name(name)
            return task

        return make
    if version < (3, 11):
        # A task copies the context that it is made in.
        return lambda coroutine, name, context: context.run(asyncio.Task, coroutine, loop=loop, name=name)
    # Typed as Any: `eager_start` is not known to every Python that is supported.
    task: Any = asyncio.Task
    # A function for each, since a partial() makes one dictionary of its options and those of the call each time.
    if version < (3, 12):
        return lambda coroutine, name, context: task(coroutine, loop=loop, name=name, context=context)
    return lambda coroutine, name, context: task(coroutine, loop=loop, name=name, context=context, eager_start=True)


def end_loop(loop: asyncio.AbstractEventLoop, exc: BaseException) -> None:
    """Raise SystemExit or KeyboardInterrupt where the event loop ends by it.

    A transport of uvloop that calls its protocol takes them for an error of the connection.
    """
    loop.call_soon(_raise, exc)


def _raise(exc: BaseException) -> None:
    raise exc


def _nothing() -> None:
    """What happens at the limit of requests where there is no server."""
