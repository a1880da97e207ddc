"""An application with handlers that block the event loop; they write an event before."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from typing import Any

from eventlog import event


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    """`/block` in Python, `/c` in C code that does not come back for a signal; `/wait` waits, all else answers."""
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    path = scope["path"]
    if path in ("/block", "/c"):
        event("blocks", path)
        if path == "/block":
            block()
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2_000_000_000)
    elif path == "/inner":
        # As middleware of frameworks does: the handler runs in a task of its own.
        await asyncio.create_task(inner(scope))
    elif path == "/wait":
        await asyncio.sleep(0.2)
    headers = [(b"x-pid", str(os.getpid()).encode()), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def inner(scope: dict[str, Any]) -> None:
    """A handler that blocks."""
    event("blocks", scope["path"])
    block()


def block() -> None:
    """In Python, where a signal is heard."""
    time.sleep(600)
