"""Load generator for WebSockets: a fixed number of echoes in flight on each connection, for a number of seconds.

A process of its own, which `load.py` starts on the load's core. It has to be far cheaper than any server, so it works
on sockets and epoll alone, sends frames that were masked beforehand, and tells echoes by comparing with the bytes they
should be. Only where these differ (compressed echoes, fragments, pings) is what comes really parsed.

Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import socket
import sys
import time
from collections import defaultdict

from .websocket_wire import BINARY, CLOSE, PING, TEXT, Handshake, Message, Reader, close_websockets, pong_frame
from .wire import WrongAnswer

# Frames differ in their masking key only; the keys come again after so many bytes of frames.
_POOL_BYTES = 256 * 1024
_MOST_FRAMES = 1024
_RECEIVE_BYTES = 256 * 1024


class Connection:
    """One WebSocket: what of the current echo has come, and what could not be sent yet."""

    __slots__ = ("echoes", "offset", "pending", "probe", "probe_sent", "reader", "sock")

    def __init__(self, sock: socket.socket, in_flight: int, *, parse: bool) -> None:
        self.sock = sock
        self.offset = 0
        self.reader = Reader() if parse else None
        self.pending = b""
        self.echoes = 0
        # The message whose time is being taken, as the number of echoes there will be when it is back.
        self.probe = in_flight
        self.probe_sent = 0.0


class Echoes:
    """Keeps *in_flight* messages on their way on each of *sockets*, and counts those that are back."""

    def __init__(self, sockets: list[socket.socket], message: Message, in_flight: int) -> None:
        self.echoes = 0
        self.errors = {"read": 0, "write": 0, "wrong": 0, "silent": 0}
        self.latencies_us: defaultdict[int, int] = defaultdict(int)
        self._in_flight = in_flight
        self._payload = message.payload
        self._parse = message.deflate
        self._echo = message.echo()
        # At most this much can be on its way to us, from any offset in an echo on.
        self._expected = self._echo * (in_flight + 1)
        frame = message.frame()
        self._frame_length = len(frame)
        self._pool = min(_MOST_FRAMES, _POOL_BYTES // len(frame) + 1)
        self._next = 0
        # As many again as may be sent at once, so that each send is one slice.
        frames = [message.frame() for _ in range(self._pool)]
        self._frames = memoryview(b"".join(frames + (frames * in_flight)[:in_flight]))
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._epoll = select.epoll()
        self._connections = {sock.fileno(): Connection(sock, in_flight, parse=self._parse) for sock in sockets}

    def run(self, seconds: float) -> None:
        for fd, connection in self._connections.items():
            connection.sock.setblocking(False)
            self._epoll.register(fd, select.EPOLLIN)
        started = time.perf_counter()
        end = started + seconds
        for connection in self._connections.values():
            connection.probe_sent = started
            self._send(connection, self._in_flight)
        poll, connections, receive = self._epoll.poll, self._connections, self._receive
        while (left := end - time.perf_counter()) > 0 and connections:
            for fd, event in poll(left):
                if event & select.EPOLLOUT:
                    self._send_pending(connections[fd])
                if event & ~select.EPOLLOUT:
                    receive(fd, connections[fd])
        self.errors["silent"] = sum(not connection.echoes for connection in connections.values())

    def _receive(self, fd: int, connection: Connection) -> None:
        try:
            count = connection.sock.recv_into(self._buffer)
        except OSError:
            count = 0
        if not count:
            self._drop(fd, "read")
            return
        try:
            echoes = self._count(connection, self._buffer[:count])
        except WrongAnswer:
            self._drop(fd, "wrong")
            return
        if echoes:
            self.echoes += echoes
            connection.echoes += echoes
            if connection.echoes >= connection.probe:
                now = time.perf_counter()
                self.latencies_us[int((now - connection.probe_sent) * 1e6)] += 1
                connection.probe = connection.echoes + self._in_flight
                connection.probe_sent = now
            self._send(connection, echoes)

    def _count(self, connection: Connection, data: memoryview) -> int:
        """How many echoes *data* completes."""
        reader = connection.reader
        if reader is None:
            offset = connection.offset
            if self._expected.startswith(data, offset):
                echoes, connection.offset = divmod(offset + len(data), len(self._echo))
                return echoes
            reader = connection.reader = Reader()
            reader.feed(self._echo[:offset])
        echoes = 0
        for received in reader.feed(data):
            if received.opcode == PING:
                self._write(connection, pong_frame(received.payload))
            elif received.opcode == CLOSE:
                raise WrongAnswer("closed")
            elif received.opcode < CLOSE:
                if not received.compressed and received.payload != self._payload:
                    raise WrongAnswer("not the echo")
                echoes += 1
        return echoes

    def _send(self, connection: Connection, messages: int) -> None:
        start = self._next
        self._next = (start + messages) % self._pool
        length = self._frame_length
        self._write(connection, self._frames[start * length : (start + messages) * length])

    def _write(self, connection: Connection, data: bytes | memoryview) -> None:
        if connection.pending:
            connection.pending += data
            return
        sent = self._try_send(connection, data)
        if sent < len(data):
            connection.pending = bytes(data[sent:])
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _send_pending(self, connection: Connection) -> None:
        sent = self._try_send(connection, connection.pending)
        connection.pending = connection.pending[sent:]
        if not connection.pending:
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN)

    def _try_send(self, connection: Connection, data: bytes | memoryview) -> int:
        try:
            return connection.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            # Reading will fail, too, and drops the connection.
            self.errors["write"] += 1
            return len(data)

    def _drop(self, fd: int, error: str) -> None:
        self.errors[error] += 1
        self._epoll.unregister(fd)
        self._connections.pop(fd).sock.close()

    def close(self) -> None:
        """End all connections properly, so that the server is idle afterwards."""
        for connection in self._connections.values():
            connection.sock.settimeout(2)
            with contextlib.suppress(OSError):
                connection.sock.sendall(connection.pending)
        close_websockets([connection.sock for connection in self._connections.values()])

    def latency_us(self, share: float) -> int:
        """The time within which *share* of the measured messages came back."""
        wanted = share * sum(self.latencies_us.values())
        seen = 0
        for latency in sorted(self.latencies_us):
            seen += self.latencies_us[latency]
            if seen >= wanted:
                return latency
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Load generator for WebSockets; benchmarks.run uses it.")
    for name in ("port", "connections", "seconds", "size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--binary", action="store_true")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--core", type=int, help="run on this core only")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    message = Message(options.size, BINARY if options.binary else TEXT, options.deflate)
    try:
        handshakes = [Handshake(options.port, deflate=options.deflate) for _ in range(options.connections)]
        sockets = [handshake.finish() for handshake in handshakes]
    except (OSError, WrongAnswer) as error:
        sys.exit(f"handshake: {error}")
    load = Echoes(sockets, message, options.in_flight)
    # Nothing here makes cycles.
    gc.disable()
    started, used = time.perf_counter(), time.process_time()
    load.run(options.seconds)
    elapsed = time.perf_counter() - started
    busy = (time.process_time() - used) / elapsed
    load.close()
    result = {
        "requests": load.echoes,
        "seconds": elapsed,
        "errors": load.errors,
        "latency_p50_ms": load.latency_us(0.5) / 1e3,
        "latency_p99_ms": load.latency_us(0.99) / 1e3,
        "busy": busy,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
