"""A server that runs until it stops by itself, and applications for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.http1.apps import hello
from tests.scripted import get
from tests.sockets import Peer, listen
from uvicorn_worker import Config, Server
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["App", "Running", "hanging", "until"]


# What a stop must not wait for takes longer than this: 60 seconds in the tests.
PATIENCE = 20.0


class App:
    """An application whose lifespan remembers its end; requests go to `app`."""

    def __init__(self, app: ASGIApp = hello) -> None:
        self.app = app
        self.events: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        while True:
            event = await receive()
            self.events.append(event["type"].partition(".")[2])
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return


class Running:
    """A server that serves on a free port until it stops by itself."""

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        self.sock = listen()
        self.server = Server(Config(app=app, **{"timeout_drain_idle": 0, **options}))
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Running:
        await self.server.startup([self.sock])
        self.task = asyncio.ensure_future(self._serve())
        return self

    async def _serve(self) -> None:
        await self.server._own_wait_for_exit()
        await self.server.shutdown()

    async def __aexit__(self, *exc: object) -> None:
        assert self.task is not None
        self.server.force_exit = True
        await self.task
        self.sock.close()

    async def stop(self) -> float:
        """Stop gracefully; how many seconds it took, for what it must not be shorter than."""
        self.server.should_exit = True
        return await self.stopped()

    async def stopped(self) -> float:
        assert self.task is not None
        begun = time.monotonic()
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)
        return time.monotonic() - begun

    async def ask(self, data: bytes = get()) -> Peer:  # bytes do not change
        peer = await Peer.connect(self.sock)
        peer.send(data)
        return peer


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own."""
    while not condition():
        await asyncio.sleep(0.01)


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()
