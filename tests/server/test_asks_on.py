"""Applications that ask on and on, once they were told that their client has left: all else has its turn."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.http2.wire import Client as Http2Client
from tests.scripted import get
from tests.server.running import App, Running
from tests.sockets import Peer, Run
from tests.websocket.wire import handshake
from uvicorn_worker.core.asgi import Receive, Scope, Send

# It would hold the loop for as long.
LONG_SECONDS = 10.0


class AsksOn:
    """Never looks at what it gets. Where the loop is its alone it gives up, so that the test ends."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.gave_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"ok"})
            return
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        self.begun.set()
        until = time.monotonic() + LONG_SECONDS
        while time.monotonic() < until:
            await receive()
        self.gave_up = True


HTTP2 = Http2Client()


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (get("/asks"), {"http": "httptools"}),
        (get("/asks"), {"http": "h11"}),
        (HTTP2.preface() + HTTP2.request(b"/asks"), {"http2": "on"}),
        (handshake("/asks"), {}),
    ],
    ids=["HTTP/1.1", "h11", "HTTP/2", "WebSocket"],
)
def test_others_are_served_and_the_server_stops(run: Run, data: bytes, options: dict[str, Any]) -> None:
    if options.get("http") == "httptools":
        pytest.importorskip("httptools")

    async def main() -> None:
        app = AsksOn()
        async with Running(App(app), timeout_graceful_shutdown=0.1, **options) as running:
            peer = await running.ask(data)
            await asyncio.wait_for(app.begun.wait(), LONG_SECONDS)
            peer.writer.transport.abort()
            # Until it is known that nobody is there.
            await asyncio.sleep(0.1)
            other = await Peer.connect(running.sock)
            assert (await other.ask(get())).body == b"ok"
            await running.stop()
        assert not app.gave_up

    run(main())
