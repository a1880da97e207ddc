"""What the tests of the server have in common: one that has started."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from tests.sockets import Peer
from uvicorn_worker import Config, Server
from uvicorn_worker.core.asgi import ASGIApp

__all__ = ["serving"]


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, sock: socket.socket, *more: socket.socket, **options: Any) -> AsyncIterator[Server]:
    """A server that has started; it is stopped at the end."""
    options = {"timeout_graceful_shutdown": 0.3, "timeout_drain_idle": 0, **options}
    server = Server(Config(app=app, **options))
    await server.startup([sock, *more])
    try:
        yield server
    finally:
        for peer in Peer.live:
            peer.writer.close()
        for _ in range(5):
            await asyncio.sleep(0)
        await server.shutdown()
        sock.close()
        for each in more:
            each.close()
