"""An application that says whether it wants requests, so that a load balancer can leave before it stops."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def stopping() -> bool:
    """Whether the worker was told to stop: its handler of SIGTERM belongs to an object that knows."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError("this application serves HTTP only")
    status, text = 200, f"served by {os.environ.get('MACHINE', 'this machine')}\n"
    if scope["path"] == "/health":
        status, text = (503, "stopping\n") if stopping() else (200, "ready\n")
    elif scope["path"] == "/slow":
        await asyncio.sleep(1)
    body = text.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
