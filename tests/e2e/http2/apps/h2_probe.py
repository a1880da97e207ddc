"""An ASGI app for the HTTP/2 tests: the probe's views, and a gRPC service written by hand."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import probe

PIECE = bytes(range(256)) * 256


async def app(scope: Any, receive: Any, send: Any) -> None:
    view = VIEWS.get(scope.get("path", ""))
    if scope["type"] == "websocket":
        await echo_texts(scope, receive, send)
    elif view is not None:
        await view(scope, receive, send)
    else:
        await probe.app(scope, receive, send)


async def download(scope: Any, receive: Any, send: Any) -> None:
    """As many pieces of 64 KiB as the query says."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-pid", b"%d" % os.getpid())]})
    for _ in range(int(scope["query_string"] or b"1")):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body"})


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """Takes a moment, so that there is something to wait for when a worker stops."""
    await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-pid", b"%d" % os.getpid())]})
    await send({"type": "http.response.body", "body": b"slow"})


async def peak(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body; tells its size, and by how many KiB the peak of the process's memory has grown meanwhile."""
    before, size = peak_memory(), 0
    while True:
        event = await receive()
        size += len(event.get("body", b""))
        if not event.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"%d %d" % (size, peak_memory() - before)})


def peak_memory() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


async def hinted(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload; as=style"]})
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hinted"})


async def page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<!doctype html><title>page</title>"})


async def grpc(scope: Any, receive: Any, send: Any) -> None:
    """Unary: one message back. Stream: each message three times. Fail: status 5."""
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    headers = [(b"content-type", b"application/grpc")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    status = [(b"grpc-status", b"0")]
    if scope["path"].endswith("Fail"):
        status = [(b"grpc-status", b"5"), (b"grpc-message", b"not here")]
    else:
        for _ in range(3 if scope["path"].endswith("Stream") else 1):
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(0)
    await send({"type": "http.response.body"})
    await send({"type": "http.response.trailers", "headers": status})


async def echo_texts(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{scope['http_version']} {event['text']}"})


VIEWS = {
    "/download": download,
    "/slow": slow,
    "/peak": peak,
    "/hinted": hinted,
    "/page": page,
    "/echo.Echo/Unary": grpc,
    "/echo.Echo/Stream": grpc,
    "/echo.Echo/Fail": grpc,
}
