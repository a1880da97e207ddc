"""The plain ASGI application of the raw scenarios.

It does as little as an application can, so that what is measured is the server. Every server runs this same file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from data_file import data_file  # type: ignore[import-not-found]

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# What the scenarios expect; `benchmarks/scenarios.py` states the same sizes.
HELLO = b"Hello, World!"
CHUNK = b"0123456789abcdef" * 8
CHUNKS = 10
DOWNLOAD = b"0123456789abcdef" * 65536
TEN_KILOBYTES = b"0123456789abcdef" * 640
# How much of a body, or of a file, is sent at once.
PIECE = 65536

_TEXT = (b"content-type", b"text/plain")


def _start(*headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


async def hello(receive: Receive, send: Send) -> None:
    await send(_start(_TEXT, (b"content-length", b"13")))
    await send({"type": "http.response.body", "body": HELLO})


async def echo(receive: Receive, send: Send) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    await send(_start(_TEXT, (b"content-length", str(len(body)).encode())))
    await send({"type": "http.response.body", "body": body})


async def chunks(receive: Receive, send: Send) -> None:
    # No content-length, and the end is an empty message of its own, as streaming responses of the frameworks do it.
    await send(_start(_TEXT))
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def download(receive: Receive, send: Send) -> None:
    await send(_start(_TEXT, (b"content-length", str(len(DOWNLOAD)).encode())))
    await send({"type": "http.response.body", "body": DOWNLOAD})


async def pieces(receive: Receive, send: Send) -> None:
    await send(_start(_TEXT, (b"content-length", str(len(DOWNLOAD)).encode())))
    for at in range(0, len(DOWNLOAD), PIECE):
        await send(
            {"type": "http.response.body", "body": DOWNLOAD[at : at + PIECE], "more_body": at + PIECE < len(DOWNLOAD)}
        )


async def ten_kilobytes(receive: Receive, send: Send) -> None:
    await send(_start(_TEXT, (b"content-length", b"10240")))
    await send({"type": "http.response.body", "body": TEN_KILOBYTES})


async def count(receive: Receive, send: Send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"%d bytes" % size
    await send(_start(_TEXT, (b"content-length", str(len(body)).encode())))
    await send({"type": "http.response.body", "body": body})


async def file(scope: dict[str, Any], send: Send) -> None:
    await send(_start(_TEXT, (b"content-length", str(len(DOWNLOAD)).encode())))
    if "http.response.pathsend" in (scope.get("extensions") or {}):
        await send({"type": "http.response.pathsend", "path": data_file(DOWNLOAD)})
        return
    # As frameworks do it: each piece is read by a thread.
    loop = asyncio.get_running_loop()
    opened = await loop.run_in_executor(None, open, data_file(DOWNLOAD), "rb")
    try:
        more = True
        while more:
            piece = await loop.run_in_executor(None, opened.read, PIECE)
            more = len(piece) == PIECE
            await send({"type": "http.response.body", "body": piece, "more_body": more})
    finally:
        opened.close()


_ROUTES = {
    "/": hello,
    "/echo": echo,
    "/chunks": chunks,
    "/download": download,
    "/pieces": pieces,
    "/count": count,
    "/10k": ten_kilobytes,
}


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "http" and scope["path"] == "/file":
        await file(scope, send)
    elif scope["type"] == "http":
        await _ROUTES[scope["path"]](receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        raise ValueError(f"unexpected scope type {scope['type']!r}")


# The same by another name, by which the servers are started with HTTP/2.
http2 = app
tls = app
