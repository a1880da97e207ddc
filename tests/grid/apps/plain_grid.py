"""Nothing but ASGI, by which the grid itself is known to work."""

from __future__ import annotations

import asyncio
from typing import Any

from common import Go, digest, endless, event, gated, slowly

go = Go()


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"].partition(".")[2]
        event(kind)
        await send({"type": f"lifespan.{kind}.complete"})
        if kind == "shutdown":
            return


async def _websocket(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    event("websocket-left", message.get("code"))


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    if scope["type"] == "websocket":
        return await _websocket(receive, send)
    path = scope["path"]
    if path == "/error":
        raise RuntimeError("grid error")

    async def begin(content_type: bytes = b"text/plain") -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})

    async def stream(pieces: Any) -> None:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
        await send({"type": "http.response.body"})

    if path == "/stream":
        await begin()
        return await stream(gated(go, "first\n", "last\n"))
    if path == "/sse":
        await begin(b"text/event-stream")
        return await stream(gated(go, "data: first\n\n", "data: last\n\n"))
    if path in ("/quiet", "/busy"):
        await begin(b"text/event-stream")
        pieces = endless(path[1:], 3600 if path == "/quiet" else 0.02)
        streaming = asyncio.ensure_future(stream(pieces))
        while (await receive())["type"] != "http.disconnect":
            pass
        streaming.cancel()
        return None
    if path == "/upload":
        text = digest(await _body(receive))
    elif path == "/go":
        text = go.now()
    elif path == "/slow":
        text = await slowly()
    else:
        text = f"hello {path.rpartition('/')[2]}"
    await begin()
    await send({"type": "http.response.body", "body": text.encode()})
    if path == "/background":
        event("background")
    return None
