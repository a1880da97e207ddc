"""A client that keeps asking over HTTP/2, and does at the end of a connection what RFC 9113 says.

It opens no stream once GOAWAY has come, waits for the answers to those that the server has taken, and asks again, on
another connection, for what the server says that it has not (6.8, 8.7). Whatever else is not answered is lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.http2.wire import Client
from uvicorn_worker.http2.engine.codes import ACK, ErrorCode, FrameType

__all__ = ["Steady"]


class Steady:
    """Asks with `connections` times `streams` requests at once until it is told to stop."""

    def __init__(self, port: int, path: bytes = b"/", connections: int = 4, streams: int = 8) -> None:
        self.port = port
        self.path = path
        self.connections = connections
        self.streams = streams
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []
        self.again = 0
        self.opened = 0
        self.stopping = False

    async def run(self) -> None:
        await asyncio.gather(*[self._keep_asking() for _ in range(self.connections)])

    async def _keep_asking(self) -> None:
        while not self.stopping:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.opened += 1
            try:
                await self._converse(reader, writer)
            finally:
                writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client()
        open_streams: set[int] = set()
        last: int | None = None
        writer.write(client.preface())
        while True:
            while last is None and not self.stopping and len(open_streams) < self.streams:
                open_streams.add(client.next_id)
                writer.write(client.request(self.path))
            if not open_streams and (last is not None or self.stopping):
                return
            try:
                data = await asyncio.wait_for(reader.read(65536), 20)
            except OSError as exc:
                data = b""
                self.lost.append(repr(exc)) if open_streams else None
            if not data:
                self.lost += [f"stream {number} was not answered" for number in open_streams]
                return
            for frame in client.receive(data):
                if frame.kind == FrameType.GOAWAY:
                    last = frame.number
                    refused = {number for number in open_streams if number > last}
                    self.again += len(refused)
                    open_streams -= refused
                elif frame.kind == FrameType.PING and not frame.flags & ACK:
                    writer.write(client.ping(frame.payload, ACK))
            writer.write(client.window(len(data)))
            self._take(client, open_streams)

    def _take(self, client: Client, open_streams: set[int]) -> None:
        """Count the streams that are over."""
        for number in list(open_streams):
            stream = client.streams.get(number)
            if stream is None or not (stream.ended or stream.reset is not None):
                continue
            open_streams.discard(number)
            del client.streams[number]
            if stream.whole and stream.status == 200:
                self.answered[(stream.get(b"x-pid") or b"").decode()] += 1
            elif stream.reset == ErrorCode.REFUSED_STREAM:
                self.again += 1
            else:
                self.lost.append(f"stream {number}: {stream}")
