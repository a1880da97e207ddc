"""An application behind the fronts of the documentation: who asks, uploads, a stream that waits, a WebSocket."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

_released: dict[str, asyncio.Event] = {}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    name = scope["query_string"].decode()
    if scope["path"] == "/events":
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        await _released.setdefault(name, asyncio.Event()).wait()
        await send({"type": "http.response.body", "body": b"data: last\n\n"})
        return
    if scope["path"] == "/release":
        _released.setdefault(name, asyncio.Event()).set()
    digest, more = hashlib.sha256(), True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        more = message.get("more_body", False)
    fields = dict(scope["headers"])
    seen = {
        "client": scope["client"] and scope["client"][0],
        "scheme": scope["scheme"],
        "version": scope["http_version"],
        "host": fields.get(b"host", b"").decode(),
        "digest": digest.hexdigest(),
    }
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
