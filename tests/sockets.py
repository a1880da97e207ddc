"""Real sockets on the loopback: listening ones, and a client's."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

from tests.scripted import Response, parse_responses

__all__ = ["PATIENCE", "Peer", "Run", "free_port", "listen", "run_alone"]

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# Longer than any of these tests takes; a test that hangs fails by it.
PATIENCE = 50.0


def listen(where: str | Path = "127.0.0.1") -> socket.socket:
    """A bound socket: of a path, or of an address and a free port."""
    if isinstance(where, Path):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(where))
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in where else socket.AF_INET)
        sock.bind((where, 0))
    return sock


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago, for programs that can neither inherit a socket nor use a unix one.

    It is below those that the kernel gives away by itself, so that nobody gets it in between by chance.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port


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

    @classmethod
    async def close_all(cls) -> None:
        """Close those that live: their loop is about to end, and they can't be closed without it."""
        while cls.live:
            await cls.live.pop().close()


def run_alone(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, in a loop that is asyncio's alone; its clients are closed with it."""

    async def with_clean_up() -> Any:
        try:
            return await coroutine
        finally:
            await Peer.close_all()

    return asyncio.run(with_clean_up())
