"""What SIGUSR2 tells of a server: each request with what its task awaits, and the threads that are at work."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http1.apps import hello
from tests.records import records_of
from tests.scripted import get
from tests.server.running import Running, until
from tests.sockets import Peer, run_alone
from uvicorn_worker import Config, Server
from uvicorn_worker.board.board import Board, find_boards
from uvicorn_worker.board.reading import read_board
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server import alone
from uvicorn_worker.server.alone import report_alone
from uvicorn_worker.server.in_flight import describe_flight


class Waiting:
    """An application whose requests wait for each other's end."""

    def __init__(self) -> None:
        self.count = 0
        self.event = asyncio.Event()

    async def wait_here(self) -> None:
        self.count += 1
        await self.event.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.wait_here()
        await hello(scope, receive, send)


class TestFlight:
    def test_before_it_serves(self) -> None:
        assert describe_flight(Server(Config(hello))) == f"Process {os.getpid()} does not serve yet."

    @pytest.mark.parametrize("count", [1, 102])
    def test_requests(self, count: int) -> None:
        async def main() -> str:
            app = Waiting()
            async with Running(app, lifespan="off") as running:
                peers = [await Peer.connect(running.sock) for _ in range(count)]
                for number, peer in enumerate(peers):
                    peer.send(get(f"/{number}"))
                await until(lambda: app.count == count)
                text = describe_flight(running.server)
                app.event.set()
                for peer in peers:
                    assert (await peer.response()).status == 200
                    await peer.close()
            return text

        text = run_alone(main())
        first, *lines = text.splitlines()
        assert first.startswith(f"In flight in process {os.getpid()}: {count} request")
        named = [line for line in lines if line.startswith("  GET /")]
        assert len(named) == min(count, 100)
        assert sum(" in Waiting.wait_here" in line for line in lines) == min(count, 100)
        assert ("  and 2 more" in lines) is (count == 102)

    def test_threads_at_work(self) -> None:
        async def main() -> str:
            begun, over = threading.Event(), threading.Event()

            def at_work() -> None:
                inner()

            def inner() -> None:
                begun.set()
                over.wait(20)

            async with Running(hello, lifespan="off") as running:
                thread = threading.Thread(target=at_work, name="own")
                thread.start()
                begun.wait(20)
                text = describe_flight(running.server)
                over.set()
                thread.join()
            return text

        lines = run_alone(main()).splitlines()
        at = lines.index("  Threads at work:")
        assert "    thread own" in lines[at:]
        assert any(line.endswith(" in at_work") for line in lines[at:])


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd_create")
class TestAlone:
    @pytest.fixture(autouse=True)
    def handler(self) -> Iterator[None]:
        before = signal.getsignal(signal.SIGUSR2)
        yield
        signal.signal(signal.SIGUSR2, before)

    def test_it_is_on_a_board_of_its_own_and_hears_usr2(self) -> None:
        async def main() -> None:
            sock = Running(hello).sock
            server = Server(Config(hello, lifespan="off", timeout_drain_idle=0))
            report_alone(server)
            await server.startup([sock])
            try:
                # Other tests may have left boards of their own.
                readings = [read_board(board) for board in find_boards(os.getpid())]
                assert (os.getpid(), 1, [os.getpid()]) in [
                    (each.master, each.wanted, [worker.pid for worker in each.workers]) for each in readings
                ]
                with records_of("uvicorn.error") as records:
                    os.kill(os.getpid(), signal.SIGUSR2)
                    await until(lambda: records.lines)
                assert records.lines[0].startswith(f"In flight in process {os.getpid()}: 0 requests")
            finally:
                server.force_exit = True
                await server.shutdown()
                sock.close()

        run_alone(main())

    def test_its_threads_are_paused_where_it_forks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hooks: list[object] = []
        monkeypatch.setattr(os, "register_at_fork", lambda **given: hooks.append(given["before"]))
        paused: list[int] = []
        server = Server(Config(hello))
        monkeypatch.setattr(server, "own_pause_threads", lambda: paused.append(1))
        monkeypatch.setattr(alone, "_servers", weakref.WeakKeyDictionary())
        monkeypatch.setattr(alone, "_pause_before_forks", functools.cache(alone._pause_before_forks.__wrapped__))
        report_alone(server)
        # It is called for ever: once is enough for all servers, and none is kept by it.
        report_alone(Server(Config(hello)))
        (before,) = hooks
        assert callable(before)
        before()
        assert paused == [1]
        # In a child of it nothing runs that could be paused.
        monkeypatch.setattr(os, "getpid", lambda: 1)
        before()
        assert paused == [1]

    def test_one_after_the_other_in_one_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`run()` in a loop, as after limit_max_requests: those that have ended are no workers, and no stalled ones."""

        async def main() -> None:
            for _ in range(3):
                sock = Running(hello).sock
                server = Server(Config(hello, lifespan="off", timeout_drain_idle=0, metrics_bind="127.0.0.1:0"))
                report_alone(server)
                await server.startup([sock])
                assert server.own_metrics is not None
                metrics = server.own_metrics.socket
                reading = read_board(Board.of_master())
                assert [worker.state for worker in reading.workers if worker.pid == os.getpid()] == ["serving"]
                server.force_exit = True
                await server.shutdown()
                sock.close()
                # Another one is bound to the same port, and a client that came to this would wait for ever.
                assert metrics.fileno() == -1

        pytest.importorskip("prometheus_client")
        monkeypatch.setattr(Board, "_of_master", None)
        run_alone(main())

    def test_in_a_thread_it_hears_no_signal(self) -> None:
        before = signal.getsignal(signal.SIGUSR2)
        thread = threading.Thread(target=report_alone, args=[Server(Config(hello))])
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGUSR2) == before

    def test_metrics(self, tmp_path: Path) -> None:
        pytest.importorskip("prometheus_client")
        server = Server(Config(hello, metrics_bind=f"unix:{tmp_path}/m"))
        report_alone(server)
        assert server.own_metrics is not None
        server.own_metrics.socket.close()
        server = Server(Config(hello, metrics_bind="unix:/no/such/folder/m"))
        report_alone(server)
        assert server.own_metrics is None
