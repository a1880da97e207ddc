"""Connections that end with their first answer, for which the event loop makes no transport.

    accepted ─► light ─► read, answered, closed         most, where each request comes on a connection of its own
                  │
                  └────► handed to a transport of the loop, for all that is more than that

A transport of the loop costs more than a small request does. Here a connection is its socket, and one epoll holds all
of them, which the loop watches as one descriptor. What came first is read and what is answered is written here. With
whatever comes next (a second request, a client that does not read, a body of more than one read) the loop makes a
transport of the socket, which takes the place of this one: protocols see no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys
from typing import Any, cast

from uvicorn_worker.core.kernel import is_known_loop
from uvicorn_worker.server.opening import Opening, whole

__all__ = ["TLS_READS", "LightConnections", "LightTransport", "can_be_light", "do_not_delay", "name_of_connections"]

EPOLLIN: int = getattr(select, "EPOLLIN", 0)
DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)

# How much is read at once: a request with all that browsers send; what has more to say gets a transport.
READ_SIZE = 16384
# How many reads a request takes that is alone on its connection. With TLS the handshake takes up to two, and the
# client's close_notify, which is waited for, takes another.
PLAIN_READS = 1
TLS_READS = 4
# How many connections are read from before the loop turns.
MOST_PER_TURN = 64
# Connections begin light as long as most of the last ones have ended so, and each of so many to see whether they do
# again: clients that keep theirs cost more that way, since they get a transport all the same.
WORTH = 16
SAMPLE = 32
# What a client sends is read right after the accept as long as it mostly is there already, and each of so many times.
EARLY = 8
EARLY_SAMPLE = 16
# How often it is looked for what comes, where epoll tells of what is gone and there is no descriptor for another one.
RENEW_SECONDS = 0.02
# What is written in larger pieces is not sent here: of most clients it would have to be copied for the transport.
LARGE_WRITE = 65536

# asyncio's own.
HIGH_WATER = 65536


def can_be_light(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether there is an epoll, and Python and the loop are those whose sockets are known."""
    return is_known_loop(loop) and hasattr(select, "epoll") and sys.implementation.name == "cpython"


def name_of_connections(listener: socket.socket) -> Any:
    """What connections that are accepted from a socket call their own end; None where each has to be asked."""
    name = listener.getsockname()
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return name
    # Those of a transparent proxy have the address that the client wanted.
    level, option = (socket.SOL_IP, 19) if listener.family == socket.AF_INET else (socket.IPPROTO_IPV6, 75)
    try:
        transparent = listener.getsockopt(level, option)
    except OSError:
        transparent = 0
    return None if transparent or name[0] in ("0.0.0.0", "::", "::ffff:0.0.0.0") else name


def do_not_delay(listener: socket.socket) -> None:
    """Small writes leave at once, as with transports of the loop; accepted sockets inherit it."""
    if listener.family in (socket.AF_INET, socket.AF_INET6):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class LightConnections:
    """Those of one server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll: Any = select.epoll()
        # Those that it tells of, by descriptor.
        self.watched: dict[int, LightTransport] = {}
        # Those that have ended, and whose protocols are told at the end of the turn.
        self._ended: list[LightTransport] = []
        # Above 0 all connections begin light.
        self.worth = WORTH
        self._skipped = 0
        # Those that were read from right after the accept, and may end before there is a reason to watch them.
        self._unwatched: list[LightTransport] = []
        self._early, self._waited = EARLY, 0
        loop.add_reader(self._epoll.fileno(), self._look)

    def is_sampled(self) -> bool:
        """Whether the next connection begins light although most have not ended so."""
        self._skipped = (self._skipped + 1) % SAMPLE
        return not self._skipped

    def add(self, light: LightTransport, descriptor: int) -> None:
        """Read what comes on a connection; it is new."""
        if not self._early:
            self._waited = (self._waited + 1) % EARLY_SAMPLE
            if self._waited:
                self.watch(light, descriptor)
                return
        if not light.read():
            self._early -= self._early > 0
            self.watch(light, descriptor)
            return
        if self._early < EARLY:
            self._early += 1
        if light.is_light():
            if not self._unwatched:
                self.loop.call_soon(self._let_answer)
            self._unwatched.append(light)

    def _let_answer(self) -> None:
        """Requests that came are begun in this turn, some of them behind this call."""
        unwatched, self._unwatched = self._unwatched, []
        self.loop.call_soon(self._watch_rest, unwatched)

    def _watch_rest(self, unwatched: list[LightTransport]) -> None:
        """What was not answered at once may be left by its client."""
        if not self._epoll.closed:
            for light in unwatched:
                if light.is_light():
                    self.watch(light, light.descriptor)

    def watch(self, light: LightTransport, descriptor: int) -> None:
        """Read what comes on a connection from now on."""
        self.watched[descriptor] = light
        self._epoll.register(descriptor, EPOLLIN)

    def let_go(self, descriptor: int) -> None:
        """Something else reads from now on."""
        if self.watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _look(self) -> None:
        """Some can be read."""
        watched, stale = self.watched, False
        for descriptor, _ in self._epoll.poll(0, MOST_PER_TURN):
            light = watched.get(descriptor)
            if light is None or not light.read():
                stale = True
        if stale and not self._epoll.closed:
            self._renew()

    def _renew(self) -> None:
        """A process that was forked past Python has sockets of ours, and epoll tells of what is closed here."""
        try:
            renewed = select.epoll()
        except OSError:
            # No descriptor is free: what comes is read from time to time, since the old one tells without end.
            self.loop.remove_reader(self._epoll.fileno())
            self.loop.call_later(RENEW_SECONDS, self._look_again)
            return
        old, self._epoll = self._epoll, renewed
        self.loop.remove_reader(old.fileno())
        old.close()
        for descriptor in self.watched:
            self._epoll.register(descriptor, EPOLLIN)
        self.loop.add_reader(self._epoll.fileno(), self._look)

    def _look_again(self) -> None:
        if not self._epoll.closed:
            self.loop.add_reader(self._epoll.fileno(), self._look)

    def ended(self, light: LightTransport) -> None:
        """Tell the protocol of a connection that it has ended, when this turn is over."""
        if not self._ended:
            self.loop.call_soon(self._tell)
        self._ended.append(light)

    def _tell(self) -> None:
        ended, self._ended = self._ended, []
        for light in ended:
            try:
                light.tell_end()
            except Exception as exc:  # noqa: BLE001 - that of one connection is none of the others'
                self.loop.call_exception_handler({"message": "protocol.connection_lost() failed.", "exception": exc})

    def was_too_little(self) -> None:
        """A connection needed a transport."""
        if self.worth:
            self.worth -= 1

    def close(self) -> None:
        """Read no more; for the end of the server."""
        if not self._epoll.closed:
            self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self.watched.clear()


class LightTransport(asyncio.Transport):
    """A connection as its protocol sees it, and what passes on what it is asked for once there is a transport."""

    __slots__ = (
        "_all",
        "_closing",
        "_eof",
        "_error",
        "_full",
        "_handing",
        "_limits",
        "_over",
        "_paused",
        "_peer",
        "_pending",
        "_protocol",
        "_reads",
        "_real",
        "_sock",
        "_sockname",
        "descriptor",
    )

    def __init__(
        self, of: LightConnections, sock: socket.socket, peer: object, sockname: object, reads: int = PLAIN_READS
    ) -> None:
        self._all = of
        self._sock = sock
        self.descriptor = sock.fileno()
        self._peer = peer
        self._sockname = sockname
        self._protocol: Any = None
        # The transport of the loop, and whether it is being made; what is to be written by it.
        self._real: asyncio.Transport | None = None
        self._handing = False
        self._pending: list[bytes] | None = None
        self._paused = self._closing = False
        # How many times it is read from before it is known to be one of those that need a transport.
        self._reads = reads
        # Whether we have ended our side, the client has ended its own, and the protocol was told to wait with writing.
        self._eof = self._over = self._full = False
        self._limits: tuple[int | None, int | None] | None = None
        self._error: Exception | None = None

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Serve the connection by a protocol."""
        self._protocol = protocol
        try:
            protocol.connection_made(self)
        except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
            self._fail("connection_made", exc)
        if not self._closing:
            self._all.add(self, self.descriptor)

    # Reading -----------------------------------------------------------------------------------------

    def read(self) -> bool:
        """Something has come, or the connection's end; False where there was nothing after all."""
        if self._paused:
            self._hand_over()
            return True
        try:
            data = self._sock.recv(READ_SIZE, DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            self._lose(exc)
            return True
        if not data:
            self._end_of_input()
            return True
        self._reads -= 1
        try:
            self._protocol.data_received(data)
        except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
            self._fail("data_received", exc)
        if (self._reads < 0 or len(data) == READ_SIZE) and not self._closing:
            self._hand_over()
        return True

    def _end_of_input(self) -> None:
        self._over = True
        self._all.let_go(self.descriptor)
        try:
            keep_open = self._protocol.eof_received()
        except Exception as exc:  # noqa: BLE001 - the connection's end, as with every transport
            self._fail("eof_received", exc)
            return
        if not keep_open:
            self.close()

    def is_light(self) -> bool:
        """Whether it is open, reads by itself, and its client has not ended."""
        return not (self._closing or self._handing or self._over)

    # Handing over ------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Let the loop make a transport, for what comes and for what could not be written."""
        if self._handing or self._closing:
            return
        self._handing = True
        of = self._all
        of.let_go(self.descriptor)
        of.was_too_little()
        sock = whole(self._sock)
        Opening(of.loop.connect_accepted_socket(lambda: _Receiver(self), sock), self._handed).step()

    def take(self, real: asyncio.Transport) -> None:
        """There is a transport: it does from now on what this one was asked for."""
        protocol, loop = self._protocol, self._all.loop
        self._real, self._protocol = real, None
        real.set_protocol(protocol)
        if not (self._paused or self._over):
            self._leave(protocol, real)
        if self._error is not None:
            real.abort()
            return
        if self._limits is not None:
            real.set_write_buffer_limits(*self._limits)
        if self._pending:
            for data in self._pending:
                # Each by itself: uvloop does not copy what may be large.
                real.write(data)
            self._pending = None
        if self._full and real.get_write_buffer_size() <= self._high_water:
            loop.call_soon(protocol.resume_writing)
        if self._eof:
            try:
                real.write_eof()
            except OSError:
                # The client has reset the connection meanwhile.
                real.abort()
                return
        if self._closing:
            real.close()
        elif self._paused or self._over:
            real.pause_reading()
            # uvloop does not read yet, so there was nothing to be paused; asyncio of Python 3.10 begins all the same.
            loop.call_soon(self._pause_real, protocol, real)

    def _pause_real(self, protocol: Any, real: asyncio.Transport) -> None:
        if not real.is_closing():
            if self._paused or self._over:
                real.resume_reading()
                real.pause_reading()
            self._leave(protocol, real)

    def _leave(self, protocol: Any, real: asyncio.Transport) -> None:
        """Let the protocol speak to the transport itself."""
        if getattr(protocol, "transport", None) is self:
            protocol.transport = real

    def _handed(self, _: Opening, exc: BaseException | None) -> None:
        if self._real is None:
            self._closing = False
            self._lose(exc if isinstance(exc, Exception) else None)

    # Ending ------------------------------------------------------------------------------------------

    def _fail(self, where: str, exc: Exception) -> None:
        context = {"message": f"Fatal error: protocol.{where}() call failed.", "exception": exc, "transport": self}
        self._all.loop.call_exception_handler({**context, "protocol": self._protocol})
        if self._real is not None or self._handing:
            self.abort()
        else:
            self._lose(exc)

    def _lose(self, exc: Exception | None) -> None:
        """The connection is over, and so is the socket."""
        if self._closing:
            return
        self._closing = True
        of = self._all
        # Once its socket is closed, epoll knows it no more.
        of.watched.pop(self.descriptor, None)
        if exc is None and not self._handing and of.worth < WORTH:
            # It has ended as it was.
            of.worth += 1
        self._error = exc
        self._sock.close()
        of.ended(self)

    def tell_end(self) -> None:
        """Tell the protocol; the two know each other no more."""
        protocol, self._protocol = self._protocol, None
        protocol.connection_lost(self._error)

    def close(self) -> None:
        """Close when all is written."""
        if self._real is not None:
            self._real.close()
        elif self._handing:
            self._closing = True
        else:
            self._lose(None)

    def abort(self) -> None:
        """Close at once."""
        if self._real is not None:
            self._real.abort()
        elif self._handing:
            self._closing, self._error = True, ConnectionAbortedError()
        else:
            self._lose(None)

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self._closing if self._real is None else self._real.is_closing()

    # Writing -----------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Write at once; what the client does not take is the loop's."""
        if self._handing or self._closing:
            self._write_later(data)
            return
        if len(data) > LARGE_WRITE:
            self._hand_over()
            self._write_later(data)
            return
        try:
            sent = self._sock.send(data, DONTWAIT)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            self._lose(exc)
            return
        if sent != len(data):
            self._hand_over()
            self._write_later(memoryview(data)[sent:])

    def _write_later(self, data: Any) -> None:
        if self._real is not None:
            self._real.write(data)
        elif not self._closing:
            if self._pending is None:
                self._pending = []
            self._pending.append(bytes(data))
            if not self._full and self.get_write_buffer_size() > self._high_water:
                self._full = True
                self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        """Write pieces as one, or leave them as they are where they are large."""
        pieces = list(list_of_data)
        if self._real is not None:
            self._real.writelines(pieces)
        elif sum(map(len, pieces)) <= LARGE_WRITE:
            self.write(b"".join(pieces))
        else:
            self._hand_over()
            for piece in pieces:
                self._write_later(piece)

    def write_eof(self) -> None:
        """End our side; raises `OSError` where the client has reset the connection."""
        if self._real is not None:
            self._real.write_eof()
        elif self._handing:
            self._eof = True
        elif not self._eof and not self._closing:
            self._sock.shutdown(socket.SHUT_WR)
            self._eof = True

    def can_write_eof(self) -> bool:
        """There is no TLS."""
        return True

    def get_write_buffer_size(self) -> int:
        """How much waits for the transport."""
        if self._real is not None:
            return self._real.get_write_buffer_size()
        return sum(map(len, self._pending)) if self._pending else 0

    @property
    def _high_water(self) -> int:
        high = self._limits and self._limits[0]
        return HIGH_WATER if high is None else high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told to wait with writing."""
        if self._real is not None:
            self._real.set_write_buffer_limits(high, low)
        else:
            self._limits = high, low

    # The rest ----------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the loop's transports know it."""
        if name == "peername":
            return self._peer
        if name == "sockname":
            return self._sockname
        if self._real is not None:
            return self._real.get_extra_info(name, default)
        if name != "socket":
            return default
        # Who asks takes it for one that does not block; it may be closed, and is none in a child that let it go.
        with contextlib.suppress(OSError):
            self._sock.setblocking(False)
        return self._sock

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol reads."""
        if self._real is not None:
            self._real.set_protocol(protocol)
        else:
            self._protocol = protocol
            if isinstance(protocol, asyncio.BufferedProtocol):
                self._hand_over()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who reads."""
        return cast("asyncio.BaseProtocol", self._protocol if self._real is None else self._real.get_protocol())

    def is_reading(self) -> bool:
        """Whether what comes is read."""
        return not (self._paused or self._closing) if self._real is None else self._real.is_reading()

    def pause_reading(self) -> None:
        """Leave what comes to the kernel."""
        self._paused = True
        if self._real is not None:
            self._real.pause_reading()

    def resume_reading(self) -> None:
        """Read what comes again."""
        self._paused = False
        if self._real is not None:
            self._real.resume_reading()


class _Receiver(asyncio.Protocol):
    """Is told by the loop that the transport of a connection is there."""

    __slots__ = ("_light",)

    def __init__(self, light: LightTransport) -> None:
        self._light = light

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give it to the connection."""
        self._light.take(cast("asyncio.Transport", transport))
