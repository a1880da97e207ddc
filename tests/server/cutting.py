"""A TCP proxy that cuts: it passes on so many bytes of one direction, and then does what networks and clients do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

__all__ = ["HOWS", "Cut", "CuttingProxy"]

#: What is done at the cut: both sides are closed, or reset; the sender's side alone is closed; the bytes before and
#: those behind are two reads; all bytes are passed on one by one.
HOWS = ("close", "reset", "half-close", "split", "bytes")


class Cut:
    """Where, and in which direction: `at` bytes of the client's, or of the server's."""

    def __init__(self, at: int, how: str, *, of_server: bool = False) -> None:
        self.at = at
        self.how = how
        self.of_server = of_server


class CuttingProxy:
    """Listens for clients of a server on loopback; `cut` is that of the connections to come."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._server: asyncio.Server | None = None
        self.cut = Cut(0, "split")
        self.port = 0
        # The connections that are not over yet.
        self.open = 0

    async def __aenter__(self) -> CuttingProxy:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        cut = self.cut
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        writers = (writer, server_writer)
        ways = [
            asyncio.ensure_future(_Way(reader, server_writer, None if cut.of_server else cut, writers).run()),
            asyncio.ensure_future(_Way(server_reader, writer, cut if cut.of_server else None, writers).run()),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for each in writers:
                each.close()
            for each in writers:
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            self.open -= 1


class _Way:
    """One direction of a connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cut: Cut | None,
        writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._cut = cut
        self._writers = writers
        self._passed = 0

    async def run(self) -> None:
        """Pass on what comes, up to the cut or the end."""
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                if await self._send(data):
                    return
        if not self._writer.is_closing():
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write_eof()

    async def _send(self, data: bytes) -> bool:
        """Whether it was the last."""
        cut, before = self._cut, self._passed
        self._passed += len(data)
        if cut is None:
            self._writer.write(data)
        elif cut.how == "bytes":
            for at in range(len(data)):
                await self._write_apart(data[at : at + 1])
        elif self._passed < cut.at:
            self._writer.write(data)
        elif cut.how == "split":
            if cut.at > before:
                await self._write_apart(data[: cut.at - before])
                data = data[cut.at - before :]
            self._writer.write(data)
        else:
            self._writer.write(data[: cut.at - before])
            await self._end(cut.how)
            return True
        return False

    async def _write_apart(self, data: bytes) -> None:
        """A read of its own: by then the other side has had a turn."""
        self._writer.write(data)
        await self._writer.drain()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _end(self, how: str) -> None:
        if how == "half-close":
            self._writer.write_eof()
            return
        for writer in self._writers:
            if how == "reset":
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()
