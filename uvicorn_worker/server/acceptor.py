"""Accepting: from listening sockets to connections.

    accepting ◄─► full          at limit_connections, until a connection ends
        ▲
        └───────► exhausted     no file descriptor or memory for another connection; tried again, and as connections end
        │
    stop() ─► what is in the queues is accepted, the sockets are closed

The event loops have servers of their own, which do not fit: they accept all there is in one go, so that one worker
of several gets all of a burst; they can't be held at a limit; and where file descriptors run out, uvloop accepts
connections only to close them. Here nothing is accepted that can't be served, and nothing that was accepted is
forgotten: what can't be taken now waits in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import socket
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.address import Endpoints
from uvicorn_worker.core.clock import TICK
from uvicorn_worker.core.explained import explained
from uvicorn_worker.core.kernel import duplicate_of, is_known_loop, is_uvloop
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.logs.spell import Spell
from uvicorn_worker.proxies.trust import Trust
from uvicorn_worker.server.light import (
    TLS_READS,
    LightConnections,
    LightTransport,
    can_be_light,
    do_not_delay,
    name_of_connections,
)
from uvicorn_worker.server.neighbours import Neighbours
from uvicorn_worker.server.opening import Accepting, Opening, UnderWay, accepting
from uvicorn_worker.server.reuse_port import (
    SETTLE_SECONDS,
    kernel_migrates,
    refuse_handshakes,
    spread_by_hash,
    steer_to_first,
)

if TYPE_CHECKING:
    from uvicorn_worker.tls.contexts import TlsContexts
    from uvicorn_worker.tls.transport import TlsTransport

__all__ = ["Acceptor"]

# How many connections are accepted before the loop turns, so that requests which run go on in between.
MOST_PER_TURN = 64
# After so many turns in which as many came as the last time it is seen whether there are more.
FULL_TURNS = 4
# A worker that has more than its share of a shared queue looks again after a turn of the loop, in which others that are
# idle come, and requests of its own may end.
TURNS = 4
# After so many turns it leaves the queue alone for so long, or until it has no more than its share, and again for as
# long as the others come. Where nobody came it takes some, and each time twice as many.
REST_SECONDS = 0.002
FEWEST_PER_TURN = 1

# How long a TLS handshake may last where no `timeout_request_head` says so: asyncio's 60 s.
HANDSHAKE_TICKS = int(60 / TICK)

# How soon accepting is tried again after it failed; and how often where it must be done before the sockets close.
RETRY_SECONDS = 0.5
STOP_RETRIES = 10
STOP_RETRY_SECONDS = 0.05

# Faults of the one connection that would have been accepted (Linux passes pending network errors on, accept(2)).
_OF_THE_CONNECTION = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED", "ECONNRESET", "EPERM", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET",
        "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip


def _open_files() -> str:
    """The limit of file descriptors, as a part of a line; Windows has none that could be asked for."""
    # By what needs no import: where there are no descriptors, there can be none.
    return f"; the limit of open files is {os.sysconf('SC_OPEN_MAX')}" if hasattr(os, "sysconf") else ""


class Acceptor:
    """Accepts on duplicates of listening sockets, and makes a connection of each socket that it gets.

    `factory` makes the protocol of a connection, of the `Endpoints` that a proxy has told where it has.
    Of a socket that is `own` (SO_REUSEPORT) nobody else reads the queue: at the end it must be empty.
    """

    def __init__(
        self,
        runtime: Runtime,
        factory: Callable[..., asyncio.Protocol],
        *,
        tls: TlsContexts | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        config = runtime.config
        self.tls = tls
        self._tls_options: dict[str, Any] = {}
        # What makes TLS of a connection, where that is ours; and for how many ticks a handshake may last.
        self._secure: type[TlsTransport] | None = None
        self._handshake_ticks = runtime.request_head_ticks or HANDSHAKE_TICKS
        if tls is not None and is_known_loop(runtime.loop):
            from uvicorn_worker.tls.transport import TlsTransport

            self._secure = TlsTransport
        elif tls is not None:
            from uvicorn_worker.tls.contexts import handshake_options

            self._tls_options = handshake_options(config, runtime.loop)
        # Who may send a header of the PROXY protocol, where each connection begins with one.
        self._proxies = None
        if config.proxy_protocol != "off":
            from uvicorn_worker.proxies.proxy_protocol import receive_endpoints

            self._proxies = Trust(config.proxy_allow_ips)
            self._receive_endpoints = receive_endpoints
        self._runtime = runtime
        self._loop = runtime.loop
        self._log = OwnLog()
        self._factory = factory
        self._limit = config.limit_connections or sys.maxsize
        self._listeners: list[socket.socket] = []
        # Those of them that nobody else reads.
        self._own: set[socket.socket] = set()
        self._reading = False
        self._neighbours = neighbours
        # What ends the time in which the queue is left alone, while that lasts.
        self._resting: asyncio.TimerHandle | None = None
        # How many connections are accepted whatever others have to do, since they did not come for them; and how many
        # it were the last time.
        self._left_over = self._last_left_over = 0
        # How many turns it has waited for others to come, and what they had to do when they were left to come.
        self._turns = 0
        self._load_of_others = 0
        self._watching = False
        # How many connections are taken before the queue is seen to be empty.
        self._expected = MOST_PER_TURN
        # In how many turns it was not, since that was so.
        self._as_expected = 0
        self._exhausted = False
        self._said_full = Spell(
            runtime.loop,
            lambda _, seconds: (
                f"Below limit_connections (worker_connections) = {self._limit} again, after "
                f"{seconds:.1f} s: {self._held} connections are held."
            ),
            lambda: self.is_full and bool(self._listeners),
        )
        self._said_exhausted = Spell(
            runtime.loop,
            lambda _, seconds: f"Accepting connections again, after {seconds:.1f} s: {self._held} are held.",
            lambda: self._exhausted and bool(self._listeners),
        )
        self._retry: asyncio.TimerHandle | None = None
        # What accepts, on an event loop that does not say when a socket can be read.
        self._waiting: dict[socket.socket, asyncio.Task[None]] = {}
        # Sockets that are on their way to a connection: for a turn of the loop, or for a TLS handshake.
        self._connecting: set[UnderWay] = set()
        # Whether that is a turn of the loop where there is no TLS, which needs no task: on loops that wait for futures.
        self._at_once = is_known_loop(runtime.loop) and self._proxies is None
        # Those that need no transport, where there may be such; and of the listening sockets that they are accepted
        # from what each calls itself, None for those whose connections have different names.
        self._light: LightConnections | None = None
        if self._at_once and can_be_light(runtime.loop):
            self._light = LightConnections(runtime.loop)
        self._names: dict[socket.socket, Any] = {}
        # Those of them whose header of the PROXY protocol is read: a connection of the runtime stands for each.
        self._reading_headers: set[asyncio.Task[Any] | None] = set()

    @property
    def pending(self) -> int:
        """How many sockets were accepted and are no connections of the runtime yet."""
        return len(self._connecting) - len(self._reading_headers)

    @property
    def listeners(self) -> list[socket.socket]:
        """The sockets that are accepted from."""
        return list(self._listeners)

    def listen(self, sock: socket.socket, *, own: bool = False) -> socket.socket:
        """Accept from a duplicate of `sock`, which is given back, so that closing it leaves the caller's open."""
        listener = duplicate_of(sock)
        if is_uvloop(self._loop) or self._light is not None:
            listener = accepting(listener)
        listener.setblocking(False)
        try:
            # Again where it listens already: with the backlog of the configuration.
            listener.listen(self._runtime.config.backlog)
        except BaseException:
            listener.close()
            raise
        if self._light is not None and isinstance(listener, Accepting):
            self._names[listener] = name_of_connections(listener)
            do_not_delay(listener)
        self._listeners.append(listener)
        if own:
            self._own.add(listener)
        if self._reading:
            self._watch_queue(listener)
        else:
            self._resume()
        return listener

    # Accepting ---------------------------------------------------------------------------------------

    def _accept_some(self, listener: socket.socket) -> None:
        """Connections wait in the queue of `listener`."""
        neighbours = None if listener in self._own else self._neighbours
        connections, connecting, expected = self._runtime.connections, self._connecting, self._expected
        reading_headers = self._reading_headers
        for count in range(1, MOST_PER_TURN + 1):
            # As `is_full`, without the calls.
            if len(connections) + len(connecting) - len(reading_headers) >= self._limit:
                self._pause()
                self._watch()
                self._said_full.happens(
                    f"Accepting no connections for now: limit_connections (worker_connections) = {self._limit} are "
                    "held; others wait in the queue, or go to other workers. "
                    + explained("it-stops-answering-at-some-number-of-connections")
                )
                return
            if neighbours is not None and self._leaves_to(neighbours):
                self._turns += 1
                if self._turns > TURNS:
                    self._rest(neighbours)
                return
            self._turns = 0
            if not self._accept(listener):
                # The queue is empty: somebody came for what was left.
                self._left_over = self._last_left_over = 0
                self._as_expected, self._expected = 0, max(count - 1, 1)
                return
            if count == expected and not self._exhausted:
                # As many as the last time: the loop tells if there are more, and to ask costs as much as to accept.
                self._as_expected += 1
                if self._as_expected == FULL_TURNS:
                    self._as_expected, self._expected = 0, min(2 * expected, MOST_PER_TURN)
                return

    def _leaves_to(self, neighbours: Neighbours) -> bool:
        """Whether a connection of a shared queue is for a worker that has less to do."""
        if not neighbours.should_leave(self.load):
            self._last_left_over = 0
            return False
        if self._left_over:
            self._left_over -= 1
            return False
        return True

    def _rest(self, neighbours: Neighbours) -> None:
        """Leave what is in the queue to the other workers, if they have time for it."""
        self._turns = 0
        self._load_of_others = neighbours.load_of_others()
        self._pause()
        self._resting = self._loop.call_later(REST_SECONDS, self._rested, neighbours)
        self._watch()

    def _rested(self, neighbours: Neighbours) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if neighbours.load_of_others() > self._load_of_others:
            self._last_left_over = 0
        else:
            self._last_left_over = min(max(self._last_left_over * 2, FEWEST_PER_TURN), MOST_PER_TURN)
        self._left_over = self._last_left_over
        self._room()

    @property
    def load(self) -> int:
        """How many connections and running requests there are."""
        runtime = self._runtime
        return len(runtime.connections) + len(self._connecting) + len(runtime.cycles)

    @property
    def _held(self) -> int:
        return len(self._runtime.connections) + self.pending

    @property
    def is_full(self) -> bool:
        """Whether as many connections are held as may be."""
        return self._held >= self._limit

    def _accept(self, listener: socket.socket) -> bool:
        """Accept one connection; False where there is none, or no room for it."""
        light = self._light
        if light is not None and (listener not in self._names or not (light.worth or light.is_sampled())):
            light = None
        try:
            conn, address = listener.accept() if light is None else listener.accept_bare()  # type: ignore[attr-defined]
        except (BlockingIOError, InterruptedError):
            self._recovered()
            return False
        except OSError as exc:
            if exc.errno in _OF_THE_CONNECTION:
                return True
            self._exhaust(exc)
            return False
        if light is None:
            self._take(conn, address)
        else:
            self._take_light(light, conn, address, self._names[listener])
        return True

    def _take(self, conn: socket.socket, address: object) -> None:
        """Make a connection of a socket that was accepted."""
        self._runtime.tally.accepted += 1
        if not self._at_once:
            task = self._loop.create_task(self._connect(conn, address))
            self._connecting.add(task)
            task.add_done_callback(self._connected)
        elif self._secure is not None:
            secured = self._make_secure(self._secure, address)
            Opening(
                self._loop.connect_accepted_socket(lambda: secured, conn),
                lambda _, exc: None if exc is None else secured.cancel(exc),
            ).step()
        elif (protocol := self._make_protocol(conn, address)) is not None:
            opening = Opening(self._loop.connect_accepted_socket(lambda: protocol, conn), self._opened)
            self._connecting.add(opening)
            opening.step()

    def _take_light(self, light: LightConnections, conn: socket.socket, address: object, name: Any) -> None:
        """The same where no transport is needed yet."""
        self._runtime.tally.accepted += 1
        if name is None:
            name = conn.getsockname()
        if self._secure is not None:
            LightTransport(light, conn, address, name, TLS_READS).begin(self._make_secure(self._secure, address))
        elif (protocol := self._make_protocol(conn, address)) is not None:
            LightTransport(light, conn, address, name).begin(protocol)

    def _make_protocol(
        self, conn: socket.socket | None, address: object, *arguments: Endpoints
    ) -> asyncio.Protocol | None:
        """The protocol of a connection; None where that can't be made, which ends it."""
        try:
            return self._factory(*arguments)
        except Exception as exc:  # noqa: BLE001 - a protocol's mistake costs this connection, not the server
            self._log.error("The connection of %s could not be made", address, exc_info=exc)
            if conn is not None:
                conn.close()
            return None

    def _make_secure(self, secure: type[TlsTransport], address: object, *arguments: Endpoints) -> TlsTransport:
        """TLS on a connection, whose protocol is made when the handshake is over."""
        make_protocol = functools.partial(self._make_protocol, None, address, *arguments)
        secured = secure(self._loop, self.tls, make_protocol, functools.partial(self._secured, address))  # type: ignore[arg-type]
        secured.deadline = self._runtime.tick + self._handshake_ticks
        self._connecting.add(secured)
        return secured

    def _secured(self, address: object, secured: TlsTransport, exc: BaseException | None) -> None:
        if isinstance(exc, OSError):
            # Also the errors of a TLS handshake. Port scanners and health checks do this all day.
            self._log.debug("The connection of %s ended before it was made: %s", address, exc)
            exc = None
        self._opened(secured, exc)

    def on_tick(self, tick: int) -> None:
        """Twice a second: give up the TLS handshakes that last too long."""
        if self._secure is not None:
            for each in [each for each in self._connecting if getattr(each, "deadline", tick + 1) <= tick]:
                each.cancel()

    def _opened(self, opening: UnderWay, exc: BaseException | None) -> None:
        if isinstance(exc, OSError):
            self._log.debug("A connection ended before it was made: %s", exc)
        elif exc is not None:
            self._log.error("A connection could not be made", exc_info=exc)
        self._connected(opening)

    async def _connect(self, conn: socket.socket, address: object) -> None:
        arguments: tuple[Endpoints, ...] = ()
        if self._proxies is not None:
            conn.setblocking(False)
            task = asyncio.current_task()
            self._reading_headers.add(task)
            try:
                endpoints = await self._receive_endpoints(self._runtime, conn, self._proxies)
            finally:
                self._reading_headers.discard(task)
            if endpoints is None:
                return
            arguments = (endpoints,)
        options: dict[str, Any] = {}
        if self._secure is not None:
            secured = self._make_secure(self._secure, address, *arguments)
            try:
                await self._loop.connect_accepted_socket(lambda: secured, conn)
            except OSError as exc:
                secured.cancel(exc)
            return
        if self.tls is not None:
            # That of now: it is another one once the certificates were replaced.
            options = {"ssl": self.tls.context, **self._tls_options}
        protocol = self._make_protocol(conn, address, *arguments)
        if protocol is None:
            return
        # From here on the socket is the transport's.
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, conn, **options)
        except OSError as exc:
            self._log.debug("The connection of %s ended before it was made: %s", address, exc)

    def _connected(self, done: UnderWay) -> None:
        self._connecting.discard(done)
        if self._watching:
            self._room()

    # Pausing -----------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            for listener in self._listeners:
                if (waiting := self._waiting.pop(listener, None)) is not None:
                    waiting.cancel()
                else:
                    self._loop.remove_reader(listener.fileno())

    def _resume(self) -> None:
        if not self._reading:
            self._reading = True
            for listener in self._listeners:
                self._watch_queue(listener)

    def _watch_queue(self, listener: socket.socket) -> None:
        """Call `_accept_some()` when connections wait in the queue of `listener`."""
        try:
            self._loop.add_reader(listener.fileno(), self._accept_some, listener)
        except NotImplementedError:
            # The proactor of Windows tells of no queue: it accepts.
            self._waiting[listener] = self._loop.create_task(self._accept_one_by_one(listener))

    async def _accept_one_by_one(self, listener: socket.socket) -> None:
        while True:
            try:
                conn, address = await self._loop.sock_accept(listener)
            except OSError as exc:
                if exc.errno not in _OF_THE_CONNECTION:
                    self._exhaust(exc)
                    return
            else:
                self._take(conn, address)
                self._accept_some(listener)

    def _watch(self) -> None:
        """See when a connection ends; from the first time on that there is a reason to."""
        if not self._watching:
            self._watching = True
            self._runtime.watch_connections(self._room)

    def _room(self) -> None:
        """There may be room for another connection, or no more than its share, since one has ended."""
        if self._resting is not None:
            if self._neighbours is not None and not self._neighbours.should_leave(self.load):
                self._rested(self._neighbours)
        elif not self._reading and self._listeners and not self.is_full:
            self._resume()

    def _exhaust(self, exc: OSError) -> None:
        """There is no file descriptor, or no memory, for another connection."""
        self._pause()
        self._watch()
        if not self._exhausted:
            self._exhausted = True
            self._said_exhausted.happens(
                f"Accepting no connections for now: {exc.strerror} ({self._held} connections are held{_open_files()}) "
                + explained("it-stops-answering-at-some-number-of-connections"),
                logging.ERROR,
            )
        if self._retry is None:
            # What frees a descriptor may be a file of the application, of which nobody tells.
            self._retry = self._loop.call_later(RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        """Accept, or see that nobody waits any more."""
        self._retry = None
        self._room()
        if self._exhausted and self._reading:
            for listener in self._listeners:
                self._accept_some(listener)
        if self._exhausted and self._retry is None:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._try_again)

    def _recovered(self) -> None:
        """The queue is empty: nobody waits for a descriptor any more."""
        self._exhausted = False

    # The end -----------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Accept what is in the queues, at the limit too, and close the sockets."""
        shared = [listener for listener in self._listeners if listener not in self._own]
        if self._own and not kernel_migrates():
            if shared:
                # The first of a group is the one that the master made, before it forked.
                for listener in self._own:
                    steer_to_first(listener)
            if sum(map(refuse_handshakes, self._own)):
                self._limit = sys.maxsize
                self._room()
                await asyncio.sleep(SETTLE_SECONDS)
        # Our own first: as soon as they are gone, connections are spread over the group again.
        await self._empty(self._detach(self._own))
        if self._own:
            for listener in shared:
                spread_by_hash(listener)
        await self._empty(self._detach(self._listeners))
        self._be_silent()

    async def _empty(self, listeners: list[socket.socket]) -> None:
        """Accept what is in their queues, and close them."""
        for _ in range(STOP_RETRIES):
            listeners = [listener for listener in listeners if not self._emptied(listener)]
            if not listeners:
                break
            await asyncio.sleep(STOP_RETRY_SECONDS)
        for listener in listeners:
            self._log.error("Connections that waited to be accepted are left: there is no room for them.")
            listener.close()

    def leave(self, listener: socket.socket) -> None:
        """Close this one of the sockets, and go on with the others."""
        for each in self._detach([listener]):
            each.close()
        self._own.discard(listener)
        self._room()

    def close(self) -> None:
        """Close the sockets, whatever is in their queues."""
        self._be_silent()
        for listener in self._detach(self._listeners):
            listener.close()

    def _detach(self, these: Collection[socket.socket]) -> list[socket.socket]:
        """Accept no more by ourselves; gives those of the sockets that were listened on."""
        self._pause()
        listeners = [listener for listener in self._listeners if listener in these]
        self._listeners = [listener for listener in self._listeners if listener not in these]
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        return listeners

    def _emptied(self, listener: socket.socket) -> bool:
        """Take everything out of the queue and close the socket; False where there was no room for all of it."""
        # Clients go on connecting to a socket that is shared, so this needs an end.
        for _ in range(self._runtime.config.backlog + 1):
            if not self._accept(listener):
                break
        if self._exhausted:
            return False
        listener.close()
        return True

    def _be_silent(self) -> None:
        self._said_full.stop()
        self._said_exhausted.stop()

    def end(self) -> None:
        """Nothing is read any more: the server has ended."""
        if self._light is not None:
            self._light.close()

    @property
    def handshakes(self) -> Collection[UnderWay]:
        """The connections that are being made, for a turn of the loop or a TLS handshake: `cancel()` gives one up.

        Not those whose header of the PROXY protocol is read: connections of the runtime stand for them.
        """
        return self._connecting - self._reading_headers

    def abort(self) -> None:
        """Give up the handshakes that are under way."""
        for each in self.handshakes:
            each.cancel()
