"""A server among others: who takes its place, who shares its work, and what the board says of what it carries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.boards import add_worker
from tests.http2.wire import Client
from tests.scripted import get
from tests.server.running import App, Running, hanging, until
from tests.sockets import Peer, Run
from uvicorn_worker.board.board import Board, Slot
from uvicorn_worker.board.ends import LIFETIME, MAX_REQUESTS
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server.neighbours import Neighbours
from uvicorn_worker.server.reporter import Reporter
from uvicorn_worker.server.surroundings import Surroundings

Log = Callable[..., list[str]]

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def slot(board: Board) -> Slot:
    slot = board.add(1)
    assert slot is not None
    return slot


class TestLifetime:
    def test_it_is_over(self, run: Run, log: Log, slot: Slot) -> None:
        app = App()

        async def main() -> None:
            running = Running(app, worker_lifetime=0.05)
            running.server.own_reporter = Reporter(slot)
            async with running:
                await running.stopped()

        run(main())
        assert app.events == ["startup", "shutdown"]
        assert "Served for worker_lifetime = 0.05 seconds, stopping gracefully." in log()
        assert slot.cause == (LIFETIME, 0)

    def test_a_server_that_has_stopped_before_says_nothing_of_it(self, run: Run, log: Log) -> None:
        async def main() -> None:
            async with Running(App(), worker_lifetime=0.05) as running:
                await running.stop()
                await asyncio.sleep(0.1)

        run(main())
        assert not [line for line in log() if "worker_lifetime" in line]


def test_where_somebody_takes_its_place_first_it_serves_on(run: Run, log: Log, slot: Slot) -> None:
    """The answer of `asks_to_go` is that it will be told, and it asks once."""
    asked: list[bool] = []

    async def main() -> None:
        running = Running(App(), limit_max_requests=1)
        running.server.own_reporter = Reporter(slot)
        async with running:
            running.server.own_asks_to_go = lambda: not asked.append(True)  # type: ignore[func-returns-value]
            peer = await Peer.connect(running.sock)
            for _ in range(3):
                assert (await peer.ask(get())).status == 200
            assert not running.server.should_exit

    run(main())
    assert asked == [True]
    assert slot.cause == (MAX_REQUESTS, 0)
    assert log().count("Limit of 1 request reached, serving on until a replacement has started.") == 1
    assert not [line for line in log() if "stopping gracefully" in line]


def test_it_says_how_much_it_has_to_do_where_work_is_shared(run: Run, board: Board, slot: Slot) -> None:
    add_worker(board)

    async def main() -> None:
        running = Running(App())
        running.server.own_neighbours = Neighbours(board, slot)
        async with running:
            assert slot.beat
            peer = await Peer.connect(running.sock)
            await peer.ask(get())
            running.server._own_on_tick()
            assert slot.load == 1
            await peer.close()
            await until(lambda: not running.server.own_runtime.connections)
            running.server._own_on_tick()
            assert slot.load == 0

    run(main())


@pytest.mark.parametrize("own", [None, 60.0])
def test_a_stop_is_as_quick_as_whoever_runs_it_wants(run: Run, own: float | None) -> None:
    async def main() -> None:
        running = Running(App(hanging), timeout_graceful_shutdown=own)
        async with running:
            await running.ask()
            await until(lambda: running.server.own_runtime.cycles)
            running.server.own_surroundings = Hurried()
            await running.stop()

    run(main())


class Hurried(Surroundings):
    stop_within = 0.05


def test_a_process_that_goes_without_a_stop_is_silent_about_the_lifespan(run: Run, log: Log) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "it went away"})

    async def main() -> None:
        async with Running(app) as running:
            running.server.own_abandon()

    run(main())
    assert log(logging.ERROR) == []


class TestBoard:
    """What an operator sees in `status`, `top` and the metrics of what one server carries."""

    def test_websockets_are_no_requests(self, run: Run, slot: Slot) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            if scope["type"] == "websocket":
                await send({"type": "websocket.accept"})
            await receive()

        async def main() -> None:
            running = Running(App(app), ws_ping_interval=None)
            running.server.own_reporter = Reporter(slot)
            async with running:
                peer = await running.ask(HANDSHAKE)
                await peer.reader.readuntil(b"\r\n\r\n")
                # It is older than the request, and nobody waits for it.
                await running.ask(get("/first"))
                await until(lambda: len(running.server.own_runtime.cycles) == 2)
                await running.ask(get("/second"))
                await until(lambda: len(running.server.own_runtime.cycles) == 3)
                running.server._own_on_tick()
                figures = slot.figures
                assert (figures["websockets"], figures["requests"]) == (1, 2)
                assert slot.oldest == "GET /first"
                assert len(running.server.server_state.tasks) == 3
                assert running.server.server_state.tasks <= asyncio.all_tasks()

        run(main())

    def test_streams_of_http2(self, run: Run, slot: Slot) -> None:
        async def main() -> None:
            running = Running(App(hanging), http2="on")
            running.server.own_reporter = Reporter(slot)
            async with running:
                wire = Client()
                await running.ask(wire.preface() + wire.request() + wire.request())
                await running.ask()
                await until(lambda: len(running.server.own_runtime.cycles) == 3)
                running.server._own_on_tick()
                figures = slot.figures
                assert (figures["http2_connections"], figures["http2_streams"]) == (1, 2)
                assert (figures["connections"], figures["requests"], figures["idle"]) == (2, 3, 0)

        run(main())

    def test_what_is_at_rest_is_counted(self, run: Run, slot: Slot) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            if scope["type"] == "websocket":
                await send({"type": "websocket.accept"})
                await receive()
            else:
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body"})

        async def main() -> None:
            running = Running(App(app), http2="on", ws_ping_interval=None, timeout_keep_alive=60)
            running.server.own_reporter = Reporter(slot)
            async with running:
                server, runtime = running.server, running.server.own_runtime
                wire = Client()
                for sent in wire.preface() + wire.request(), HANDSHAKE, get(), get():
                    await running.ask(sent)
                await until(lambda: len(runtime.connections) == 4 and len(runtime.cycles) == 1)

                def all_rest() -> bool:
                    runtime.count_tick()
                    server._own_on_tick()
                    return all(connection.rest_until for connection in runtime.connections)

                await until(all_rest)
                server._own_on_tick()
                figures = slot.figures
                assert (figures["connections"], figures["idle"]) == (4, 3)
                assert (figures["http2_connections"], figures["websockets"]) == (1, 1)

        run(main())

    def test_a_server_at_its_limit(self, run: Run, slot: Slot) -> None:
        async def main() -> None:
            running = Running(App(hanging), limit_concurrency=1)
            running.server.own_reporter = Reporter(slot)
            async with running:
                seen = [slot.figures["at_limit"]]
                await running.ask()
                await until(lambda: running.server.own_runtime.cycles)
                running.server._own_on_tick()
                seen.append(slot.figures["at_limit"])
                assert seen == [0, 1]

        run(main())
