"""log_slow_requests, request_id_header and paths in a whole server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.records import records_of
from tests.server.running import Running
from tests.sockets import Peer, run_alone
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server.slow_requests import watch_slow_requests


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


class App:
    """Waits where it is told to."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.waits = 0

    async def wait_for_it(self) -> None:
        self.waits += 1
        await self.event.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fails":
            raise RuntimeError("no")
        if scope["path"] != "/":
            await self.wait_for_it()
        await hello(scope, receive, send)


def run(lines_of: Any) -> list[str]:
    with records_of("uvicorn.error", "uvicorn.access") as records:
        run_alone(lines_of())
    return records.lines


def test_one_that_passes_the_limit_is_told_with_where_it_stands_and_at_its_end() -> None:
    async def main() -> None:
        app = App()
        async with Running(app, log_slow_requests=30, paths={"/poll": {"log_slow_requests": None}}) as served:
            slow, poll = await Peer.connect(served.sock), await Peer.connect(served.sock)
            slow.send(request("/slow"))
            poll.send(request("/poll"))
            while app.waits < 2:
                await asyncio.sleep(0.01)
            for cycle in served.server.own_runtime.cycles:
                cycle.started -= 31
            served.server._own_on_tick()
            served.server._own_on_tick()
            app.event.set()
            await slow.response()
            await poll.response()
            slow.send(request("/"))
            await slow.response()

    first, second = [line for line in run(main) if line.startswith("Slow request")]
    assert first.startswith("Slow request: GET /slow for 31.")
    assert "App.wait_for_it" in first
    assert second.startswith("Slow request, at its end (answered 200): GET /slow for 31.")


def test_one_that_ends_between_two_ticks_is_told_at_its_end() -> None:
    async def main() -> None:
        app = App()
        async with Running(app, paths={"/slow": {"log_slow_requests": 5}}) as served:
            peer = await Peer.connect(served.sock)
            peer.send(request("/slow"))
            while not app.waits:
                await asyncio.sleep(0.01)
            [cycle] = served.server.own_runtime.cycles
            app.event.set()
            cycle.started -= 6
            await peer.response()

    found = [line for line in run(main) if line.startswith("Slow request")]
    assert found[-1].startswith("Slow request, at its end (answered 200): GET /slow for 6.")


def test_one_whose_client_leaves_is_told_when_its_task_ends() -> None:
    async def main() -> None:
        app = App()
        async with Running(app, log_slow_requests=5) as served:
            peer = await Peer.connect(served.sock)
            peer.send(request("/slow"))
            while not app.waits:
                await asyncio.sleep(0.01)
            [cycle] = served.server.own_runtime.cycles
            cycle.started -= 6
            served.server._own_on_tick()
            peer.reset()
            while served.server.own_runtime.connections:
                await asyncio.sleep(0.01)
            app.event.set()
            while served.server.own_runtime.cycles:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)

    found = [line for line in run(main) if line.startswith("Slow request")]
    assert found[-1].startswith("Slow request, at its end (not answered): GET /slow for 6.")


def test_nobody_watches_where_nothing_is_set() -> None:
    class Options:
        log_slow_requests = None

    options: Any = Options()
    assert watch_slow_requests(options, None) is None


def test_access_lines_of_a_path_are_left_out() -> None:
    async def main() -> None:
        async with Running(App(), paths={"/fails": {"access_log": False}}) as served:
            peer = await Peer.connect(served.sock)
            for path in ("/", "/fails", "/"):
                peer.send(request(path))
                await peer.response()

    pytest.importorskip("uvloop")
    lines = [line for line in run(main) if "HTTP/1.1" in line]
    assert not any("/fails" in line for line in lines)


@pytest.mark.parametrize("path", ["/", "/fails"])
def test_the_id_of_a_request_is_in_its_answer_and_in_the_log(path: str) -> None:
    found: list[str | None] = []

    async def main() -> None:
        async with Running(App(), request_id_header="X-Request-Id") as served:
            peer = await Peer.connect(served.sock)
            peer.send(request(path))
            found.append((await peer.response()).get("x-request-id"))

    lines = run(main)
    assert found[0] is not None
    if path == "/fails":
        assert any(f"/fails [{found[0]}]" in line for line in lines)
