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
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from uvicorn_worker.board.ends import LIFETIME, MAX_REQUESTS, MEMORY
from uvicorn_worker.core.clock import Ticker
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import BindError, ConfigError, LifespanError
from uvicorn_worker.core.log import OwnLog, count
from uvicorn_worker.core.paths import Paths
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.logs.levels import log_messages
from uvicorn_worker.logs.line_writer import close_lines
from uvicorn_worker.server.acceptor import Acceptor
from uvicorn_worker.server.binding import Bound, bind, url_of
from uvicorn_worker.server.drain import Drain, Schedule
from uvicorn_worker.server.files_offered import offer_files
from uvicorn_worker.server.loading import loop_factory
from uvicorn_worker.server.loop_watch import LoopWatch
from uvicorn_worker.server.memory import HeapTrim, MemoryWatch, keep_freed_memory
from uvicorn_worker.server.neighbours import Neighbours
from uvicorn_worker.server.own_lifespan import LifespanOn, brought_by, lifespan_of
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

# What a lifespan shutdown has at least, even where no time is left.
_LEAST_SECONDS = 0.1
# How long one that was given up may take to end.
_CANCEL_SECONDS = 0.5
# And what it has at most in a quick stop.
_QUICK_SECONDS = 2.0
# How often `on_tick()` of a subclass is called, and how far it counts, as uvicorn does: a day.
_TICK = 0.1
_TICKS = 864_000


def own_threads() -> int:
    """How many threads asyncio's default executor has by itself (concurrent.futures.ThreadPoolExecutor)."""
    return min(32, (os.cpu_count() or 1) + 4)


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
        self.surroundings: Surroundings = getattr(config, "surroundings", None) or Surroundings()
        """What the server asks for its application, and tells of its start and end."""
        self.server_state = ServerState()
        self.servers: list[Listening] = []
        """What is listened on, once the server has started."""
        self.lifespan: Any = LifespanOn(config)
        """The application's, which shows its `state`; one of another class that is assigned is run in its place."""
        self.log = OwnLog()
        # At which levels it is said that the lifespan's startup and shutdown have begun and ended well.
        self.startup_level = self.shutdown_level = logging.INFO
        self.started = False
        self.cancelled = False
        """Whether `serve()` was cancelled."""
        self.exit_by = math.inf
        """When the process is to be gone, as `time.monotonic()`; known from the beginning of `shutdown()` on."""
        self.holds_exit: Callable[[], bool] | None = None
        """Asked where a signal asks for a graceful exit: whether that is put off; who says so sees to `should_exit`."""
        self.asks_to_go: Callable[[], bool] | None = None
        """Asked where a limit is reached: whether somebody will ask for the exit once a replacement serves."""
        self.neighbours: Neighbours | None = None
        """Other processes that accept from the same sockets; None: nobody is known of."""
        self.reporter: Reporter | None = None
        """Says on the board how the server is; None: there is none."""
        self.metrics: MetricsThread | None = None
        """Tells the metrics of all workers; None: nobody is told."""
        self.uds_mode: int | None = None
        """The permissions of a unix socket that it binds."""
        self.runtime: Runtime
        self.acceptor: Acceptor
        self._should_exit = False
        self._force_exit = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit = asyncio.Event()
        self._quick = asyncio.Event()
        self._changed = asyncio.Event()
        self._lifespan: Lifespan | BroughtLifespan | None = None
        self._only_own = False
        self._retired = False
        self._lifetime: asyncio.TimerHandle | None = None
        self._bound: Bound | None = None
        self._memory: MemoryWatch | None = None
        self._tls: TlsContexts | None = None
        self._ticker: Ticker | None = None
        self._watch: LoopWatch | None = None
        self._slow: SlowRequests | None = None
        self._heap: HeapTrim
        # When the end was asked for, and whether by a signal.
        self._exit_time = 0.0
        self._signalled = False
        self.surroundings.made(self)

    # What others may ask for -------------------------------------------------------------------------

    @property
    def should_exit(self) -> bool:
        """Whether the server is to stop, or is stopping, gracefully."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value and not self._should_exit:
            self._exit_time = time.monotonic()
            if self.reporter is not None:
                self.reporter.stops(self._signalled)
        self._should_exit = value
        if value:
            self._wake(self._exit)

    @property
    def force_exit(self) -> bool:
        """Whether the server is to stop at once; set before it has started, that its stop is to be such a one."""
        return self._force_exit

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._force_exit = value
        if value and self._loop is not None:
            self.should_exit = True
            self._wake(self._quick)
            self._wake(self._changed)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal handler, by which libraries find the server: the first stops gracefully, a SIGINT then at once."""
        if self.should_exit and sig == signal.SIGINT:
            self.captured.append(sig)
            self.force_exit = True
        else:
            self.exit_gracefully(sig)

    def exit_gracefully(self, sig: int) -> None:
        """A signal asks for a graceful stop, and if there is one already, for nothing more."""
        self.captured.append(sig)
        if self.should_exit or self.holds_exit is None or not self.holds_exit():
            self._signalled = True
            self.should_exit = True

    def _wake(self, event: asyncio.Event) -> None:
        # Called from signal handlers too, which run between any two steps of the loop.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)

    # All of it ---------------------------------------------------------------------------------------

    def run(self, sockets: Sequence[Any] | None = None) -> None:
        """Serve in an event loop of its own, which `Config.loop` names, until the end; see `serve()`."""
        factory = getattr(self.config, "get_loop_factory", None)
        run_in(loop_factory(self.config) if factory is None else factory(), self.serve(sockets))

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
        self.surroundings.set_up_logging(self.config)
        with self.capture_signals():
            await self._serve(sockets)

    async def _serve(self, sockets: Sequence[Any] | None = None) -> None:
        """`serve()` that takes no signals."""
        self.lifespan = brought_by(self.config) or self.lifespan
        try:
            await self.startup(sockets)
            await self.main_loop()
            await self.shutdown(sockets)
            if self._ticker is not None:
                # A subclass has its own `shutdown()`.
                self._close()
        except asyncio.CancelledError:
            self.cancelled = True
            self.force_exit = True
            await self.shutdown(sockets)
            raise

    async def __aenter__(self) -> Server:
        self.surroundings.set_up_logging(self.config)
        await self.startup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is not None and not isinstance(exc, Exception):
            # The block was cancelled, or the process is to end.
            self.force_exit = True
        self.should_exit = True
        await self.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM, where this is the main thread; those that came are raised again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.captured.clear()
        with handled(self.surroundings.signal_handlers(self)):
            yield
        for number in reversed(self.captured):
            self.surroundings.raise_again(number)

    # Start -------------------------------------------------------------------------------------------

    async def startup(self, sockets: Sequence[Any] | None = None) -> None:
        """Bind, run the lifespan startup, then begin to accept.

        Raises as `serve()` does; then what was begun is ended again. `started` stays False where an exit is asked for
        meanwhile.
        """
        if sockets is not None and not sockets:
            raise ConfigError("Server.serve: sockets must be a list of one bound socket or more, or None")
        self._loop, before = asyncio.get_running_loop(), self._loop
        if before is not None:
            self._begin_anew(is_same_loop=before is self._loop)
        if self._should_exit:
            self._exit.set()
            return
        try:
            self.surroundings.begins(self)
            await self._start(self._bind() if sockets is None else sockets)
        except BaseException as exc:  # noqa: BLE001 - it is raised again
            self.started = False
            await self._undo()
            raise self.surroundings.failed(exc)  # noqa: B904 - it is the same, or has its cause
        if not self.started:
            await self._undo()

    def _begin_anew(self, *, is_same_loop: bool) -> None:
        """It has served before, in another event loop maybe: nothing is left of that, but what was asked for since."""
        if hasattr(self, "acceptor"):
            del self.acceptor
        self.servers.clear()
        for event in (self._exit, self._quick, self._changed):
            event.clear()
        if not is_same_loop:
            # In the same one its `main_loop()` may wait, while a caller shuts it down and starts it again.
            self._exit, self._quick, self._changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if not self._should_exit:
            self._exit_time, self._signalled = 0.0, False
        self.started = self.cancelled = self._retired = self._only_own = False
        self._lifespan = self._bound = self._memory = self._tls = self._watch = self._slow = self._lifetime = None

    def _bind(self) -> list[socket.socket]:
        config: Any = self.config
        self._bound = bind(
            getattr(config, "host", "127.0.0.1"),
            getattr(config, "port", 8000),
            getattr(config, "uds", None),
            getattr(config, "fd", None),
            self.uds_mode,
        )
        return self._bound.sockets

    async def _start(self, sockets: Sequence[Any]) -> None:
        config, loop = self.config, asyncio.get_running_loop()
        its = app = self.surroundings.load(config)
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

            self._tls = TlsContexts(config, alpn_protocols(config), getattr(config, "ssl", None))
        check_protocols(config)
        lifespan = lifespan_of(config, app, self.lifespan, self.startup_level, self.shutdown_level)
        self._lifespan = lifespan
        await self._start_lifespan(lifespan)
        if self._exit.is_set():
            return
        # Not earlier: applications change loggers.
        access = self.surroundings.access(config)
        # What the options don't ask for is not imported; what they do is since before the fork (needed.py).
        if config.log_slow_requests is not None or config.paths:
            from uvicorn_worker.server.slow_requests import watch_slow_requests

            self._slow = watch_slow_requests(config, Paths(config) if config.paths else None)
        describe_tls: TlsExtension | None = None
        if self._tls is not None:
            from uvicorn_worker.tls.extension import tls_extension as describe_tls
        if config.request_id_header is not None:
            from uvicorn_worker.interfaces.request_ids import with_request_ids

            app = with_request_ids(app, config.request_id_header)
        runtime = self.runtime = Runtime(
            config,
            app,
            loop,
            access=access if self._slow is None else self._slow.hook(access),
            state=lifespan.state,
            context=lifespan.context if config.lifespan_contextvars else None,
            limit_requests=self.limit_max_requests,
            on_limit=self._limit_reached,
            tls_extension=describe_tls,
        )
        offer_files(runtime, its, self.log)
        self.server_state.show(runtime)
        if config.limit_max_memory is not None:
            self._memory = MemoryWatch(config.limit_max_memory, self._memory_full)
            self._memory.start(loop)
        if config.worker_lifetime is not None:
            lifetime = config.worker_lifetime + random.uniform(0, config.worker_lifetime_jitter)  # noqa: S311 - spreads restarts, no secret
            self._lifetime = loop.call_later(lifetime, self._too_old)
        keep_freed_memory()
        self._heap = HeapTrim(self.log)
        self._ticker = Ticker(loop, runtime.count_tick, self._on_tick)
        shared, own = self.surroundings.divide(sockets)
        # Where nobody else would be there for new connections once ours are closed.
        self._only_own = bool(own) and not shared
        self.acceptor = Acceptor(runtime, protocol_factory(runtime), tls=self._tls, neighbours=self.neighbours)
        if self.neighbours is not None:
            self.neighbours.on_tick(0)
        for item in (*shared, *own):
            # Gunicorn's sockets have the real one inside.
            sock = getattr(item, "sock", item)
            try:
                listener = self.acceptor.listen(sock, own=item in own)
            except OSError as exc:
                raise BindError(f"{url_of(sock, secure=False)} can't be listened on: {exc.strerror or exc}") from None
            self.servers.append(Listening(sock, self._is_accepting, functools.partial(self.acceptor.leave, listener)))
        self.started = True
        self._begin_to_report()
        if self._bound is not None or self.surroundings.says_where:
            self._log_started_message([sock for listening in self.servers for sock in listening.sockets])
        self.surroundings.started(self)

    def _log_started_message(self, listeners: Sequence[socket.socket]) -> None:
        """What a subclass may say in other words; the name is uvicorn's."""
        for sock in listeners:
            where = url_of(sock, secure=self._tls is not None)
            self.log.info("Uvicorn running on %s (Press CTRL+C to quit)", where)

    def _begin_to_report(self) -> None:
        """What the board says, and what it could not say while the loop stands still."""
        reporter, runtime, config = self.reporter, self.runtime, self.config
        if reporter is not None:
            reporter.begin(runtime, self.acceptor)
        if reporter is not None or config.log_loop_lag is not None:
            on_silence = _nothing if reporter is None else reporter.on_silence
            self._watch = LoopWatch(
                runtime.loop, self.log, lambda: list(runtime.cycles), on_silence, config.log_loop_lag
            )

    def pause_threads(self) -> None:
        """This process is about to fork: it has no threads of the server until the next tick."""
        for thread in (self._watch, self.metrics):
            if thread is not None:
                thread.stop()

    def _is_accepting(self) -> bool:
        return self.started and not self.runtime.draining

    async def _undo(self) -> None:
        """A start has failed on its way: the application's shutdown runs where its startup did, and nothing is left."""
        acceptor: Acceptor | None = getattr(self, "acceptor", None)
        if acceptor is not None:
            acceptor.close()
            acceptor.abort()
        if self._lifespan is not None:
            await self._shut_down_lifespan(self._lifespan, _QUICK_SECONDS)
        if acceptor is not None:
            for connection in list(self.runtime.connections):
                connection.abort()
        self._close()

    async def _start_lifespan(self, lifespan: Lifespan | BroughtLifespan) -> None:
        """The lifespan startup, which an exit that is asked for meanwhile cancels."""
        startup = asyncio.ensure_future(lifespan.startup())
        exiting = asyncio.ensure_future(self._exit.wait())
        try:
            await asyncio.wait([startup, exiting], return_when=asyncio.FIRST_COMPLETED)
            if not startup.done():
                startup.cancel()
                with contextlib.suppress(asyncio.CancelledError, LifespanError):
                    await startup
                return
            await startup
        finally:
            exiting.cancel()
            if not startup.done():
                # This start itself was cancelled.
                startup.cancel()
                await asyncio.wait([startup], timeout=_CANCEL_SECONDS)

    # Serve -------------------------------------------------------------------------------------------

    async def main_loop(self) -> None:
        """What `serve()` does once it accepts; a subclass does something before or beside it."""
        if getattr(self.on_tick, "__func__", None) is Server.on_tick:
            await self.wait_for_exit()
            return
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % _TICKS
            await asyncio.sleep(_TICK)

    async def on_tick(self, counter: int) -> bool:
        """Whether the server is to stop; where a subclass has one of its own, that is asked ten times a second."""
        return self.should_exit

    async def wait_for_exit(self) -> None:
        """Wait until `should_exit`."""
        await self._exit.wait()

    def _on_tick(self) -> None:
        """Twice a second for the whole server: deadlines of connections and requests, the Date line."""
        runtime = self.runtime
        now = time.monotonic()
        runtime.on_tick(now)
        self.acceptor.on_tick(runtime.tick)
        self.surroundings.on_tick(self.config)
        if self._slow is not None:
            self._slow.on_tick(runtime.cycles, now)
        self._heap.on_tick(len(runtime.connections) + len(runtime.cycles))
        if self.neighbours is not None:
            self.neighbours.on_tick(self.acceptor.load)
        if self.reporter is not None and self._ticker is not None:
            self.reporter.on_tick(self._ticker.lag)
        for thread in (self._watch, self.metrics):
            if thread is not None:
                thread.start()
        if self._tls is not None:
            self._tls.on_tick(self.runtime.tick)

    def _limit_reached(self) -> None:
        self._retire(MAX_REQUESTS, logging.INFO, "Limit of %s reached", count(self.runtime.requests, "request"))

    def _memory_full(self, size: int) -> None:
        limit = self.config.limit_max_memory
        self._retire(MEMORY, logging.WARNING, "Using %d MiB of memory, more than limit_max_memory = %d", size, limit)

    def _too_old(self) -> None:
        self._retire(LIFETIME, logging.INFO, "Served for worker_lifetime = %g seconds", self.config.worker_lifetime)

    def _retire(self, cause: int, level: int, reason: str, *args: object) -> None:
        """Leave the place to another process: stop gracefully, or ask who sees to it that one serves before."""
        if self._should_exit or self._retired:
            return
        self._retired = True
        if self.reporter is not None:
            self.reporter.leaves(cause)
        if self.asks_to_go is not None and self.asks_to_go():
            self.log.log(level, "%s, serving on until a replacement has started.", reason % args)
        else:
            self.log.log(level, "%s, stopping gracefully.", reason % args)
            self.should_exit = True

    # Stop --------------------------------------------------------------------------------------------

    async def shutdown(self, sockets: Sequence[Any] | None = None) -> None:
        """Stop: gracefully within the configured time, or at once when `force_exit` is or becomes set.

        `sockets` are closed at the beginning: the server has duplicates of them, and as long as others are open
        clients would queue up in vain. A quick stop, too, runs the lifespan shutdown, for two seconds at most.
        """
        if not self.started:
            # The exit came during the start, which has ended what it had begun.
            self._close()
            return
        self.surroundings.stops(self)
        for sock in sockets or ():
            sock.close()
        schedule = self._schedule()
        self.exit_by = schedule.end
        try:
            drain = self.drain_of(schedule)
            if self._signalled:
                await drain.delay(self.config.timeout_drain_delay)
            running = drain.run(replaced_later=self._only_own and not self._signalled)
            await self.wait_for_drain(running, schedule)
            if self._lifespan is not None:
                left = schedule.lifespan - time.monotonic()
                await self._shut_down_lifespan(self._lifespan, None if left == math.inf else max(left, _LEAST_SECONDS))
        finally:
            self._close()

    def drain_of(self, schedule: Schedule) -> Drain:
        """What ends that is under way, within this time."""
        by_hand = signal.SIGINT in self.captured
        in_code = self.surroundings.stops_in_code and not (self._signalled or self._retired)
        return Drain(self.runtime, self.acceptor, schedule, self._changed, lambda: self._force_exit, by_hand, in_code)

    def _schedule(self) -> Schedule:
        timeout, within = self.config.timeout_graceful_shutdown, self.surroundings.stop_within
        if within is not None:
            timeout = within if timeout is None else min(timeout, within)
        return Schedule(self._exit_time or time.monotonic(), timeout)

    async def _shut_down_lifespan(self, lifespan: Lifespan | BroughtLifespan, bound: float | None) -> None:
        """The lifespan shutdown, for `bound` seconds, or until a quick stop is asked for, or asked for again."""
        if self._force_exit:
            self._quick.clear()
            bound = _QUICK_SECONDS if bound is None else min(bound, _QUICK_SECONDS)
        work = asyncio.ensure_future(lifespan.shutdown(bound))
        quick = asyncio.ensure_future(self._quick.wait())
        # What does not heed being cancelled must not hold up the end.
        timeout = None if bound is None else bound + _CANCEL_SECONDS
        try:
            await asyncio.wait([work, quick], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in (work, quick):
                future.cancel()
            await asyncio.wait([work, quick], timeout=_LEAST_SECONDS)

    def abandon(self) -> None:
        """The process ends without a stop: what the application's lifespan says of it is no error any more."""
        if self._lifespan is not None:
            self._lifespan.abandon()

    def _close(self) -> None:
        """Give back what is not the application's."""
        self.pause_threads()
        acceptor: Acceptor | None = getattr(self, "acceptor", None)
        if acceptor is not None:
            acceptor.end()
        if self.reporter is not None:
            self.reporter.end()
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
        if self._lifetime is not None:
            self._lifetime.cancel()
        if self._memory is not None:
            self._memory.stop()
        if self._bound is not None:
            self._bound.close()
        # A loop that ends here has no turn in which they would be written.
        close_lines(asyncio.get_running_loop())


def _nothing() -> None:
    """There is no board to be told."""
