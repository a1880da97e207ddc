"""Connections without a transport of the loop: what clients and applications see is the same with one."""

from __future__ import annotations

import _socket
import asyncio
import errno
import os
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import answer, body, echo, hello, start
from tests.scripted import get, post
from tests.server.running import Running, until
from tests.sockets import Peer, Run, listen
from tests.websocket.scripted_socket import echo as websocket_echo
from tests.websocket.wire import handshake, text
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.server import light as light_module
from uvicorn_worker.server.light import (
    EARLY_SAMPLE,
    HIGH_WATER,
    READ_SIZE,
    SAMPLE,
    WORTH,
    LightConnections,
    LightTransport,
    can_be_light,
    do_not_delay,
    name_of_connections,
)
from uvicorn_worker.server.opening import whole

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is no epoll")
# Where connections may be light at all.
cpython = pytest.mark.skipif(sys.implementation.name != "cpython", reason="none are light on this Python")

CLOSE = "Connection: close"
LARGE = b"x" * 3_000_000

Talk = Callable[[Peer], Awaitable[bytes]]


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, LARGE)


async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    for _ in range(3):
        await asyncio.sleep(0)
        await send(body(b"piece", more=True))
    await send(body(b""))


async def lazy(scope: Scope, receive: Receive, send: Send) -> None:
    """Looks at nothing of a body before a while."""
    for _ in range(20):
        await asyncio.sleep(0)
    await echo(scope, receive, send)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("broken")


async def until_disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    await answer(send, b"seen")


async def tell_scope(scope: Scope, receive: Receive, send: Send) -> None:
    told = {key: value for key, value in scope.items() if key not in ("client", "server")}
    told["ends"] = [type(scope["client"]), scope["server"][0], type(scope["client"][1])]
    await answer(send, repr(told).encode())


async def ask_once(peer: Peer) -> bytes:
    peer.send(get("/", CLOSE))
    return await peer.rest()


async def ask_for_a_long_answer(peer: Peer) -> bytes:
    peer.send(get("/", CLOSE))
    return await peer.rest()


async def keep(peer: Peer) -> bytes:
    bodies = [(await peer.ask(get())).body for _ in range(3)]
    peer.send(get("/", CLOSE))
    return b"".join(bodies) + await peer.rest()


async def pipeline(peer: Peer) -> bytes:
    peer.send(get() + get() + get("/", CLOSE))
    return await peer.rest()


async def in_two_pieces(peer: Peer) -> bytes:
    data = get("/", CLOSE)
    peer.send(data[:20])
    await asyncio.sleep(0.02)
    peer.send(data[20:])
    return await peer.rest()


async def upload(peer: Peer) -> bytes:
    peer.send(post(LARGE, CLOSE))
    return await peer.rest()


async def upload_in_one_read(peer: Peer) -> bytes:
    peer.send(post(b"a few bytes", CLOSE))
    return await peer.rest()


async def exactly_one_read(peer: Peer) -> bytes:
    head = post(b"", CLOSE)
    peer.send(post(b"y" * (READ_SIZE - len(head) - 4), CLOSE))
    return await peer.rest()


async def half_close(peer: Peer) -> bytes:
    peer.send(get())
    peer.writer.write_eof()
    return await peer.rest()


async def half_close_later(peer: Peer) -> bytes:
    peer.send(get())
    await asyncio.sleep(0.05)
    peer.writer.write_eof()
    return await peer.rest()


async def say_nothing(peer: Peer) -> bytes:
    peer.writer.write_eof()
    return await peer.rest()


async def nonsense(peer: Peer) -> bytes:
    peer.send(b"NONSENSE\r\n\r\n")
    return await peer.rest()


async def old(peer: Peer) -> bytes:
    peer.send(get(version="1.0"))
    return await peer.rest()


async def go_on_after_the_last(peer: Peer) -> bytes:
    peer.send(get("/", CLOSE))
    data = await peer.reader.readuntil(b"\r\n\r\n")
    return data + await peer.rest()


async def websocket(peer: Peer) -> bytes:
    peer.send(handshake())
    head = await peer.reader.readuntil(b"\r\n\r\n")
    data = head.splitlines()[0]
    for _ in range(3):
        peer.send(text("hello"))
        data += await peer.reader.readexactly(7)
    return data


def undated(data: bytes) -> bytes:
    return b"\r\n".join(line for line in data.split(b"\r\n") if not line.startswith(b"date:"))


@cpython
@pytest.mark.parametrize(
    ("app", "talk"),
    [
        (hello, ask_once),
        (tell_scope, ask_once),
        (hello, keep),
        (hello, pipeline),
        (hello, in_two_pieces),
        (hello, half_close),
        (until_disconnect, half_close_later),
        (hello, say_nothing),
        (hello, nonsense),
        (hello, old),
        (hello, go_on_after_the_last),
        (echo, upload_in_one_read),
        (echo, exactly_one_read),
        (echo, upload),
        (lazy, upload),
        (hello, upload),
        (large, ask_for_a_long_answer),
        (pieces, ask_once),
        (pieces, pipeline),
        (pieces, old),
        (broken, ask_once),
        (websocket_echo, websocket),
    ],
)
@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("http2", ["off", "prior-knowledge"])
def test_both_ways_say_the_same(run: Run, app: ASGIApp, talk: Talk, http: str, http2: str) -> None:
    said: list[bytes] = []

    async def main(is_light: bool) -> None:
        options = {"http": http}
        if http2 != "off":
            options |= {"http2": "on", "http2_cleartext": http2}
        async with Running(app, lifespan="off", **options) as running:
            acceptor = running.server.own_acceptor
            assert acceptor._light is not None
            if not is_light:
                acceptor._light = None
            peer = await Peer.connect(running.sock)
            said.append(undated(await talk(peer)))
            await peer.close()
            await until(lambda: not running.server.own_runtime.connections)

    for is_light in (True, False):
        run(main(is_light))
    assert said[0] == said[1]


def test_no_transport_is_made_for_a_connection_that_ends_with_its_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Running(hello, lifespan="off") as running:
            monkeypatch.setattr(LightTransport, "_hand_over", lambda _: pytest.fail("a transport is made"))
            for _ in range(3):
                peer = await running.ask(get("/", CLOSE))
                assert (await peer.rest()).endswith(b"Hello, world!")
            assert running.server.own_runtime.tally.accepted == 3
            await until(lambda: not running.server.own_runtime.connections)

    run(main())


# What Python asks of the kernel by sockets and epoll; none of it is a call that only looks at what Python knows.
ASKS = {
    *("_accept", "accept", "recv", "recv_into", "send", "sendmsg", "shutdown", "close", "register", "unregister"),
    *("modify", "poll", "setblocking", "getsockname", "getpeername", "setsockopt", "getsockopt"),
}


@cpython
def test_what_a_connection_asks_of_the_kernel(run: Run) -> None:
    """An accept, a read, a write and a close; what a turn of the loop asks once is shared by many."""
    many = 32
    asked: Counter[str] = Counter()

    def note(_: object, event: str, called: object) -> None:
        owner = getattr(called, "__self__", None)
        if event == "c_call" and isinstance(owner, (socket.socket, _socket.socket, select.epoll)):
            name = getattr(called, "__name__", "")
            if name in ASKS:
                asked[name.lstrip("_")] += 1

    async def main() -> None:
        async with Running(hello, lifespan="off") as running:
            address = running.sock.getsockname()
            clients = [socket.create_connection(address) for _ in range(many)]
            for client in clients:
                client.send(get("/", CLOSE))
            sys.setprofile(note)
            try:
                while running.server.own_runtime.requests < many or running.server.own_runtime.connections:
                    await asyncio.sleep(0)
            finally:
                sys.setprofile(None)
            for client in clients:
                with client:
                    client.settimeout(20)
                    assert client.recv(1000).endswith(b"Hello, world!")

    run(main())
    assert all(asked[name] == many for name in ("recv", "send", "close")), asked
    assert asked["accept"] <= many + 2, asked
    assert asked.total() <= 4.5 * many, asked


@cpython
def test_a_request_that_is_there_already_is_read_with_the_accept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoll learns of none of them that is answered at once, and of those that are not."""
    watched: list[LightTransport] = []
    watch = LightConnections.watch

    def note(self: LightConnections, light: LightTransport, descriptor: int) -> None:
        watched.append(light)
        watch(self, light, descriptor)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/later":
            for _ in range(5):
                await asyncio.sleep(0)
        await answer(send)

    def ask(running: Running, *targets: str) -> list[socket.socket]:
        clients = [socket.create_connection(running.sock.getsockname()) for _ in targets]
        for client, target in zip(clients, targets, strict=True):
            client.send(get(target, CLOSE))
        return clients

    async def main() -> None:
        monkeypatch.setattr(LightConnections, "watch", note)
        async with Running(app, lifespan="off") as running:
            tally, light = running.server.own_runtime.tally, running.server.own_acceptor._light
            assert light is not None
            clients = ask(running, *["/"] * 5)
            await until(lambda: tally.accepted == 5)
            assert watched == []
            clients += ask(running, "/", "/later", "/")
            await until(lambda: tally.accepted == 8)
            await until(lambda: watched)
            # Where it mostly has not come yet it is not looked for, but for each of so many.
            light._early = 0
            clients += ask(running, *["/"] * EARLY_SAMPLE)
            await until(lambda: tally.accepted == 8 + EARLY_SAMPLE)
            await until(lambda: not running.server.own_runtime.connections)
            assert len(watched) == 1 + EARLY_SAMPLE - 1
            assert light._early == 1
            for client in clients:
                with client:
                    client.settimeout(20)
                    assert client.recv(1000).endswith(b"Hello, world!")

    run(main())


@cpython
def test_clients_that_keep_their_connections_get_transports_soon(run: Run) -> None:
    async def main() -> None:
        async with Running(hello, lifespan="off") as running:
            light = running.server.own_acceptor._light
            assert light is not None

            async def ask_twice() -> None:
                peer = await Peer.connect(running.sock)
                for _ in range(2):
                    assert (await peer.ask(get())).status == 200
                await peer.close()

            for _ in range(WORTH):
                await ask_twice()
            assert light.worth == 0
            assert [light.is_sampled() for _ in range(SAMPLE)] == [*[False] * (SAMPLE - 1), True]
            await ask_twice()
            # One of those that are looked at ends with its answer.
            light._skipped = SAMPLE - 1
            assert (await (await running.ask(get("/", CLOSE))).rest()).endswith(b"Hello, world!")
            assert light.worth == 1

    run(main())


def test_a_client_that_leaves_is_told_of(run: Run) -> None:
    """By a reset, which epoll tells while a request runs."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        gate.opened.set()
        seen.append((await receive())["type"])

    gate = _Opened()

    async def main() -> None:
        async with Running(app, lifespan="off") as running:
            peer = await running.ask(get("/", CLOSE))
            await asyncio.wait_for(gate.opened.wait(), 20)
            peer.reset()
            await until(lambda: seen)
            await until(lambda: not running.server.own_runtime.connections)

    run(main())
    assert seen == ["http.disconnect"]


class _Opened:
    def __init__(self) -> None:
        self.opened = asyncio.Event()


def test_at_a_stop_the_answer_is_waited_for(run: Run) -> None:
    opened = _Opened()
    go_on = _Opened()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        opened.opened.set()
        await go_on.opened.wait()
        await answer(send)

    async def main() -> None:
        async with Running(app, lifespan="off") as running:
            peer = await running.ask(get("/", CLOSE))
            silent = await Peer.connect(running.sock)
            await asyncio.wait_for(opened.opened.wait(), 20)
            running.server.should_exit = True
            await asyncio.sleep(0.05)
            go_on.opened.set()
            assert (await peer.rest()).endswith(b"Hello, world!")
            assert await silent.rest() == b""
            await running.stopped()

    run(main())


def test_a_silent_client_is_closed_in_time(run: Run) -> None:
    async def main() -> None:
        async with Running(hello, lifespan="off", timeout_keep_alive=0.5, timeout_request_head=0.5) as running:
            silent = await Peer.connect(running.sock)
            await silent.rest()
            await until(lambda: not running.server.own_runtime.connections)

    run(main())


class Recorder(asyncio.Protocol):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.transport: Any = None
        self.keep_open = True
        self.fails: str = ""

    def _tell(self, name: str, *what: Any) -> None:
        self.told.append((name, *what))
        if self.fails == name:
            raise RuntimeError(name)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._tell("made")

    def data_received(self, data: bytes) -> None:
        self._tell("data", data)

    def eof_received(self) -> bool:
        self._tell("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell("lost", type(exc))

    def pause_writing(self) -> None:
        self._tell("pause")

    def resume_writing(self) -> None:
        self._tell("resume")

    def names(self) -> list[str]:
        return [told[0] for told in self.told]


class Pair:
    """A light connection of its own, and its client."""

    def __init__(self, fails: str = "") -> None:
        self.errors: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.all = LightConnections(loop)
        ours, self.client = socket.socketpair()
        bare = whole(ours)
        self.protocol = Recorder()
        self.protocol.fails = fails
        self.light = LightTransport(self.all, bare, "peer", "name")
        self.light.begin(self.protocol)

    async def told(self, name: str) -> None:
        await until(lambda: name in self.protocol.names())

    async def __aenter__(self) -> Pair:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.light.abort()
        await self.told("lost")
        self.client.close()
        self.all.close()
        self.all.close()


async def ended(client: socket.socket) -> bool:
    """Whether nothing but the end comes."""
    client.setblocking(False)
    while True:
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            await asyncio.sleep(0.001)


async def drink(client: socket.socket, size: int) -> bytes:
    client.setblocking(False)
    data = bytearray()
    while len(data) < size:
        try:
            data += client.recv(size)
        except BlockingIOError:
            await asyncio.sleep(0.001)
    return bytes(data)


def test_what_a_transport_is_asked_for_before_and_after(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            light, protocol = pair.light, pair.protocol
            for _ in range(2):
                assert light.get_extra_info("peername") == "peer"
                assert light.get_extra_info("sockname") == "name"
                assert light.get_extra_info("sslcontext", 1) == 1 or light.get_extra_info("sslcontext") is None
                assert light.get_extra_info("socket").fileno() > 0
                assert light.can_write_eof()
                assert not light.is_closing()
                assert light.get_protocol() is protocol
                assert light.get_write_buffer_size() == 0
                assert light.is_reading()
                light.pause_reading()
                assert not light.is_reading()
                light.resume_reading()
                light.set_write_buffer_limits(1000, 100)
                light.write(b"a")
                light.writelines([b"b", b"c"])
                assert await drink(pair.client, 3) == b"abc"
                pair.client.send(b"d")
                await until(lambda: protocol.told[-1:] == [("data", b"d")])
                protocol.told.clear()
                if protocol.transport is light:
                    light._hand_over()
                    light._hand_over()
                    light.write(b"e")
                    await until(lambda: protocol.transport is not light)
                    assert await drink(pair.client, 1) == b"e"
            light.write_eof()
            assert await ended(pair.client)
            light.close()
            assert light.is_closing()

    run(main())


def test_another_protocol_takes_over(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.light.set_protocol(second := Recorder())
            assert pair.light.get_protocol() is second
            pair.client.send(b"x")
            await until(lambda: second.told == [("data", b"x")])
            pair.client.send(b"y")
            await until(lambda: second.names() == ["data", "data"])
            await until(lambda: pair.light._real is not None)
            pair.light.set_protocol(pair.protocol)
            pair.client.send(b"z")
            await pair.told("data")

    run(main())


def test_one_that_reads_into_a_buffer_has_a_transport(run: Run) -> None:
    class Buffered(asyncio.BufferedProtocol):
        buffer = bytearray(10)
        sizes: list[int] = []  # noqa: RUF012
        ended = False

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.sizes.append(nbytes)

        def connection_lost(self, exc: Exception | None) -> None:
            self.ended = True

    async def main() -> None:
        pair = Pair()
        pair.light.set_protocol(protocol := Buffered())
        pair.client.send(b"xyz")
        await until(lambda: protocol.sizes == [3])
        pair.light.abort()
        await until(lambda: protocol.ended)
        protocol.sizes.clear()
        pair.client.close()
        pair.all.close()

    run(main())


def test_a_client_that_does_not_read_is_waited_for(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            light, protocol = pair.light, pair.protocol
            light.writelines([LARGE[:100], LARGE[100:]])
            assert protocol.names() == ["made", "pause"]
            light.write(b"more")
            light.write_eof()
            await until(lambda: light._real is not None)
            assert light.get_write_buffer_size() > HIGH_WATER
            assert await drink(pair.client, len(LARGE) + 4) == LARGE + b"more"
            await pair.told("resume")
            assert protocol.names().count("resume") == 1
            await until(lambda: not light.get_write_buffer_size())

    run(main())


def test_what_was_taken_in_part_is_written_once(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pieces = [bytes([number]) * HIGH_WATER for number in range(40)]
            for piece in pieces:
                pair.light.write(piece)
            assert await drink(pair.client, 40 * HIGH_WATER) == b"".join(pieces)
            await until(lambda: pair.light._real is not None)

    run(main())


def test_what_was_written_meanwhile_leaves_before_the_end(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.light._hand_over()
            pair.light.write(b"x" * (HIGH_WATER + 1))
            assert pair.protocol.names() == ["made", "pause"]
            pair.light.close()
            assert pair.light.is_closing()
            pair.light.write(b"too late")
            assert await drink(pair.client, HIGH_WATER + 1) == b"x" * (HIGH_WATER + 1)
            await pair.told("lost")
            assert await ended(pair.client)

    run(main())


@pytest.mark.parametrize("handing", [False, True])
def test_an_abort_is_the_end_at_once(run: Run, handing: bool) -> None:
    async def main() -> None:
        async with Pair() as pair:
            if handing:
                pair.light._hand_over()
                pair.light.write(b"x")
            pair.light.abort()
            pair.light.abort()
            assert pair.protocol.names() == ["made"]
            await pair.told("lost")
            assert await ended(pair.client)

    run(main())


def test_nothing_is_read_while_the_protocol_waits(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.light.pause_reading()
            pair.client.send(b"x")
            await until(lambda: pair.light._real is not None)
            for _ in range(5):
                await asyncio.sleep(0)
            pair.client.send(b"y")
            for _ in range(5):
                await asyncio.sleep(0)
            assert b"y" not in b"".join(told[1] for told in pair.protocol.told if told[0] == "data")
            pair.light.resume_reading()
            await until(lambda: b"".join(told[1] for told in pair.protocol.told if told[0] == "data") == b"xy")

    run(main())


def test_who_goes_on_reading_in_the_meantime_reads(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.light.pause_reading()
            pair.client.send(b"x")
            await until(lambda: pair.light._real is not None)
            pair.protocol.transport.resume_reading()
            for _ in range(5):
                await asyncio.sleep(0)
            assert pair.protocol.transport is pair.light._real
            pair.client.send(b"y")
            await until(lambda: b"".join(told[1] for told in pair.protocol.told if told[0] == "data") == b"xy")

    run(main())


@pytest.mark.parametrize("keep_open", [True, False])
def test_the_client_has_ended_its_side(run: Run, keep_open: bool) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.protocol.keep_open = keep_open
            pair.client.shutdown(socket.SHUT_WR)
            await pair.told("eof")
            if not keep_open:
                await pair.told("lost")
                return
            pair.light.write(LARGE)
            assert await drink(pair.client, len(LARGE)) == LARGE
            await asyncio.sleep(0.01)
            assert pair.protocol.names().count("eof") <= 2

    run(main())


@pytest.mark.parametrize("name", ["made", "data", "eof", "lost"])
def test_what_a_protocol_raises_is_told_and_ends_the_connection(run: Run, name: str) -> None:
    async def main() -> None:
        async with Pair(fails=name) as pair:
            if name == "eof":
                pair.client.shutdown(socket.SHUT_WR)
            elif name == "data":
                pair.client.send(b"x")
            elif name == "lost":
                pair.light.abort()
            await pair.told("lost")
            assert [str(error["exception"]) for error in pair.errors] == [name]

    run(main())


def test_what_is_raised_with_a_write_that_is_not_taken(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:

            def fail(data: bytes) -> None:
                pair.light.write(LARGE)
                raise RuntimeError("data")

            pair.protocol.data_received = fail  # type: ignore[method-assign]
            pair.client.send(b"x")
            await pair.told("lost")
            assert len(pair.errors) == 1

    run(main())


def test_a_client_that_has_reset_the_connection(run: Run) -> None:
    async def main() -> None:
        with listen() as listener:
            listener.listen()
            client = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        all_of = LightConnections(asyncio.get_running_loop())
        light = LightTransport(all_of, ours, None, None)
        light.begin(protocol := Recorder())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await until(lambda: protocol.told[-1] == ("lost", ConnectionResetError))
        all_of.close()

    run(main())


def test_a_client_that_resets_before_our_side_is_ended(run: Run) -> None:
    """While the loop makes a transport: that is its end, and nobody else's trouble."""

    async def main() -> None:
        with listen() as listener:
            listener.listen()
            client = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        loop = asyncio.get_running_loop()
        failures: list[object] = []
        loop.set_exception_handler(lambda _, context: failures.append(context))
        all_of = LightConnections(loop)
        light = LightTransport(all_of, ours, None, None)
        light.begin(protocol := Recorder())
        light._hand_over()
        light.write_eof()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await until(lambda: protocol.names()[-1] == "lost")
        assert failures == []
        all_of.close()

    run(main())


def test_the_socket_of_one_that_has_ended(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.light.abort()
            assert pair.light.get_extra_info("socket").fileno() == -1
            await pair.told("lost")

    run(main())


def test_a_write_to_a_client_that_is_gone(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:
            pair.client.close()
            pair.light.write(b"x")
            assert pair.light.is_closing()
            pair.light.write(b"y")
            pair.light.write_eof()
            await pair.told("lost")
            assert pair.protocol.told == [("made",), ("lost", BrokenPipeError)]

    run(main())


def test_a_loop_that_can_make_no_transport(run: Run) -> None:
    async def main() -> None:
        async with Pair() as pair:

            async def fail(factory: object, sock: object) -> None:
                raise OSError("no")

            pair.all.loop = _LoopThat(pair.all.loop, fail)  # type: ignore[assignment]
            pair.light._hand_over()
            await pair.told("lost")
            assert pair.protocol.told[-1] == ("lost", OSError)

    run(main())


class _LoopThat:
    def __init__(self, loop: asyncio.AbstractEventLoop, connect: Any) -> None:
        self._loop = loop
        self.connect_accepted_socket = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


def held_elsewhere(pair: Pair) -> tuple[Pair, int, int]:
    """Another connection beside that of `pair`, whose socket is open elsewhere; its descriptors here and there."""
    other = Pair()
    copy = os.dup(other.light.get_extra_info("socket").fileno())
    other.all.close()
    pair.all.watch(other.light, descriptor := other.light.descriptor)
    other.light._all = pair.all
    other.light.abort()
    return other, descriptor, copy


def test_sockets_that_someone_else_holds_do_not_keep_the_loop_busy(run: Run) -> None:
    """Epoll goes on telling of what was closed here and is open in a process that was forked."""

    async def main() -> None:
        async with Pair() as pair:
            other, descriptor, copy = held_elsewhere(pair)
            await other.told("lost")
            epoll = pair.all._epoll
            other.client.send(b"x")
            await until(lambda: pair.all._epoll is not epoll)
            assert descriptor not in pair.all.watched
            os.close(copy)
            other.client.close()
            pair.client.send(b"x")
            await pair.told("data")

    run(main())


@pytest.mark.parametrize("stops", [False, True], ids=["goes on", "stops"])
def test_such_sockets_where_no_descriptor_is_free(run: Run, monkeypatch: pytest.MonkeyPatch, stops: bool) -> None:
    asked: list[None] = []

    def none_free() -> Any:
        asked.append(None)
        raise OSError(errno.EMFILE, "Too many open files")

    async def main() -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with Pair() as pair:
            other, _, copy = held_elsewhere(pair)
            await other.told("lost")
            with monkeypatch.context() as patched:
                patched.setattr(select, "epoll", none_free)
                other.client.send(b"x")
                await until(lambda: len(asked) > 1)
                if stops:
                    pair.all.close()
                    await asyncio.sleep(2 * light_module.RENEW_SECONDS)
                else:
                    before, begun = len(asked), time.monotonic()
                    for _ in range(100):
                        await asyncio.sleep(0)
                    times = (time.monotonic() - begun) / light_module.RENEW_SECONDS
                    assert len(asked) - before <= 1 + times
                    pair.client.send(b"x")
                    await pair.told("data")
            os.close(copy)
            other.client.close()
        assert not errors

    run(main())


def test_what_connections_call_themselves(tmp_path: Path) -> None:
    with listen() as sock:
        assert name_of_connections(sock) == sock.getsockname()
        do_not_delay(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with socket.create_server(("", 0)) as sock:
        assert name_of_connections(sock) is None
    with listen(tmp_path / "socket") as sock:
        assert name_of_connections(sock) == str(tmp_path / "socket")
        do_not_delay(sock)


def test_the_address_of_one_that_listens_everywhere(run: Run) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["server"][0].encode())

    async def main() -> None:
        async with Running(app, lifespan="off") as running:
            everywhere = socket.create_server(("", 0))
            running.server.own_acceptor.listen(everywhere)
            reader, writer = await asyncio.open_connection("127.0.0.1", everywhere.getsockname()[1])
            writer.write(get("/", CLOSE))
            assert (await reader.read()).endswith(b"127.0.0.1")
            writer.close()
            everywhere.close()

    run(main())


@cpython
def test_only_where_loop_and_python_are_known(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert can_be_light(loop)
        monkeypatch.setattr(light_module.sys, "implementation", type("other", (), {"name": "pypy"}))  # type: ignore[attr-defined]
        assert not can_be_light(loop)

    run(main())
