"""What a server says of what it has in flight; test_loop_watch.py and tests/e2e/test_board.py have more of it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

from tests.http1.apps import hello
from tests.server.running import Running
from tests.sockets import Peer, run_alone
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server import in_flight as module
from uvicorn_worker.server.in_flight import describe_flight
from uvicorn_worker.server.server import Server


def test_before_it_serves() -> None:
    server = cast("Server", SimpleNamespace(started=False))
    assert describe_flight(server).endswith(" does not serve yet.")


def test_many_requests_and_threads(monkeypatch: Any) -> None:
    """Those above the most are a number; a thread that is at work is told with where it is."""
    monkeypatch.setattr(module, "_NAMED", 2)
    event, end = asyncio.Event(), threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # A lifespan has no path, and this one is none.
        if scope["path"]:
            await event.wait()
        await hello(scope, receive, send)

    def works(depth: int = 6) -> None:
        if depth:
            works(depth - 1)
        else:
            end.wait(20)

    async def main() -> str:
        async with Running(app) as served:
            peers = [await Peer.connect(served.sock) for _ in range(3)]
            for number, peer in enumerate(peers):
                peer.send(f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                while len(served.server.own_runtime.cycles) <= number:
                    await asyncio.sleep(0.01)
            thread = threading.Thread(target=works, name="at-work")
            thread.start()
            try:
                said = describe_flight(served.server)
            finally:
                end.set()
                thread.join()
                event.set()
            for peer in peers:
                await peer.response()
        return said

    lines = run_alone(main()).splitlines()
    assert "3 requests, 0 WebSockets" in lines[0]
    assert lines[1].startswith("  GET /0 for ")
    assert lines[2].endswith("app")
    assert "  and 1 more" in lines
    assert "  Threads at work:" in lines
    assert "    thread at-work" in lines
    assert any(line.startswith("      ") and line.endswith("works") for line in lines)
