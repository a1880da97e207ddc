"""The protocol behind real sockets of the loopback, with ticks that the test gives: no time has to pass."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.http1.harness import http1_factory
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.clock import TICK
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.kernel import unsent_by_kernel
from uvicorn_worker.core.runtime import Runtime

__all__ = ["Site", "Visitor", "serving", "until"]

PATIENCE = 20.0


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.001)


class Site:
    """Serves an application on a free port."""

    def __init__(self, runtime: Runtime, server: asyncio.AbstractServer, address: Any) -> None:
        self.runtime = runtime
        self.server = server
        self.address = address
        self.passed = 0.0

    def tick(self, seconds: float) -> None:
        """Let time pass for the deadlines, but not for the loop."""
        for _ in range(round(seconds / TICK)):
            self.passed += TICK
            self.runtime.count_tick()
            self.runtime.on_tick(time.monotonic() + self.passed)

    @property
    def connections(self) -> set[Any]:
        return self.runtime.connections

    async def taken(self) -> None:
        """Wait until the clients have acknowledged all that was sent, which may be a little after they have read it."""
        await until(lambda: not any(unsent_by_kernel(connection.transport) for connection in self.connections))

    async def connect(self, receive_buffer: int = 0) -> Visitor:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        before = len(self.connections)
        await self.runtime.loop.sock_connect(sock, self.address)
        await until(lambda: len(self.connections) > before)
        return Visitor(self.runtime.loop, sock)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Site]:
    """A `Site`, whose connections are cut at the end."""
    loop = asyncio.get_running_loop()
    runtime = Runtime(Config(app=app, **options), app, loop)
    server = await loop.create_server(http1_factory(runtime), "127.0.0.1", 0, ssl=tls)
    site = Site(runtime, server, server.sockets[0].getsockname())
    try:
        yield site
    finally:
        server.close()
        for connection in list(runtime.connections):
            connection.abort()
        for cycle in list(runtime.cycles):
            cycle.cancel()
        await until(lambda: not runtime.connections and not runtime.cycles)


class Visitor:
    """A client, which sees whether the server ends the connection or resets it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.loop = loop
        self.sock = sock

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send_now(self, data: bytes) -> None:
        """Send what fits, in no turn of the loop: the server has not read it when this returns."""
        assert self.sock.send(data) == len(data)

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self.loop.sock_sendall(self.sock, data), PATIENCE)

    async def receive(self, size: int = 65536) -> bytes:
        """One read; ConnectionResetError for a reset."""
        return await asyncio.wait_for(self.loop.sock_recv(self.sock, size), PATIENCE)

    async def answer(self) -> bytes:
        """One response with a length."""
        data = b""
        while True:
            head, separator, body = data.partition(b"\r\n\r\n")
            if separator and len(body) >= int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]):
                return data
            more = await self.receive()
            assert more, f"the connection ended after {data!r}"
            data += more

    async def rest(self) -> bytes:
        """Everything up to the end; ConnectionResetError for a reset."""
        data = bytearray()
        while more := await self.receive(1048576):
            data += more
        return bytes(data)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
