"""What ends is gone at once: nothing of a connection waits for the garbage collector, which rarely looks at the old.

Until it does, a WebSocket that is over would hold its buffers of TLS and its compression.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.http2.wire import Client
from tests.scripted import get, post
from tests.server.running import App, Running, until
from tests.sockets import Peer, Run
from tests.websocket.wire import close, handshake, text
from uvicorn_worker.core.asgi import Receive, Scope, Send

ROOMS = tuple(f"uvicorn_worker.{room}." for room in ("http1", "http2", "websocket", "switching"))
EXTENSION = "Sec-WebSocket-Extensions: permessage-deflate"


@pytest.fixture(autouse=True)
def _without_the_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # pytest keeps records, and with them the frames of what was raised.
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "disabled", True)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    event = await receive()
    if scope["type"] == "websocket":
        if scope["path"] == "/deny":
            return
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            if event["text"] == "bye":
                break
            await send({"type": "websocket.send", "text": event["text"]})
        return
    if scope["path"] == "/error":
        raise RuntimeError
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def left() -> Counter[str]:
    """Objects that belong to connections and requests, by their class."""
    kinds = (type(each) for each in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith(ROOMS))


H2 = Client()
CASES = {
    "get": [get()],
    "keep-alive": [get(), post(b"abc"), get()],
    "error": [get("/error")],
    "refused": [b"NO\0\r\n\r\n"],
    "half a head": [b"GET / HT"],
    "websocket": [handshake("/", EXTENSION), text("hello"), close(1000)],
    "closed by us": [handshake("/", EXTENSION), text("bye"), close(1000)],
    "cut": [handshake("/", EXTENSION), text("hello")],
    "denied": [handshake("/deny")],
    "http2": [H2.preface() + H2.request()],
    "h2c": [get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")],
}


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_waits_for_the_collector(run: Run, case: str, http: str) -> None:
    async def talk(running: Running) -> None:
        peer = await Peer.connect(running.sock)
        for piece in CASES[case]:
            peer.send(piece)
            if case != "half a head":
                await peer.reader.read(65536)
        await peer.close()
        await until(lambda: not running.server.own_runtime.connections and not running.server.own_runtime.cycles)

    async def main() -> None:
        async with Running(App(echo), http=http, http2="on") as running:
            for _ in range(2):
                # What is made once is kept: memos, and the like.
                await talk(running)
            before = left()
            for _ in range(3):
                await talk(running)
            # A turn or two: the last callbacks have what they are about.
            for _ in range(20):
                await asyncio.sleep(0)
            assert left() - before == Counter()

    run(main())
