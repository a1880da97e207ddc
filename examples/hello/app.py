"""A small ASGI application without a framework: an answer, a stream, a 404, and a lifespan."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "http":
        if scope["path"] == "/":
            await answer(send, 200, scope["state"]["greeting"])
        elif scope["path"] == "/stream":
            await stream(send)
        else:
            await answer(send, 404, b"Not Found\n")
    else:
        # ASGI asks for an exception when a connection type is not supported.
        raise NotImplementedError(scope["type"])


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()  # lifespan.startup
    # Open what all requests share here. Each request gets a copy of this dictionary as scope["state"].
    scope["state"]["greeting"] = b"Hello, world!\n"
    await send({"type": "lifespan.startup.complete"})
    await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})


async def answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def stream(send: Send) -> None:
    """Ten lines, one every tenth of a second."""
    # No content-length: over HTTP/1.1 the body is sent in chunks.
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(1, 11):
        await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b""})
