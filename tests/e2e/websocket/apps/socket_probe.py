"""A plain ASGI app that reports what happens to its WebSockets."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import parse_qs

from eventlog import event

Scope = dict[str, Any]


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        event("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        event("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        body = b"Hello, world!"
        fields = [(b"content-length", b"%d" % len(body)), (b"x-pid", b"%d" % os.getpid())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})
    else:
        await VIEWS[scope["path"]](scope, receive, send)


async def accept(receive: Any, send: Any, **message: Any) -> None:
    connect = await receive()
    assert connect == {"type": "websocket.connect"}, connect
    pid = (b"x-pid", b"%d" % os.getpid())
    headers = [pid, *message.pop("headers", ())]
    await send({"type": "websocket.accept", "headers": headers, **message})


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    await accept(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    event("disconnect", f"{message['code']} {message['reason']}")


async def hold(scope: Scope, receive: Any, send: Any) -> None:
    """Says what it received, and sends nothing."""
    await accept(receive, send)
    event("open")
    while (message := await receive())["type"] == "websocket.receive":
        event("received", len(message.get("bytes") or message.get("text") or ""))
    event("disconnect", f"{message['code']} {message['reason']}")


async def deaf(scope: Scope, receive: Any, send: Any) -> None:
    """Receives nothing."""
    await accept(receive, send)
    event("open")
    await asyncio.get_running_loop().create_future()


async def push(scope: Scope, receive: Any, send: Any) -> None:
    """Sends as much as the client takes; says so when it takes no more."""
    await accept(receive, send)
    sent = 0
    for _ in range(200):
        try:
            await asyncio.wait_for(send({"type": "websocket.send", "bytes": bytes(1_000_000)}), 1)
        except asyncio.TimeoutError:
            event("blocked", sent)
            await asyncio.get_running_loop().create_future()
        sent += 1_000_000
    event("unblocked", sent)


async def subprotocol(scope: Scope, receive: Any, send: Any) -> None:
    await accept(receive, send, subprotocol=scope["subprotocols"][-1], headers=[(b"x-one", b"1"), (b"x-one", b"2")])
    await send({"type": "websocket.send", "text": " ".join(scope["subprotocols"])})


async def close(scope: Scope, receive: Any, send: Any) -> None:
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
    await accept(receive, send)
    await send({"type": "websocket.close", "code": int(query["code"]), "reason": query.get("reason", "")})
    message = await receive()
    event("disconnect", f"{message['code']} {message['reason']}")


async def back(scope: Scope, receive: Any, send: Any) -> None:
    await accept(receive, send)


async def fail(scope: Scope, receive: Any, send: Any) -> None:
    await accept(receive, send)
    raise RuntimeError("the app went wrong")


async def fail_early(scope: Scope, receive: Any, send: Any) -> None:
    raise RuntimeError("the app went wrong")


async def refuse(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def deny(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"x-why", b"no")]
    await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"who are ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"you?"})


VIEWS = {
    "/echo": echo,
    "/hold": hold,
    "/deaf": deaf,
    "/push": push,
    "/subprotocol": subprotocol,
    "/close": close,
    "/back": back,
    "/fail": fail,
    "/fail-early": fail_early,
    "/refuse": refuse,
    "/deny": deny,
}
