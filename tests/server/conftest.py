"""Fixtures of the tests of the server: real sockets on the loopback, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.scripted import Response, parse_responses
from uvicorn_worker import Config, Server
from uvicorn_worker.asgi import ASGIApp

__all__ = ["Peer", "Run", "listen", "serving"]

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# Longer than any of these tests takes; a test that hangs fails by it.
PATIENCE = 20.0


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine to its end on each kind of event loop."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        loop = importlib.import_module("uvloop").new_event_loop()
    else:
        loop = asyncio.new_event_loop()

    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: faults.append(context))

    async def with_clean_up(coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await asyncio.wait_for(coroutine, PATIENCE)
        finally:
            while Peer.live:
                await Peer.live.pop().close()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    yield lambda coroutine: loop.run_until_complete(with_clean_up(coroutine))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert faults == []


def listen(where: str | Path = "127.0.0.1") -> socket.socket:
    """A bound socket: of a path, or of an address and a free port."""
    if isinstance(where, Path):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(where))
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET)
        sock.bind((where, 0))
    return sock


class Peer:
    """A client of a real socket; it is closed when the test ends."""

    live: ClassVar[list[Peer]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.live.append(self)

    @classmethod
    async def connect(cls, sock: socket.socket, tls: ssl.SSLContext | None = None) -> Peer:
        name = sock.getsockname()
        if isinstance(name, str):
            return cls(*await asyncio.open_unix_connection(name, ssl=tls, server_hostname="localhost" if tls else None))
        return cls(*await asyncio.open_connection(*name[:2], ssl=tls, server_hostname="localhost" if tls else None))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> Response:
        """The next response, which has a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")), 0
        )
        (response,) = parse_responses(head + await self.reader.readexactly(length))
        return response

    async def ask(self, data: bytes) -> Response:
        self.send(data)
        return await self.response()

    async def rest(self) -> bytes:
        """What comes until the server ends the connection; it counts as ended when it is reset."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def reset(self) -> None:
        """Leave so that the server is told at once."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, sock: socket.socket, *more: socket.socket, **options: Any) -> AsyncIterator[Server]:
    """A server that has started; it is stopped at the end."""
    options = {"timeout_graceful_shutdown": 0.3, "timeout_drain_idle": 0, **options}
    server = Server(Config(app=app, **options))
    await server.startup(app, [sock, *more])
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
