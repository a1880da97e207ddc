"""`Server`: start, serve, drain, stop.

    startup()          lifespan startup, then the listening sockets are read from
      │
    wait_for_exit()    until should_exit: a signal, the limit of requests, or the caller's word
      │
    shutdown()         drain ─► lifespan shutdown; `force_exit` leaves out all of it but the cutting

The stop has one deadline, `timeout_graceful_shutdown` after it was asked for; drain.py keeps it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.clock import Ticker
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError, LifespanError
from uvicorn_worker.core.runtime import AccessHook, Runtime
from uvicorn_worker.logs.access_log import standalone_access
from uvicorn_worker.logs.levels import log_messages, set_levels
from uvicorn_worker.logs.log_config import apply_log_config
from uvicorn_worker.server.acceptor import Acceptor
from uvicorn_worker.server.drain import Drain, Schedule
from uvicorn_worker.server.lifespan import Lifespan
from uvicorn_worker.server.loading import load_app
from uvicorn_worker.server.memory import HeapTrim, MemoryWatch
from uvicorn_worker.switching.dispatch import alpn_protocols, check_protocols, protocol_factory
from uvicorn_worker.tls.contexts import TlsContexts, tls_is_on
from uvicorn_worker.tls.extension import tls_extension

__all__ = ["Server"]

# What a lifespan shutdown has at least, even where no time is left.
_LEAST_SECONDS = 0.1
# How long one that was given up may take to end.
_CANCEL_SECONDS = 0.5


class Server:
    """Serves one application on sockets that the caller has bound.

    `await Server(Config(app=app)).serve(sockets=[...])` does all of it. Setting `should_exit` ends it
    gracefully, `force_exit` at once.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.log = logging.getLogger("uvicorn.error")
        # At which levels it is said that the lifespan's startup and shutdown have begun and ended well.
        self.startup_level = self.shutdown_level = logging.INFO
        self.started = False
        self.exit_by = math.inf
        """When the process is to be gone, as `time.monotonic()`; known from the beginning of `shutdown()` on."""
        self.holds_exit: Callable[[], bool] | None = None
        """Asked where a signal asks for a graceful exit: whether that is put off; who says so sees to `should_exit`."""
        self.asks_to_go: Callable[[], bool] | None = None
        """Asked where a limit is reached: whether somebody will ask for the exit once a replacement serves."""
        self.runtime: Runtime
        self.acceptor: Acceptor
        self._should_exit = False
        self._force_exit = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit = asyncio.Event()
        self._quick = asyncio.Event()
        self._changed = asyncio.Event()
        self._lifespan: Lifespan | None = None
        self._only_own = False
        self._retired = False
        self._lifetime: asyncio.TimerHandle | None = None
        self._memory: MemoryWatch | None = None
        self._tls: TlsContexts | None = None
        self._ticker: Ticker | None = None
        self._heap: HeapTrim
        # When the end was asked for, and whether by a signal.
        self._exit_time = 0.0
        self._signalled = False

    # What others may ask for -------------------------------------------------------------------------

    @property
    def should_exit(self) -> bool:
        """Whether the server is to stop, or is stopping, gracefully."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value and not self._should_exit:
            self._exit_time = time.monotonic()
        self._should_exit = value
        if value:
            self._wake(self._exit)

    @property
    def force_exit(self) -> bool:
        """Whether the server is to stop at once."""
        return self._force_exit

    @force_exit.setter
    def force_exit(self, value: bool) -> None:
        self._force_exit = value
        if value:
            self.should_exit = True
            self._wake(self._quick)
            self._wake(self._changed)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal handler: the first signal stops gracefully, a SIGINT after it at once.

        Libraries find the server by this being a bound method of an object with `should_exit`.
        """
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        elif self.should_exit or self.holds_exit is None or not self.holds_exit():
            self._signalled = True
            self.should_exit = True

    def _wake(self, event: asyncio.Event) -> None:
        # Called from signal handlers too, which run between any two steps of the loop.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)

    # All of it ---------------------------------------------------------------------------------------

    async def serve(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serve on bound stream sockets until `should_exit`; SIGINT and SIGTERM are handled meanwhile.

        Raises `ConfigError` when the TLS options can't be used, `AppLoadError` for a name that leads to no application,
        `LifespanError` when the application's startup fails, and what its import raises.
        """
        if not sockets:
            raise ConfigError("Server.serve: sockets must be a list of one bound socket or more")
        apply_log_config(self.config.log_config, self.config.use_colors)
        set_levels(self.config)
        with self._signals():
            try:
                await self.startup(load_app(self.config), sockets)
            except LifespanError as exc:
                self.log.error("The application can't be started: %s", exc, exc_info=exc.__cause__)
                raise
            await self.wait_for_exit()
            await self.shutdown()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    # Start -------------------------------------------------------------------------------------------

    async def startup(
        self,
        app: ASGIApp,
        sockets: Sequence[socket.socket],
        *,
        access: Callable[[], AccessHook | None] | None = None,
        own: Sequence[socket.socket] = (),
    ) -> None:
        """Run the lifespan startup, then begin to accept; raises `ConfigError` and `LifespanError`.

        `access` is asked for what is called for each response, once the application has started: applications
        change loggers. `own` are listening sockets, too, which no other process has (SO_REUSEPORT): what is in their
        queues would be lost with them.
        """
        config = self.config
        loop = self._loop = asyncio.get_running_loop()
        if self._should_exit:
            self._exit.set()
            return
        if config.log_level == "trace":
            app = log_messages(app)
        if config.threads is not None:
            loop.set_default_executor(ThreadPoolExecutor(config.threads, "asyncio"))
        if tls_is_on(config):
            self._tls = TlsContexts(config, alpn_protocols(config))
        check_protocols(config)
        self._lifespan = lifespan = Lifespan(config, app, self.startup_level, self.shutdown_level)
        await self._start_lifespan(lifespan)
        if self._exit.is_set():
            return
        runtime = self.runtime = Runtime(
            config,
            app,
            loop,
            access=standalone_access(config) if access is None else access(),
            state=lifespan.state,
            context=lifespan.context,
            limit_requests=_limit_requests(config),
            on_limit=self._limit_reached,
            tls_extension=tls_extension,
        )
        if config.limit_max_memory is not None:
            self._memory = MemoryWatch(config.limit_max_memory, self._memory_full)
            self._memory.start(loop)
        if config.worker_lifetime is not None:
            lifetime = config.worker_lifetime + random.uniform(0, config.worker_lifetime_jitter)  # noqa: S311 - as above
            self._lifetime = loop.call_later(lifetime, self._too_old)
        self._heap = HeapTrim(self.log)
        self._ticker = Ticker(loop, runtime.count_tick, self._on_tick)
        # Where nobody else would be there for new connections once ours are closed.
        self._only_own = bool(own) and not sockets
        self.acceptor = Acceptor(runtime, protocol_factory(runtime), tls=self._tls)
        for sock in sockets:
            self.acceptor.listen(sock)
        for sock in own:
            self.acceptor.listen(sock, own=True)
        self.started = True

    async def _start_lifespan(self, lifespan: Lifespan) -> None:
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

    # Serve -------------------------------------------------------------------------------------------

    async def wait_for_exit(self) -> None:
        """Wait until `should_exit`."""
        await self._exit.wait()

    def _on_tick(self) -> None:
        """Twice a second for the whole server: deadlines of connections and requests, the Date line."""
        runtime = self.runtime
        runtime.on_tick(time.monotonic())
        self._heap.on_tick(len(runtime.connections) + len(runtime.cycles))
        if self._tls is not None:
            self._tls.on_tick(self.runtime.tick)

    def _limit_reached(self) -> None:
        self._retire(logging.INFO, "Limit of %d requests reached", self.runtime.requests)

    def _memory_full(self, size: int) -> None:
        limit = self.config.limit_max_memory
        self._retire(logging.WARNING, "Using %d MiB of memory, more than limit_max_memory = %d", size, limit)

    def _too_old(self) -> None:
        self._retire(logging.INFO, "Served for worker_lifetime = %g seconds", self.config.worker_lifetime)

    def _retire(self, level: int, reason: str, *args: object) -> None:
        """Leave the place to another process: stop gracefully, or ask who sees to it that one serves before."""
        if self._should_exit or self._retired:
            return
        self._retired = True
        if self.asks_to_go is not None and self.asks_to_go():
            self.log.log(level, "%s, serving on until a replacement has started.", reason % args)
        else:
            self.log.log(level, "%s, stopping gracefully.", reason % args)
            self.should_exit = True

    # Stop --------------------------------------------------------------------------------------------

    async def shutdown(self, within: float | None = None) -> None:
        """Stop: gracefully within the configured time, or at once when `force_exit` is or becomes set.

        `within` seconds is a bound for this stop, where it is less than the configured one.
        """
        if not self.started:
            # The exit came during startup: nothing was accepted, and the lifespan was cancelled.
            self._stop_ticking()
            return
        config = self.config
        timeout = config.timeout_graceful_shutdown
        if within is not None:
            timeout = within if timeout is None else min(timeout, within)
        schedule = Schedule(self._exit_time or time.monotonic(), timeout)
        self.exit_by = schedule.end
        drain = Drain(self.runtime, self.acceptor, schedule, self._changed, lambda: self._force_exit)
        if self._signalled:
            await drain.delay(config.timeout_drain_delay)
        await drain.run(replaced_later=self._only_own and not self._signalled)
        if not self._force_exit and self._lifespan is not None:
            await self._shut_down_lifespan(self._lifespan, schedule)
        self._stop_ticking()

    async def _shut_down_lifespan(self, lifespan: Lifespan, schedule: Schedule) -> None:
        """The lifespan shutdown, in what is left of the time, or until a quick stop is asked for."""
        left = schedule.lifespan - time.monotonic()
        bound = None if left == math.inf else max(left, _LEAST_SECONDS)
        work = asyncio.ensure_future(lifespan.shutdown(bound))
        quick = asyncio.ensure_future(self._quick.wait())
        # What does not heed being cancelled must not hold up the end.
        timeout = None if bound is None else bound + _CANCEL_SECONDS
        await asyncio.wait([work, quick], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for future in (work, quick):
            future.cancel()
        await asyncio.wait([work, quick], timeout=_LEAST_SECONDS)

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
        if self._lifetime is not None:
            self._lifetime.cancel()
        if self._memory is not None:
            self._memory.stop()


def _limit_requests(config: Config) -> int | None:
    """After how many requests this server stops; None: no limit."""
    if config.limit_max_requests is None:
        return None
    return config.limit_max_requests + random.randint(0, config.limit_max_requests_jitter)  # noqa: S311 - spreads restarts, no secret
