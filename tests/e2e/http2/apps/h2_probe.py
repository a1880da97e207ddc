"""An ASGI app for the HTTP/2 tests: the probe's views, and a gRPC service written by hand."""

from __future__ import annotations

import asyncio
import os
import struct
import zlib
from typing import Any

import eventlog
import probe

PIECE = bytes(range(256)) * 256


def png(size: int) -> bytes:
    """A black square, which a browser draws sooner than a document of its own as an SVG is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = chunk(b"IHDR", struct.pack(">2I5B", size, size, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(size * (size + 1))))
    return b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b"")


PNG = png(9)


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


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """A gRPC call that goes both ways: each message comes back by itself, as soon as it is there."""
    headers = [(b"content-type", b"application/grpc")]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
    held, more = b"", True
    while more:
        event = await receive()
        held += event.get("body", b"")
        more = event.get("more_body", False)
        while len(held) >= 5 and len(held) >= (size := 5 + int.from_bytes(held[1:5], "big")):
            await send({"type": "http.response.body", "body": held[:size], "more_body": True})
            held = held[size:]
    await send({"type": "http.response.body"})
    await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})


async def tokens(scope: Any, receive: Any, send: Any) -> None:
    """An event stream: as many events as the query says, and milliseconds between them."""
    count, pause = map(int, scope["query_string"].split(b","))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for number in range(count):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await asyncio.sleep(pause / 1000)
    await send({"type": "http.response.body"})


async def stubborn(scope: Any, receive: Any, send: Any) -> None:
    """Waits for five seconds, whoever leaves meanwhile; it can be cancelled."""
    await asyncio.sleep(5)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"at last"})


async def images(scope: Any, receive: Any, send: Any) -> None:
    """A page with two hundred images, or as many as the query says behind a comma, which take a moment each."""
    count = int(scope["query_string"].partition(b",")[2] or b"200")
    page = b"<!doctype html><title>images</title>" + b"".join(
        b'<img src="/image?%s&%d">' % (scope["query_string"], number) for number in range(count)
    )
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": page})


async def image(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.2)
    headers = [(b"content-type", b"image/png"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PNG})


async def held(scope: Any, receive: Any, send: Any) -> None:
    """Waits until the file `open` is there."""
    eventlog.event("held")
    opened = os.path.join(os.environ["E2E_DIR"], "open")
    while not os.access(opened, os.F_OK):
        await asyncio.sleep(0.01)
    if scope["path"] == "/held":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"held"})
    else:
        await grpc(scope, receive, send)


async def early(scope: Any, receive: Any, send: Any) -> None:
    """Answers before it has read anything."""
    await send({"type": "http.response.start", "status": 403})
    await send({"type": "http.response.body", "body": b"no"})


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
    "/tokens": tokens,
    "/stubborn": stubborn,
    "/images": images,
    "/image": image,
    "/early": early,
    "/held": held,
    "/echo.Echo/Held": held,
    "/echo.Echo/Talk": talk,
    "/echo.Echo/Stubborn": stubborn,
    "/echo.Echo/Unary": grpc,
    "/echo.Echo/Stream": grpc,
    "/echo.Echo/Fail": grpc,
}
