"""Accepting: what is taken from the queue, when it is left there, and that nothing is forgotten."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from tests.http1.apps import Gate
from tests.scripted import get
from tests.server.running import App, Running, until
from tests.sockets import Peer, Run, listen
from uvicorn_worker import Config
from uvicorn_worker.board.board import BOOTING, ENDED, FAILED, SERVING, TOLD, Board, Slot
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.logs import spell
from uvicorn_worker.server import acceptor as module
from uvicorn_worker.server.acceptor import Acceptor
from uvicorn_worker.server.neighbours import Neighbours
from uvicorn_worker.switching.dispatch import protocol_factory

Log = Callable[..., list[str]]


class Scarce(socket.socket):
    """A listening socket whose accept() fails for as long as it is told to."""

    errors: ClassVar[list[int]] = []

    def accept(self) -> Any:
        if self.errors:
            number = self.errors[0] if len(self.errors) == 1 else self.errors.pop(0)
            if number:
                raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> type[Scarce]:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "STOP_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(Scarce, "errors", [])
    return Scarce


def scarce_socket() -> Scarce:
    sock = Scarce()
    sock.bind(("127.0.0.1", 0))
    return sock


def running_on(sock: socket.socket, **options: Any) -> Running:
    running = Running(App(), **options)
    running.sock.close()
    running.sock = sock
    return running


async def answered(peer: Peer) -> bool:
    """Whether an answer comes soon."""
    try:
        await asyncio.wait_for(peer.response(), 0.2)
    except asyncio.TimeoutError:
        return False
    return True


class TestLimit:
    def test_no_more_are_accepted_until_one_ends(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), limit_connections=2) as running:
                first, second, third = [await running.ask() for _ in range(3)]
                assert (await first.response()).status == 200
                assert (await second.response()).status == 200
                assert not await answered(third)
                assert len(running.server.own_runtime.connections) == 2
                await first.close()
                # The request came before, and the connection waited for its turn.
                await until(lambda: len(running.server.own_runtime.connections) == 2)

        run(main())

    def test_it_is_said_once_and_when_it_is_over(self, run: Run, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spell, "QUIET_SECONDS", 0.2)

        async def main() -> None:
            async with Running(App(), limit_connections=2) as running:
                kept = [await running.ask() for _ in range(2)]
                for _ in range(5):
                    waiting = await running.ask()
                    assert not await answered(waiting)
                    await kept.pop(0).close()
                    assert (await waiting.response()).status == 200
                    kept.append(waiting)
                assert [line for line in log() if line.startswith("Below")] == []
                for peer in kept:
                    await peer.close()
                await until(lambda: any(line.startswith("Below") for line in log()))

        run(main())
        (full,) = log(logging.WARNING)
        assert full.startswith("Accepting no connections for now: limit_connections (worker_connections) = 2 are held")
        (over,) = (line for line in log() if line.startswith("Below"))
        assert over.endswith(" s: 0 connections are held.")

    def test_it_goes_on_below_the_limit(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), limit_connections=2) as running:
                for _ in range(3):
                    peers = [await running.ask() for _ in range(2)]
                    waiting = [await running.ask() for _ in range(2)]
                    for peer in peers:
                        assert (await peer.response()).status == 200
                        await peer.close()
                    for peer in waiting:
                        assert (await peer.response()).status == 200
                        await peer.close()

        run(main())

    def test_a_burst_is_accepted_up_to_the_limit(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), limit_connections=20) as running:
                peers = [await running.ask(b"") for _ in range(40)]
                await until(lambda: len(running.server.own_runtime.connections) == 20)
                await asyncio.sleep(0.05)
                assert len(running.server.own_runtime.connections) == 20
                for peer in peers:
                    await peer.close()

        run(main())

    def test_at_a_stop_those_who_wait_are_served(self, run: Run) -> None:
        gate = Gate()

        async def main() -> None:
            async with Running(App(gate), limit_connections=1) as running:
                peers = [await running.ask() for _ in range(5)]
                await until(lambda: gate.waiting)
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                for _ in range(5):
                    await until(lambda: gate.waiting)
                    gate.open()
                for peer in peers:
                    response = await peer.response()
                    assert (response.status, response.closes) == (200, True)
                await running.stopped()

        run(main())


class TestExhaustion:
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
    def test_accepting_pauses_says_so_once_and_recovers(
        self, run: Run, log: Log, scarce: type[Scarce], number: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spell, "QUIET_SECONDS", 0.5)

        async def main() -> None:
            async with running_on(scarce_socket()) as running:
                scarce.errors[:] = [number]
                peer = await running.ask()
                assert not await answered(peer)
                (line,) = log(logging.ERROR)
                limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                assert line.startswith(
                    f"Accepting no connections for now: {os.strerror(number)} (0 connections are held; "
                    f"the limit of open files is {limit}) "
                )
                scarce.errors.clear()
                await until(lambda: any(line.startswith("Accepting connections again, after ") for line in log()))
                await peer.response()
                assert (await (await running.ask()).response()).status == 200

        run(main())
        assert len(log(logging.ERROR)) == 1

    def test_a_connection_that_ends_makes_room(
        self, run: Run, scarce: type[Scarce], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RETRY_SECONDS", 3600)

        async def main() -> None:
            async with running_on(scarce_socket()) as running:
                first = await running.ask()
                await first.response()
                scarce.errors[:] = [errno.EMFILE, 0]
                second = await running.ask()
                await until(lambda: len(scarce.errors) == 1)
                scarce.errors.clear()
                await first.close()
                assert (await second.response()).status == 200

        run(main())

    def test_what_befell_the_connection_alone_is_passed_over(self, run: Run, log: Log, scarce: type[Scarce]) -> None:
        async def main() -> None:
            async with running_on(scarce_socket()) as running:
                scarce.errors[:] = [errno.ECONNABORTED, errno.EPROTO, 0]
                assert (await (await running.ask()).response()).status == 200

        run(main())
        assert log(logging.WARNING) == []

    def test_it_does_not_hold_up_a_stop(self, run: Run, log: Log, scarce: type[Scarce]) -> None:
        async def main() -> None:
            async with running_on(scarce_socket()) as running:
                scarce.errors[:] = [errno.EMFILE]
                await running.ask()
                await until(lambda: log(logging.ERROR))
                await running.stop()

        run(main())
        assert log(logging.ERROR)[1:] == ["Connections that waited to be accepted are left: there is no room for them."]

    def test_a_stop_takes_what_there_is_room_for_a_little_later(self, run: Run, log: Log, scarce: type[Scarce]) -> None:
        async def main() -> None:
            async with running_on(scarce_socket()) as running:
                scarce.errors[:] = [errno.EMFILE]
                peer = await running.ask()
                await until(lambda: log(logging.ERROR))
                scarce.errors[:] = [errno.EMFILE, errno.EMFILE, 0]
                running.server.should_exit = True
                assert (await peer.response()).closes
                await running.stopped()

        run(main())
        assert len(log(logging.ERROR)) == 1


class TestSharing:
    """What is left to other workers that wait for the same socket."""

    def accepting(
        self, run: Run, queued: int, *, own: bool = False, others: int | None = None, comes: int = 0
    ) -> list[int]:
        """How many connections are accepted at once, each time, of a queue of so many.

        `others` is what another worker has to do; None: there is none. It `comes` for one so many times.
        """
        batches: list[int] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            runtime = Runtime(Config(app=App()), App(), loop)
            factory = protocol_factory(runtime)
            sock = listen()
            sock.listen(200)
            clients = [socket.create_connection(sock.getsockname()) for _ in range(queued)]
            board = Board()
            mine, other = board.add(1), board.add(2)
            assert mine is not None
            assert other is not None
            if others is not None:
                other.state = SERVING
                other.load, other.beat = others, time.monotonic_ns()
            neighbours = Neighbours(board, mine)
            neighbours.on_tick(0)
            acceptor = Acceptor(runtime, factory, neighbours=neighbours)
            accept = acceptor._accept_some

            def count(listener: socket.socket) -> None:
                before = acceptor.load
                accept(listener)
                batches.append(acceptor.load - before)
                if len(batches) <= comes:
                    # As if it had come for what is not there; too little to make it the one that has more.
                    loop.call_soon(more)

            def more() -> None:
                assert other is not None
                other.load += 1

            acceptor._accept_some = count  # type: ignore[method-assign]
            acceptor.listen(sock, own=own)
            await until(lambda: len(runtime.connections) == queued)
            acceptor.close()
            for connection in list(runtime.connections):
                connection.abort()
            for client in clients:
                client.close()
            sock.close()
            await until(lambda: not runtime.connections)

        run(main())
        return [batch for batch in batches if batch]

    def test_one_worker_takes_all_there_is(self, run: Run) -> None:
        assert self.accepting(run, 100) == [64, 36]

    def test_who_has_less_to_do_takes_all_there_is(self, run: Run) -> None:
        assert self.accepting(run, 100, others=200) == [64, 36]

    def test_who_has_more_leaves_them_until_nobody_came(self, run: Run) -> None:
        batches = self.accepting(run, 40, others=0)
        # Its share first, then what others leave, and of that more each time.
        assert batches[:6] == [3, 1, 2, 4, 8, 16]
        assert sum(batches) == 40

    def test_who_has_more_leaves_them_for_as_long_as_others_come(self, run: Run) -> None:
        batches = self.accepting(run, 80, others=0, comes=5)
        assert batches[0] == 3
        # Its share grows with theirs.
        assert max(batches[1:6]) <= 3
        assert sum(batches) == 80

    def test_others_that_come_in_the_next_turn_are_waited_for_without_a_rest(self, run: Run) -> None:
        rests: list[None] = []
        taken: list[socket.socket] = []
        sock = listen()
        sock.listen()

        def come() -> None:
            if not taken:
                taken.append(sock.accept()[0])

        class Watched(Neighbours):
            __slots__ = ()

            def should_leave(self, load: int) -> bool:
                left = super().should_leave(load)
                if left:
                    # The other one comes in the next turn; it shares the socket.
                    asyncio.get_running_loop().call_soon(come)
                return left

        async def main() -> None:
            loop = asyncio.get_running_loop()
            runtime = Runtime(Config(app=App()), App(), loop)
            clients = [socket.create_connection(sock.getsockname()) for _ in range(4)]
            board = Board()
            mine, other = board.add(1), board.add(2)
            assert mine is not None
            assert other is not None
            other.state, other.beat = SERVING, time.monotonic_ns()
            neighbours = Watched(board, mine)
            neighbours.on_tick(0)
            acceptor = Acceptor(runtime, protocol_factory(runtime), neighbours=neighbours)
            acceptor._rest = lambda neighbours: rests.append(None)  # type: ignore[method-assign]
            acceptor.listen(sock)
            await until(lambda: len(runtime.connections) == 3 and bool(taken))
            acceptor.close()
            for connection in list(runtime.connections):
                connection.abort()
            for each in (*clients, *taken, sock):
                each.close()
            await until(lambda: not runtime.connections)

        run(main())
        assert not rests

    def test_a_rest_ends_with_the_connections_that_it_was_for(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "REST_SECONDS", 1000)
        sock = listen()
        sock.listen()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            runtime = Runtime(Config(app=App()), App(), loop)
            clients = [socket.create_connection(sock.getsockname()) for _ in range(5)]
            board = Board()
            mine, other = board.add(1), board.add(2)
            assert mine is not None
            assert other is not None
            other.state, other.beat = SERVING, time.monotonic_ns() + 10**12
            neighbours = Neighbours(board, mine)
            neighbours.on_tick(0)
            acceptor = Acceptor(runtime, protocol_factory(runtime), neighbours=neighbours)
            acceptor.listen(sock)
            # Its share; the other one does not come.
            await until(lambda: acceptor._resting is not None)
            assert len(runtime.connections) == 3
            for client in clients[:2]:
                client.close()
            await until(lambda: runtime.tally.accepted == 5)
            await until(lambda: len(runtime.connections) == 3)
            acceptor.close()
            for connection in list(runtime.connections):
                connection.abort()
            for each in (*clients, sock):
                each.close()
            await until(lambda: not runtime.connections)

        run(main())

    def test_a_queue_that_nobody_else_reads_is_taken_as_it_comes(self, run: Run) -> None:
        assert self.accepting(run, 100, own=True, others=0) == [64, 36]


class TestNeighbours:
    def two(self) -> tuple[Neighbours, Slot]:
        board = Board()
        mine, other = board.add(1), board.add(2)
        assert mine is not None
        assert other is not None
        other.state = SERVING
        other.beat = time.monotonic_ns()
        return Neighbours(board, mine), other

    def test_a_share_and_some_more(self) -> None:
        neighbours, other = self.two()
        neighbours.on_tick(0)
        for load, left in (0, False), (1, False), (2, False), (3, True):
            assert neighbours.should_leave(load) is left
        other.load = 100
        # An eighth of the mean.
        assert [neighbours.should_leave(load) for load in (100, 125, 130)] == [False, False, True]

    @pytest.mark.parametrize("state", [BOOTING, FAILED, TOLD, ENDED])
    def test_nobody_waits_for_one_that_does_not_serve(self, state: int) -> None:
        neighbours, other = self.two()
        other.state = state
        neighbours.on_tick(0)
        assert not neighbours.should_leave(1000)

    def test_nobody_waits_for_one_that_is_blocked(self) -> None:
        neighbours, other = self.two()
        other.beat -= 2_000_000_000
        neighbours.on_tick(0)
        assert not neighbours.should_leave(1000)

    def test_one_that_has_begun_to_serve_is_seen_in_between(self, monkeypatch: pytest.MonkeyPatch) -> None:
        neighbours, other = self.two()
        other.state = BOOTING
        neighbours.on_tick(0)
        other.state = SERVING
        assert not neighbours.should_leave(1000)
        monkeypatch.setattr("uvicorn_worker.server.neighbours.LOOK_NS", 0)
        assert neighbours.should_leave(1000)


class TestMakingConnections:
    def test_a_protocol_that_fails_costs_its_connection_only(
        self, run: Run, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            async with Running(App()) as running:
                factory = running.server.own_acceptor._factory

                def failing() -> asyncio.Protocol:
                    running.server.own_acceptor._factory = factory
                    raise ZeroDivisionError

                running.server.own_acceptor._factory = failing
                assert await (await running.ask()).rest() == b""
                assert (await (await running.ask()).response()).status == 200

        run(main())
        (line,) = log(logging.ERROR)
        assert line.endswith("could not be made")

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (OSError("gone"), [(logging.DEBUG, "A connection ended before it was made: gone")]),
            (RuntimeError("closed"), [(logging.ERROR, "A connection could not be made")]),
        ],
    )
    def test_a_loop_that_makes_no_connection_of_a_socket(
        self, run: Run, log: Log, monkeypatch: pytest.MonkeyPatch, error: Exception, said: list[tuple[int, str]]
    ) -> None:
        async def main() -> None:
            async with Running(App()) as running:
                acceptor = running.server.own_acceptor
                acceptor._light = None

                async def fail(factory: object, conn: socket.socket) -> None:
                    conn.close()
                    raise error

                monkeypatch.setattr(acceptor, "_loop", SimpleNamespace(connect_accepted_socket=fail))
                assert await (await running.ask()).rest() == b""
                assert acceptor.pending == 0
                monkeypatch.undo()
                assert (await (await running.ask()).response()).status == 200

        run(main())
        for level, line in said:
            assert line in log(level)

    @pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
    def test_tls(self, run: Run, log: Log, certificate: Path) -> None:
        client = ssl.create_default_context(cafile=certificate)

        async def main() -> None:
            async with Running(App(), ssl_certfile=str(certificate)) as running:
                plain = await running.ask()
                assert not (await plain.rest()).startswith(b"HTTP/1.1 200")
                peer = await Peer.connect(running.sock, client)
                assert (await peer.ask(get())).status == 200

        run(main())
        assert log(logging.WARNING) == []
        assert any(line.startswith("The connection of ('127.0.0.1', ") for line in log(logging.DEBUG))

    def test_a_handshake_that_does_not_come_does_not_hold_up_a_stop(
        self, run: Run, log: Log, certificate: Path
    ) -> None:
        async def main() -> None:
            async with Running(App(), timeout_graceful_shutdown=60, ssl_certfile=str(certificate)) as running:
                silent = await running.ask(b"")
                await until(lambda: running.server.own_acceptor.pending)
                assert await running.stop() >= 1
                assert await silent.rest() == b""

        run(main())

    def test_a_client_in_its_handshake_has_more_than_a_second(
        self, run: Run, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A client that has just started is slow, and so is one of whose packets one was lost."""
        monkeypatch.setattr("uvicorn_worker.server.drain._HANDSHAKE_SECONDS", 0.1)
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.create_default_context(cafile=certificate)
        tls = client.wrap_bio(received, sent, server_hostname="localhost")

        async def main() -> None:
            options: dict[str, Any] = {"timeout_drain_idle": 0.1, "ssl_certfile": str(certificate)}
            async with Running(App(), timeout_graceful_shutdown=60, **options) as running:
                slow = await running.ask(b"")
                with pytest.raises(ssl.SSLWantReadError):
                    tls.do_handshake()
                slow.send(sent.read())
                received.write(await slow.reader.read(65536))
                running.server.should_exit = True
                await asyncio.sleep(0.5)
                tls.do_handshake()
                tls.write(get())
                slow.send(sent.read())
                received.write(await slow.rest())
                assert tls.read().startswith(b"HTTP/1.1 200")
                await running.stopped()

        run(main())

    def test_a_handshake_has_the_time_of_a_request_head(self, run: Run, certificate: Path) -> None:
        async def main() -> None:
            async with Running(App(), timeout_request_head=0.2, ssl_certfile=str(certificate)) as running:
                assert await (await running.ask(b"")).rest() == b""
                await until(lambda: not running.server.own_acceptor.pending)

        run(main())
