"""`Server`: start, serve, drain, stop.

    startup()          lifespan startup, then the listening sockets are read from
      │
    wait_for_exit()    until should_exit: a signal, the limit of requests, or the caller's word
      │
    shutdown()         stop accepting ─► requests end, idle connections close ─► the rest is cancelled
                       ─► lifespan shutdown; `force_exit` leaves out all of it but the cutting

The stop has one deadline, `timeout_graceful_shutdown` after it began. Towards its end time is kept back,
first for applications that wait for http.disconnect, then for the lifespan shutdown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from uvicorn_worker.asgi import ASGIApp
from uvicorn_worker.clock import Ticker
from uvicorn_worker.config import Config
from uvicorn_worker.errors import ConfigError, LifespanError
from uvicorn_worker.runtime import AccessHook, Runtime, is_uvloop
from uvicorn_worker.server.access_log import standalone_access
from uvicorn_worker.server.handover import alpn_protocols, protocol_factory
from uvicorn_worker.server.lifespan import Lifespan
from uvicorn_worker.server.loading import load_app
from uvicorn_worker.server.logs import log_messages, set_levels
from uvicorn_worker.server.proxy_listener import ProxyListener
from uvicorn_worker.server.tls import TlsContexts, following_context, handshake_options, tls_is_on
from uvicorn_worker.server.tls_extension import tls_extension

__all__ = ["Server"]

# Of the time for a graceful stop this part is kept back at its end, and no more seconds than the limit:
# half of it for applications that were told of the disconnect, half for the lifespan shutdown.
_RESERVE_PART = 0.2
_RESERVE_LIMIT = 4.0

# How many turns of the loop asyncio takes from an accept to connection_made(), and some to spare.
_ACCEPT_TURNS = 5

# How long a quick stop waits for the cancelled tasks.
_QUICK_SECONDS = 0.5


class Server:
    """Serves one application on sockets that the caller has bound.

    `await Server(Config(app=app)).serve(sockets=[...])` does all of it. Setting `should_exit` ends it
    gracefully, `force_exit` at once.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.log = logging.getLogger("uvicorn.error")
        self.started = False
        self.runtime: Runtime
        self._should_exit = False
        self._force_exit = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit = asyncio.Event()
        self._quick = asyncio.Event()
        self._lifespan: Lifespan | None = None
        self._listeners: list[tuple[asyncio.AbstractServer | ProxyListener, socket.socket]] = []
        self._tls: TlsContexts | None = None
        self._ssl_context: ssl.SSLContext | None = None
        self._ticker: Ticker | None = None

    # What others may ask for -------------------------------------------------------------------------

    @property
    def should_exit(self) -> bool:
        """Whether the server is to stop, or is stopping, gracefully."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
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

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal handler: the first signal stops gracefully, a SIGINT after it at once.

        Libraries find the server by this being a bound method of an object with `should_exit`.
        """
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        else:
            self.should_exit = True

    def _wake(self, event: asyncio.Event) -> None:
        # Called from signal handlers too, which run between any two steps of the loop.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(event.set)

    # All of it ---------------------------------------------------------------------------------------

    async def serve(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serve on bound stream sockets until `should_exit`; SIGINT and SIGTERM are handled meanwhile.

        Raises `ConfigError` when the TLS options can't be used, `LifespanError` when the application's startup fails,
        and what its import raises.
        """
        if not sockets:
            raise ConfigError("Server.serve: sockets must be a list of one bound socket or more")
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
    ) -> None:
        """Run the lifespan startup, then begin to accept; raises `ConfigError` and `LifespanError`.

        `access` is asked for what is called for each response, once the application has started: applications
        change loggers.
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
            self._ssl_context = following_context(self._tls)
        runtime = self.runtime = Runtime(config, app, loop)
        runtime.tls_extension = tls_extension
        runtime.on_limit = self._limit_reached
        if config.limit_max_requests is not None:
            runtime.limit_requests = config.limit_max_requests + random.randint(0, config.limit_max_requests_jitter)  # noqa: S311 - spreads restarts, no secret
        factory = protocol_factory(runtime)
        self._lifespan = lifespan = Lifespan(config, app)
        await self._start_lifespan(lifespan)
        if self._exit.is_set():
            return
        runtime.state = lifespan.state
        runtime.use_context(lifespan.context)
        runtime.access = standalone_access(config) if access is None else access()
        self._ticker = Ticker(loop, runtime.count_tick, self._on_tick)
        for sock in sockets:
            await self._listen(sock, factory)
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

    async def _listen(self, sock: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        """Accept from a duplicate of `sock`, so that closing it leaves the caller's own open."""
        own = sock.dup()
        own.setblocking(False)
        if self.config.proxy_protocol != "off":
            self._listeners.append((ProxyListener(self.runtime, own, factory, self._ssl_context), own))
            return
        loop = asyncio.get_running_loop()
        is_unix = own.family == getattr(socket, "AF_UNIX", None)
        create: Callable[..., Awaitable[asyncio.AbstractServer]]
        create = loop.create_unix_server if is_unix else loop.create_server
        # uvloop and asyncio call listen() again, with a backlog of 100 if they are not told another.
        options: dict[str, Any] = {"sock": own, "backlog": self.config.backlog}
        if self._ssl_context is not None:
            options |= {"ssl": self._ssl_context, **handshake_options(self.config, loop)}
        if is_unix and (not is_uvloop(loop) or "cleanup_socket" in (create.__doc__ or "")):
            # The path of the socket is its owner's to remove, but from Python 3.13 on a server does it too.
            options |= {"cleanup_socket": False} if tuple(sys.version_info) >= (3, 13) else {}
        self._listeners.append((await create(factory, **options), own))

    # Serve -------------------------------------------------------------------------------------------

    async def wait_for_exit(self) -> None:
        """Wait until `should_exit`."""
        await self._exit.wait()

    def _on_tick(self) -> None:
        """Twice a second for the whole server: deadlines of connections and requests, the Date line."""
        self.runtime.on_tick(time.monotonic())
        if self._tls is not None:
            self._tls.on_tick(self.runtime.tick)

    def _limit_reached(self) -> None:
        if not self._should_exit:
            self.log.info("Limit of %d requests reached, stopping gracefully.", self.runtime.requests)
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
        timeout = self.config.timeout_graceful_shutdown
        if within is not None:
            timeout = within if timeout is None else min(timeout, within)
        deadline = None if timeout is None else time.monotonic() + timeout
        self.runtime.draining = True
        await self._stop_accepting()
        if not self._force_exit:
            await self._drain(deadline)
        await self._cut_what_is_left()
        if not self._force_exit and self._lifespan is not None:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.1)
            await self._until_quick(self._lifespan.shutdown(left))
        self._stop_ticking()

    async def _stop_accepting(self) -> None:
        """Close our listening sockets; what is in the accept queue goes to whoever else reads the socket."""
        loop = self.runtime.loop
        if not is_uvloop(loop):
            # asyncio makes the connection in a task of its own after the accept, and forgets the socket when the
            # server was closed in between: accept no more, and let what was accepted become a connection first.
            for _, sock in self._listeners:
                loop.remove_reader(sock)
            for _ in range(_ACCEPT_TURNS):
                await asyncio.sleep(0)
        for server, sock in self._listeners:
            server.close()
            sock.close()
        self._listeners.clear()

    async def _drain(self, deadline: float | None) -> None:
        """Wait for requests and connections to end; tell applications near the end of the time."""
        runtime = self.runtime
        begun = time.monotonic()
        idle_until = begun + self.config.timeout_drain_idle
        reserve = 0.0 if deadline is None else min((deadline - begun) * _RESERVE_PART, _RESERVE_LIMIT)
        told = False
        for connection in list(runtime.connections):
            connection.drain()
        if runtime.exchanges:
            self.log.info("Waiting for %d requests to finish.", len(runtime.exchanges))
        while not self._force_exit and (runtime.exchanges or runtime.connections):
            now = time.monotonic()
            if now >= idle_until:
                for connection in list(runtime.connections):
                    connection.close_if_idle()
            if deadline is not None:
                if now >= deadline - reserve / 2:
                    break
                if now >= deadline - reserve and not told:
                    told = True
                    for exchange in list(runtime.exchanges):
                        exchange.disconnect()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._quick.wait(), 0.05)

    async def _cut_what_is_left(self) -> None:
        """Cancel what still runs, and close every connection."""
        runtime = self.runtime
        exchanges = list(runtime.exchanges)
        tasks = [exchange.task for exchange in exchanges if exchange.task is not None]
        if exchanges and not self._force_exit:
            self.log.error("Cancelling %d requests that did not finish in time.", len(exchanges))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_QUICK_SECONDS)
        for exchange in exchanges:
            # A task that was cancelled before its first step has not run its own clean-up.
            exchange.abandon()
        await asyncio.sleep(0)
        for connection in list(runtime.connections):
            connection.abort()
        # One turn for connection_lost, one for what it wakes.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _until_quick(self, coroutine: Awaitable[None]) -> None:
        """Wait for `coroutine`, or until a quick stop is asked for."""
        work, quick = asyncio.ensure_future(coroutine), asyncio.ensure_future(self._quick.wait())
        await asyncio.wait([work, quick], return_when=asyncio.FIRST_COMPLETED)
        for future in (work, quick):
            future.cancel()
        await asyncio.wait([work, quick], timeout=_QUICK_SECONDS)

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
