"""The thread that watches the loop, and what the board says of a loop that stands still."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.records import records_of
from tests.server.running import Running
from tests.sockets import Peer, run_alone
from uvicorn_worker.board.board import ENDED, SERVING, TOLD, Board, Slot
from uvicorn_worker.board.reading import read_board
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.server import reporter as module
from uvicorn_worker.server.in_flight import describe_flight
from uvicorn_worker.server.loop_watch import LoopWatch
from uvicorn_worker.server.reporter import Reporter


def nothing() -> None:
    """There is no board."""


def test_who_holds_the_loop_is_said_while_it_blocks_and_afterwards_for_how_long() -> None:
    with records_of("uvicorn.error") as records:

        async def main() -> None:
            watch = LoopWatch(asyncio.get_running_loop(), OwnLog(), list, nothing, 0.05)
            watch.start()
            watch.start()
            deadline = time.monotonic() + 20
            # Holds the loop until it was told.
            while not records.lines and time.monotonic() < deadline:
                time.sleep(0.005)  # noqa: ASYNC251 - that is what is tested
            while len(records.lines) < 2 and time.monotonic() < deadline:
                await asyncio.sleep(0.005)
            watch.stop()

        run_alone(main())
    first, second = records.lines[:2]
    assert "stands still" in first
    assert "test_loop_watch.py" in first.splitlines()[-1]
    assert "stood still for" in second


def test_it_tells_of_silence_and_ends() -> None:
    told = threading.Event()

    async def main() -> None:
        watch = LoopWatch(asyncio.get_running_loop(), OwnLog(), list, told.set, None)
        watch.start()
        assert await asyncio.to_thread(told.wait, 20)
        watch.stop()
        assert not [each for each in threading.enumerate() if each.name == "uvicorn-worker-watch"]

    run_alone(main())


@pytest.fixture
def slot() -> Slot:
    board = Board()
    slot = board.add(1)
    assert slot is not None
    return slot


def test_a_server_says_what_it_is_at_and_how_it_ends(slot: Slot) -> None:
    event = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            await event.wait()
        await hello(scope, receive, send)

    async def main() -> None:
        running = Running(app)
        running.server.own_reporter = Reporter(slot)
        async with running as served:
            server = served.server
            assert slot.state == SERVING
            first, second = await Peer.connect(served.sock), await Peer.connect(served.sock)
            first.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await first.response()
            second.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            while not server.own_runtime.cycles:
                await asyncio.sleep(0.01)
            server._own_on_tick()
            figures = slot.figures
            assert (figures["connections"], figures["idle"], figures["requests"]) == (2, 1, 1)
            assert (figures["http11_2xx"], figures["accepted"]) == (1, 2)
            assert figures["bytes_in"] > 40
            assert figures["bytes_out"] > 100
            assert figures["rss"] > 1 << 20
            assert slot.oldest == "GET /wait"
            assert "/wait" in describe_flight(server)
            assert "Event.wait" in describe_flight(server)
            event.set()
            await second.response()
            server.handle_exit(15, None)
            assert slot.state == TOLD
        assert slot.figures["http11_2xx"] == 2
        assert slot.figures["connections"] == 0

    run_alone(main())


def test_one_that_stops_by_itself_has_ended(slot: Slot) -> None:
    reporter = Reporter(slot)
    slot.state = SERVING
    reporter.stops(False)
    assert slot.state == ENDED
    reporter.leaves(3)
    reporter.leaves(4)
    assert slot.cause == (3, 0)
    # Nothing of it was begun.
    reporter.on_tick(0.0)
    reporter.on_silence()
    reporter.end()


def test_where_the_loop_stands_still_its_requests_are_written_by_another_thread(
    slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.0)
    seen: list[Any] = []
    reporter = Reporter(slot)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Within the application, before the loop goes on.
        thread = threading.Thread(target=reporter.on_silence)
        thread.start()
        thread.join()
        seen.append((slot.oldest, slot.figures["requests"], slot.figures["http11_2xx"], *slot.paths))
        await hello(scope, receive, send)

    async def main() -> None:
        running = Running(app, paths={"/block": {}})
        running.server.own_reporter = reporter
        async with running as served:
            reporter.on_silence()
            peer = await Peer.connect(served.sock)
            peer.send(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
            await peer.response()
            peer.send(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n")
            await peer.response()

    run_alone(main())
    oldest, requests, answered, (path, counters) = seen[-1]
    # The first answer is counted, too, before there was a tick.
    assert (oldest, requests, answered, path, counters[1]) == ("GET /block", 1, 1, "/block", 1)


def test_totals_of_the_board_are_those_of_the_server(slot: Slot) -> None:
    slot.state = SERVING
    assert read_board(Board()).served == 0
