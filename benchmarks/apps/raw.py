"""The plain ASGI application of the raw scenarios.

It does as little as an application can, so that what is measured is the server. Every server runs this same file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# What the scenarios expect; `benchmarks/scenarios.py` states the same sizes.
HELLO = b"Hello, World!"
CHUNK = b"0123456789abcdef" * 8
CHUNKS = 10
DOWNLOAD = b"0123456789abcdef" * 65536

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


_ROUTES = {"/": hello, "/echo": echo, "/chunks": chunks, "/download": download}


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await _ROUTES[scope["path"]](receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        raise ValueError(f"unexpected scope type {scope['type']!r}")


# The same by another name, by which the servers are started with HTTP/2.
http2 = app
