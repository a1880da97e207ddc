"""In which way ever a server stops, its WebSockets are closed with 1012, so that clients come back to another one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.scripted import get
from tests.server.running import App
from tests.sockets import Peer, Run, listen
from tests.websocket.wire import handshake
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server import Config, Server

Stop = Callable[[Server, "asyncio.Task[None]", Any], Awaitable[None]]


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for messages; whatever ends that, it says that all is well."""
    await receive()
    await send({"type": "websocket.accept"})
    try:
        while (await receive())["type"] != "websocket.disconnect":
            pass
    finally:
        await send({"type": "websocket.close", "code": 1000})


async def works(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for something else."""
    await receive()
    await send({"type": "websocket.accept"})
    try:
        await asyncio.sleep(60)
    finally:
        await send({"type": "websocket.close", "code": 1000})


async def gracefully(server: Server, task: asyncio.Task[None], sock: Any) -> None:
    server.should_exit = True


async def at_once(server: Server, task: asyncio.Task[None], sock: Any) -> None:
    server.force_exit = True


async def both(server: Server, task: asyncio.Task[None], sock: Any) -> None:
    server.should_exit = True
    server.force_exit = True


async def by_cancelling(server: Server, task: asyncio.Task[None], sock: Any) -> None:
    task.cancel()


async def by_a_signal(server: Server, task: asyncio.Task[None], sock: Any) -> None:
    server.handle_exit(15, None)


async def by_two_signals(server: Server, task: asyncio.Task[None], sock: Any) -> None:
    server.handle_exit(2, None)
    server.handle_exit(2, None)


async def by_the_limit(server: Server, task: asyncio.Task[None], sock: Any) -> None:
    peer = await Peer.connect(sock)
    await peer.ask(get("/", "Connection: close"))


WAYS = [gracefully, at_once, both, by_cancelling, by_a_signal, by_two_signals, by_the_limit]


@pytest.mark.parametrize("app", [reads, works])
@pytest.mark.parametrize("stop", WAYS)
def test_the_code(run: Run, monkeypatch: pytest.MonkeyPatch, app: Any, stop: Stop) -> None:
    raised: list[int] = []
    monkeypatch.setattr("signal.raise_signal", raised.append)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def main() -> None:
        sock = listen()
        server = Server(
            Config(
                App(answer),
                log_config=None,
                timeout_graceful_shutdown=1,
                timeout_drain_idle=0,
                limit_max_requests=2,
                ws_close_timeout=1,
            )
        )
        task = asyncio.ensure_future(server.serve([sock.dup()]))
        while not server.started:
            await asyncio.sleep(0.01)
        peer = await Peer.connect(sock)
        peer.send(handshake())
        await peer.reader.readuntil(b"\r\n\r\n")
        await stop(server, task, sock)
        assert (await peer.reader.readexactly(4))[2:] == (1012).to_bytes(2, "big")
        peer.writer.close()
        await asyncio.wait({task}, timeout=20)
        assert task.done()
        sock.close()

    run(main())
