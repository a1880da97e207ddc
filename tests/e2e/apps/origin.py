"""Answers with where a request comes from, over HTTP and WebSocket."""

from __future__ import annotations

import json
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    seen = {name: scope[name] for name in ("type", "client", "server", "scheme", "path", "root_path")}
    seen["headers"] = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    text = json.dumps(seen)
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": text})
        # Old releases of the client lose a message that a close follows at once.
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    body = text.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
