"""Keeps what it was asked for: `/seen` gives the id that a front has given each message, its target and its body."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn_worker.core.asgi import Receive, Scope, Send

seen: list[list[str]] = []


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return
    body, more = b"", True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        body += event["body"]
        more = event["more_body"]
    answer = b""
    if scope["path"] == "/seen":
        answer = json.dumps(seen).encode()
        seen.clear()
    else:
        ids = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-front-id"]
        seen.append([",".join(ids), body.hex()])
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
