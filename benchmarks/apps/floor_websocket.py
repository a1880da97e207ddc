"""Echoes without parsing, from a bare uvloop protocol: what the event loop itself can do with WebSockets.

The first message is unmasked; its length and its echo then stand for all later ones of the connection, which are told
apart by counting bytes. Hence it serves only clients whose messages are all the same, uncompressed and more than seven
bytes long.

Usage: python floor_websocket.py PORT
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from typing import cast

import uvloop

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
# A close frame with a status code and no reason, as the load generator sends it to end a connection.
_CLOSE_LENGTH = 8
_CLOSE = 0x88


class FixedEcho(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.head = b""
        self.received = 0
        self.frame_length = 0
        self.echo = b""
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.frame_length:
            data = self._start(data)
        self.received += len(data)
        if self.frame_length:
            echoes, self.received = divmod(self.received, self.frame_length)
            if echoes:
                self.transport.write(self.echo * echoes)
            if self.received == _CLOSE_LENGTH and data[-_CLOSE_LENGTH] == _CLOSE:
                self.transport.close()

    def _start(self, data: bytes) -> bytes:
        """Take what comes before the first whole frame; then return the bytes from that frame on."""
        self.head += data
        if not self.open and b"\r\n\r\n" in self.head:
            head, _, self.head = self.head.partition(b"\r\n\r\n")
            self._answer(head)
        if self.open and len(self.head) >= 14:
            self._learn()
        if not self.frame_length:
            return b""
        return self.head

    def _answer(self, head: bytes) -> None:
        fields = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in head.split(b"\r\n")[1:]}
        key = fields[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )
        self.open = True

    def _learn(self) -> None:
        head = self.head
        size = head[1] & 0x7F
        extended = {126: 2, 127: 8}.get(size, 0)
        if extended:
            size = int.from_bytes(head[2 : 2 + extended], "big")
        start = 2 + extended + 4
        if len(head) < start + size:
            return
        stream = (head[start - 4 : start] * (size // 4 + 1))[:size]
        payload = int.from_bytes(head[start : start + size], "big") ^ int.from_bytes(stream, "big")
        # The same header without the mask.
        self.echo = bytes([head[0], head[1] & 0x7F]) + head[2 : 2 + extended] + payload.to_bytes(size, "big")
        self.frame_length = start + size


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(FixedEcho, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
