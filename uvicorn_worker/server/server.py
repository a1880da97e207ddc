"""`Server`: start, serve, drain, stop.

    startup()          sockets are bound, lifespan startup, then the listening sockets are read from
      │
    wait_for_exit()    until should_exit: a signal, the limit of requests, or the caller's word
      │
    shutdown()         drain ─► lifespan shutdown; `force_exit` leaves out all of it but the cutting

The stop has one deadline, `timeout_graceful_shutdown` after it was asked for; drain.py keeps it. What is started is
ended in every case: a start that fails on its way, and a `serve()` that is cancelled, run the lifespan shutdown and
close what they have opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from uvicorn_worker.board.ends import LIFETIME, MAX_REQUESTS, MEMORY
from uvicorn_worker.core.clock import Ticker
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import BindError, ConfigError
from uvicorn_worker.core.log import OwnLog, count
from uvicorn_worker.core.paths import Paths
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.core.spellings import is_protocol_class
from uvicorn_worker.logs.levels import log_messages
from uvicorn_worker.logs.line_writer import close_lines
from uvicorn_worker.server.acceptor import Acceptor
from uvicorn_worker.server.binding import Bound, bind, url_of, urls_of
from uvicorn_worker.server.drain import Drain, Schedule
from uvicorn_worker.server.files_offered import offer_files
from uvicorn_worker.server.loading import loop_factory
from uvicorn_worker.server.loop_watch import LoopWatch
from uvicorn_worker.server.memory import HeapTrim, MemoryWatch, keep_freed_memory
from uvicorn_worker.server.neighbours import Neighbours
from uvicorn_worker.server.own_lifespan import (
    QUICK_SECONDS,
    LifespanOn,
    brought_by,
    lifespan_of,
    start_lifespan,
    stop_lifespan,
)
from uvicorn_worker.server.reporter import Reporter
from uvicorn_worker.server.running import run_in
from uvicorn_worker.server.state import Listening, ServerState
from uvicorn_worker.server.surroundings import Surroundings, handled
from uvicorn_worker.server.written_anew import WrittenAnew
from uvicorn_worker.switching.dispatch import alpn_protocols, check_protocols, protocol_factory
from uvicorn_worker.tls.asked import tls_is_on

if TYPE_CHECKING:
    from uvicorn_worker.board.metrics import MetricsThread
    from uvicorn_worker.core.scope import TlsExtension
    from uvicorn_worker.server.lifespan import Lifespan
    from uvicorn_worker.server.own_lifespan import BroughtLifespan
    from uvicorn_worker.server.slow_requests import SlowRequests
    from uvicorn_worker.tls.contexts import TlsContexts

__all__ = ["Server"]

# How often `on_tick()` of a subclass is called, and how far it counts, as uvicorn does: a day.
_TICK = 0.1
_TICKS = 864_000


def own_threads() -> int:
    """How many threads asyncio's default executor has by itself (concurrent.futures.ThreadPoolExecutor)."""
    return min(32, (os.cpu_count() or 1) + 4)


def _protocols(config: Config) -> Callable[[Runtime, ServerState], Callable[..., asyncio.Protocol]]:
    """What gives the protocols of connections, which is checked here: ours, or those of a class of somebody's own."""
    if is_protocol_class(config.http) or is_protocol_class(config.ws):
        from uvicorn_worker.server.brought_protocols import brought_factory, check_brought

        check_brought(config)
        return brought_factory
    check_protocols(config)
    return lambda runtime, state: protocol_factory(runtime)


class Server(WrittenAnew):
    """Serves one application, on sockets of its own or on such that the caller has bound.

        Server(Config(app)).run()                           this thread serves, in an event loop of its own
        await Server(Config(app)).serve(sockets=[...])      within a running loop; SIGINT and SIGTERM are taken
        async with Server(Config(app)) as server: ...       no signal is taken; the end of the block stops it

    Setting `should_exit` ends it gracefully, `force_exit` at once; before the start, that one says how it is to end.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.own_surroundings: Surroundings = getattr(config, "own_surroundings", None) or Surroundings()
        """What the server asks for its application, and tells of its start and end."""
        self.server_state = ServerState()
        self.servers: list[Listening] = []
        """What is listened on, once the server has started."""
        self.lifespan: Any = LifespanOn(config)
        """The application's, which shows its `state`; one of another class that is assigned is run in its place."""
        self.own_log = OwnLog()
        # At which levels it is said that the lifespan's startup and shutdown have begun and ended well.
        self.own_startup_level = self.own_shutdown_level = logging.INFO
        self.started = False
        self.own_cancelled = False
        """Whether `serve()` was cancelled."""
        self.own_exit_by = math.inf
        """When the process is to be gone, as `time.monotonic()`; known from the beginning of `shutdown()` on."""
        self.own_holds_exit: Callable[[], bool] | None = None
        """Asked where a signal asks for a graceful exit: whether that is put off; who says so sees to `should_exit`."""
        self.own_asks_to_go: Callable[[], bool] | None = None
        """Asked where a limit is reached: whether somebody will ask for the exit once a replacement serves."""
        self.own_neighbours: Neighbours | None = None
        """Other processes that accept from the same sockets; None: nobody is known of."""
        self.own_reporter: Reporter | None = None
        """Says on the board how the server is; None: there is none."""
        self.own_metrics: MetricsThread | None = None
        """Tells the metrics of all workers; None: nobody is told."""
        self.own_uds_mode: int | None = None
        """The permissions of a unix socket that it binds."""
        self.own_runtime: Runtime
        self.own_acceptor: Acceptor
        self._own_should_exit = False
        self._own_force_exit = False
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._own_exit = asyncio.Event()
        self._own_quick = asyncio.Event()
        self._own_changed = asyncio.Event()
        self._own_lifespan: Lifespan | BroughtLifespan | None = None
        self._own_unshared = False
        self._own_retired = self._own_has_stopped = False
        self._own_lifetime: asyncio.TimerHandle | None = None
        self._own_bound: Bound | None = None
        self._own_memory: MemoryWatch | None = None
        self._own_tls: TlsContexts | None = None
        self._own_ticker: Ticker | None = None
        self._own_watch: LoopWatch | None = None
        self._own_slow: SlowRequests | None = None
        self._own_heap: HeapTrim
        # When the end was asked for, and whether by a signal.
        self._own_exit_time = 0.0
        self._own_signalled = False
        self.own_surroundings.made(self)

    # What others may ask for -------------------------------------------------------------------------

    @property
    def should_exit(self) -> bool:
        """Whether the server is to stop, or is stopping, gracefully."""
        return self._own_should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value and not self._own_should_exit:
            self._own_exit_time = time.monotonic()
            if self.own_reporter is not None:
                self.own_reporter.stops(self._own_signalled)
        self._own_should_exit = value
        if value:
            self._own_wake(self._own_exit)

    @property
    def force_exit(self) -> bool:
        """Whether the server is to stop at once; set before it has started, that its stop is to be such a one."""
        return self._own_force_exit

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._own_force_exit = value
        if value and self._own_loop is not None:
            self.should_exit = True
            self._own_wake(self._own_quick)
            self._own_wake(self._own_changed)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal handler, by which libraries find the server: the first stops gracefully, a SIGINT then at once."""
        if self.should_exit and sig == signal.SIGINT:
            self.own_captured.append(sig)
            self.force_exit = True
        else:
            self.own_exit_gracefully(sig)

    def own_exit_gracefully(self, sig: int) -> None:
        """A signal asks for a graceful stop, and if there is one already, for nothing more."""
        self.own_captured.append(sig)
        if self.should_exit or self.own_holds_exit is None or not self.own_holds_exit():
            self._own_signalled = True
            self.should_exit = True

    def _own_wake(self, event: asyncio.Event) -> None:
        # Called from signal handlers too, which run between any two steps of the loop.
        if self._own_loop is not None and not self._own_loop.is_closed():
            self._own_loop.call_soon_threadsafe(event.set)

    # All of it ---------------------------------------------------------------------------------------

    def run(self, sockets: Sequence[Any] | None = None) -> None:
        """Serve in an event loop of its own, which `Config.loop` names, until the end; see `serve()`."""
        factory = getattr(self.config, "get_loop_factory", None)
        run_in(loop_factory(self.config) if factory is None else factory(), self.serve(sockets=sockets))

    async def serve(self, sockets: Sequence[Any] | None = None) -> None:
        """Serve until `should_exit`, on `sockets` or on what the configuration says.

        In the main thread SIGINT and SIGTERM are handled meanwhile. Afterwards they are as they were, and one that
        came is raised again: who has started this server ends by it, as it would have without. `sockets` are bound
        stream sockets, or such as Gunicorn has; they are closed when the server stops.

        Raises `ConfigError` when the options can't be used, `BindError` when the address can't, `AppLoadError` for a
        name that leads to no application, `LifespanError` when its startup fails, and what its import raises. The three
        are said in the log, and each is a SystemExit with `STARTUP_FAILURE`, too, as with uvicorn.
        Cancelled, it stops at once.
        """
        self.own_surroundings.set_up_logging(self.config)
        with self.capture_signals():
            await self._serve(sockets)

    async def _serve(self, sockets: Sequence[Any] | None = None) -> None:
        """`serve()` that takes no signals."""
        self.lifespan = brought_by(self.config) or self.lifespan
        self.own_surroundings.serves()
        try:
            await self.startup(sockets=sockets)
            await self.main_loop()
            await self.shutdown(sockets=sockets)
            if self._own_ticker is not None:
                # A subclass has its own `shutdown()`.
                self._own_close()
            if self.started:
                self.own_surroundings.served()
        except asyncio.CancelledError:
            self.own_cancelled = True
            self.force_exit = True
            await self._own_last(self.shutdown(sockets=sockets))
            raise

    async def __aenter__(self) -> Server:
        self.own_surroundings.set_up_logging(self.config)
        await self.startup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is not None and not isinstance(exc, Exception):
            # The block was cancelled, or the process is to end.
            self.force_exit = True
        self.should_exit = True
        await self._own_last(self.shutdown())

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM, where this is the main thread; those that came are raised again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.own_captured.clear()
        with handled(self.own_surroundings.signal_handlers(self)):
            yield
        for number in reversed(self.own_captured):
            self.own_surroundings.raise_again(number)

    # Start -------------------------------------------------------------------------------------------

    async def startup(self, sockets: Sequence[Any] | None = None) -> None:
        """Bind, run the lifespan startup, then begin to accept.

        Raises as `serve()` does; then what was begun is ended again. `started` stays False where an exit is asked for
        meanwhile.
        """
        if sockets is not None and not sockets:
            raise ConfigError("Server.serve: sockets must be a list of one bound socket or more, or None")
        self._own_loop, before = asyncio.get_running_loop(), self._own_loop
        if before is not None:
            self._own_begin_anew(is_same_loop=before is self._own_loop)
        if self.should_exit:
            self._own_exit.set()
            return
        try:
            self.own_surroundings.begins(self)
            await self._own_start(self._own_bind() if sockets is None else sockets)
        except BaseException as exc:  # noqa: BLE001 - it is raised again
            self.started = False
            await self._own_undo()
            raise self.own_surroundings.failed(exc)  # noqa: B904 - it is the same, or has its cause
        if not self.started:
            await self._own_undo()

    def _own_begin_anew(self, *, is_same_loop: bool) -> None:
        """It has served before, in another event loop maybe: nothing is left of that, but what was asked for since."""
        if hasattr(self, "own_acceptor"):
            del self.own_acceptor
        self.servers.clear()
        for event in (self._own_exit, self._own_quick, self._own_changed):
            event.clear()
        if not is_same_loop:
            # In the same one its `main_loop()` may wait, while a caller shuts it down and starts it again.
            self._own_exit, self._own_quick, self._own_changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if not self.should_exit:
            self._own_exit_time = 0.0
        self._own_signalled = False
        self.started = self.own_cancelled = self._own_has_stopped = self._own_retired = self._own_unshared = False
        self._own_lifespan = self._own_bound = self._own_lifetime = None
        self._own_memory = self._own_tls = self._own_watch = self._own_slow = None

    def _own_bind(self) -> list[socket.socket]:
        config: Any = self.config
        host, port = getattr(config, "host", "127.0.0.1"), getattr(config, "port", 8000)
        uds, fd = getattr(config, "uds", None), getattr(config, "fd", None)
        self._own_bound = bind(host, port, uds, fd, self.own_uds_mode, ipv6_only=True)
        return self._own_bound.sockets

    async def _own_start(self, sockets: Sequence[Any]) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        its = app = self.own_surroundings.load(config)
        if type(self.lifespan) is LifespanOn:
            # A `load()` of its own may have named a class.
            self.lifespan = brought_by(config) or self.lifespan
        if config.log_level == "trace":
            app = log_messages(app)
        if config.threads is not None and config.threads > own_threads():
            # Fewer are meant for WSGI applications: what others give to threads is not to wait for them.
            from concurrent.futures import ThreadPoolExecutor

            loop.set_default_executor(ThreadPoolExecutor(config.threads, "asyncio"))
        if tls_is_on(config):
            from uvicorn_worker.tls.contexts import TlsContexts

            self._own_tls = TlsContexts(config, alpn_protocols(config), getattr(config, "ssl", None))
        factory_of = _protocols(config)
        lifespan = lifespan_of(config, app, self.lifespan, self.own_startup_level, self.own_shutdown_level)
        self._own_lifespan = lifespan
        await start_lifespan(lifespan, self._own_exit)
        if self._own_exit.is_set():
            return
        # Not earlier: applications change loggers.
        access = self.own_surroundings.access(config)
        # What the options don't ask for is not imported; what they do is since before the fork (needed.py).
        if config.log_slow_requests is not None or config.paths:
            from uvicorn_worker.server.slow_requests import watch_slow_requests

            self._own_slow = watch_slow_requests(config, Paths(config) if config.paths else None)
        describe_tls: TlsExtension | None = None
        if self._own_tls is not None:
            from uvicorn_worker.tls.extension import tls_extension as describe_tls
        if config.request_id_header is not None:
            from uvicorn_worker.interfaces.request_ids import with_request_ids

            app = with_request_ids(app, config.request_id_header)
        runtime = self.own_runtime = Runtime(
            config,
            app,
            loop,
            access=access if self._own_slow is None else self._own_slow.hook(access),
            state=lifespan.state,
            context=lifespan.context if config.lifespan_contextvars else None,
            limit_requests=self.limit_max_requests,
            on_limit=self._own_limit_reached,
            tls_extension=describe_tls,
        )
        offer_files(runtime, its, self.own_log)
        self.server_state._own_show(runtime)
        if config.limit_max_memory is not None:
            self._own_memory = MemoryWatch(config.limit_max_memory, self._own_memory_full)
            self._own_memory.start(loop)
        if config.worker_lifetime is not None:
            lifetime = config.worker_lifetime + random.uniform(0, config.worker_lifetime_jitter)  # noqa: S311 - spreads restarts, no secret
            self._own_lifetime = loop.call_later(lifetime, self._own_too_old)
        keep_freed_memory()
        self._own_heap = HeapTrim(self.own_log)
        self._own_ticker = Ticker(loop, runtime.count_tick, self._own_on_tick)
        shared, own = self.own_surroundings.divide(sockets)
        # Where nobody else would be there for new connections once ours are closed.
        self._own_unshared = bool(own) and not shared
        factory = factory_of(runtime, self.server_state)
        self.own_acceptor = Acceptor(runtime, factory, tls=self._own_tls, neighbours=self.own_neighbours)
        if self.own_neighbours is not None:
            self.own_neighbours.on_tick(0)
        for item in (*shared, *own):
            # Gunicorn's sockets have the real one inside.
            sock = getattr(item, "sock", item)
            try:
                listener = self.own_acceptor.listen(sock, own=item in own)
            except OSError as exc:
                raise BindError(f"{url_of(sock, secure=False)} can't be listened on: {exc.strerror or exc}") from None
            self.servers.append(
                Listening(sock, self._own_is_accepting, functools.partial(self.own_acceptor.leave, listener))
            )
        self.started = True
        self._own_begin_to_report()
        if self._own_bound is not None or self.own_surroundings.says_where_of(config):
            self._log_started_message([sock for listening in self.servers for sock in listening.sockets])
        self.own_surroundings.started(self)

    def _log_started_message(self, listeners: Sequence[socket.socket]) -> None:
        """What a subclass may say in other words; the name is uvicorn's."""
        for where in urls_of(listeners, getattr(self.config, "host", None), secure=self._own_tls is not None):
            self.own_log.info("Uvicorn running on %s (Press CTRL+C to quit)", where)

    def _own_begin_to_report(self) -> None:
        """What the board says, and what it could not say while the loop stands still."""
        reporter, runtime, config = self.own_reporter, self.own_runtime, self.config
        if reporter is not None:
            reporter.begin(runtime, self.own_acceptor)
        if reporter is not None or config.log_loop_lag is not None:
            on_silence = _nothing if reporter is None else reporter.on_silence
            self._own_watch = LoopWatch(
                runtime.loop, self.own_log, lambda: list(runtime.cycles), on_silence, config.log_loop_lag
            )

    def own_pause_threads(self) -> None:
        """This process is about to fork: it has no threads of the server until the next tick."""
        for thread in (self._own_watch, self.own_metrics):
            if thread is not None:
                thread.stop()

    def _own_is_accepting(self) -> bool:
        return self.started and not self.own_runtime.draining

    async def _own_undo(self) -> None:
        """A start has failed on its way: the application's shutdown runs where its startup did, and nothing is left."""
        acceptor: Acceptor | None = getattr(self, "own_acceptor", None)
        if acceptor is not None:
            acceptor.close()
            acceptor.abort()
        await self._own_end_lifespan(time.monotonic() + QUICK_SECONDS)
        self._own_close()

    # Serve -------------------------------------------------------------------------------------------

    async def main_loop(self) -> None:
        """What `serve()` does once it accepts; a subclass does something before or beside it."""
        has_own_flag = type(self).should_exit is not Server.should_exit
        if getattr(self.on_tick, "__func__", None) is _ON_TICK and not has_own_flag:
            await self._own_wait_for_exit()
            return
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % _TICKS
            await asyncio.sleep(_TICK)

    async def on_tick(self, counter: int) -> bool:
        """Whether the server is to stop; where a subclass has one of its own, that is asked ten times a second."""
        return self.should_exit

    async def _own_wait_for_exit(self) -> None:
        """Wait until `should_exit`, behind a `startup()` written anew that has not called this one, too."""
        self._own_loop = self._own_loop or asyncio.get_running_loop()
        if not self.should_exit:
            await self._own_exit.wait()

    def _own_on_tick(self) -> None:
        """Twice a second for the whole server: deadlines of connections and requests, the Date line."""
        runtime = self.own_runtime
        now = time.monotonic()
        runtime.on_tick(now)
        self.own_acceptor.on_tick(runtime.tick)
        self.own_surroundings.on_tick(self.config)
        if self._own_slow is not None:
            self._own_slow.on_tick(runtime.cycles, now)
        self._own_heap.on_tick(len(runtime.connections) + len(runtime.cycles))
        if self.own_neighbours is not None:
            self.own_neighbours.on_tick(self.own_acceptor.load)
        if self.own_reporter is not None and self._own_ticker is not None:
            self.own_reporter.on_tick(self._own_ticker.lag)
        for thread in (self._own_watch, self.own_metrics):
            if thread is not None:
                thread.start()
        if self._own_tls is not None:
            self._own_tls.on_tick(self.own_runtime.tick)

    def _own_limit_reached(self) -> None:
        self._own_retire(MAX_REQUESTS, logging.INFO, "Limit of %s reached", count(self.own_runtime.requests, "request"))

    def _own_memory_full(self, size: int) -> None:
        limit = self.config.limit_max_memory
        self._own_retire(
            MEMORY, logging.WARNING, "Using %d MiB of memory, more than limit_max_memory = %d", size, limit
        )

    def _own_too_old(self) -> None:
        self._own_retire(LIFETIME, logging.INFO, "Served for worker_lifetime = %g seconds", self.config.worker_lifetime)

    def _own_retire(self, cause: int, level: int, reason: str, *args: object) -> None:
        """Leave the place to another process: stop gracefully, or ask who sees to it that one serves before."""
        if self.should_exit or self._own_retired:
            return
        self._own_retired = True
        if self.own_reporter is not None:
            self.own_reporter.leaves(cause)
        if self.own_asks_to_go is not None and self.own_asks_to_go():
            self.own_log.log(level, "%s, serving on until a replacement has started.", reason % args)
        else:
            self.own_log.log(level, "%s, stopping gracefully.", reason % args)
            self.should_exit = True

    # Stop --------------------------------------------------------------------------------------------

    async def shutdown(self, sockets: Sequence[Any] | None = None) -> None:
        """Stop: gracefully within the configured time, or at once when `force_exit` is or becomes set.

        `sockets` are closed at the beginning: the server has duplicates of them, and as long as others are open
        clients would queue up in vain. A quick stop, too, runs the lifespan shutdown, for two seconds at most.
        """
        if not self.started or self._own_has_stopped:
            # The exit came during the start, which has ended what it had begun; or it has stopped before.
            self._own_close()
            return
        self.own_surroundings.stops(self)
        for sock in sockets or ():
            sock.close()
        schedule = self._own_schedule()
        self.own_exit_by = schedule.end
        try:
            drain = self._own_drain_of(schedule)
            if self._own_signalled:
                await drain.delay(self.config.timeout_drain_delay)
            running = drain.run(replaced_later=self._own_unshared and not self._own_signalled)
            await self._own_wait_for_drain(drain, running, schedule)
            await self._own_end_lifespan(schedule.lifespan)
            self._own_has_stopped = True
        finally:
            self._own_close()

    async def _own_last(self, shutdown: Awaitable[None]) -> None:
        """A shutdown that nobody comes back to: where it is cancelled, the lifespan is."""
        try:
            await shutdown
        finally:
            if self._own_lifespan is not None:
                self._own_lifespan.give_up()

    def _own_drain_of(self, schedule: Schedule) -> Drain:
        """What ends that is under way, within this time."""
        by_hand = signal.SIGINT in self.own_captured
        in_code = self.own_surroundings.stops_in_code and not (self._own_signalled or self._own_retired)
        where, changed = (self.own_runtime, self.own_acceptor), self._own_changed
        return Drain(*where, schedule, changed, lambda: self.force_exit, by_hand, in_code)

    def _own_schedule(self) -> Schedule:
        timeout, within = self.config.timeout_graceful_shutdown, self.own_surroundings.stop_within
        if within is not None:
            timeout = within if timeout is None else min(timeout, within)
        return Schedule(self._own_exit_time or time.monotonic(), timeout)

    async def _own_end_lifespan(self, end: float) -> None:
        if self._own_lifespan is not None:
            await stop_lifespan(self._own_lifespan, end, self._own_quick, is_quick=self.force_exit)

    def own_abandon(self) -> None:
        """The process ends without a stop: what the application's lifespan says of it is no error any more."""
        if self._own_lifespan is not None:
            self._own_lifespan.abandon()

    def _own_close(self) -> None:
        """Give back what is not the application's. A start that fails, or a cancelled stop, leaves connections."""
        self.own_pause_threads()
        acceptor: Acceptor | None = getattr(self, "own_acceptor", None)
        if acceptor is not None:
            acceptor.end()
            for connection in list(self.own_runtime.connections):
                connection.abort()
        if self.own_reporter is not None:
            self.own_reporter.end()
        if self._own_ticker is not None:
            self._own_ticker.stop()
            self._own_ticker = None
        if self._own_lifetime is not None:
            self._own_lifetime.cancel()
        if self._own_memory is not None:
            self._own_memory.stop()
        if self._own_bound is not None:
            self._own_bound.close()
        # A loop that ends here has no turn in which they would be written.
        close_lines(asyncio.get_running_loop())


# A program may put another in its place.
_ON_TICK = Server.on_tick


def _nothing() -> None:
    """There is no board to be told."""
