"""A plain ASGI app that reports what happens to it. How it behaves at boot is set in its environment:

``PROBE_IMPORT``    ``error``: importing this module raises
``PROBE_LIFESPAN``  ``ok``, ``unsupported`` (raises at once), ``raise`` (after taking lifespan.startup), ``failed``,
                    ``gate`` (the first worker waits for the file ``open``), or a number: seconds that startup takes
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from eventlog import event

Scope = dict[str, Any]

event("import")
if os.environ.get("PROBE_IMPORT") == "error":
    raise ImportError("the app refuses to be imported")


def factory(name: str = "default") -> Any:
    event("factory", name)
    return app


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    event("request", scope["path"])
    query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
    view = VIEWS.get(scope["path"], hello)
    await view(scope, query, receive, send)


# ---------------------------------------------------------------------- lifespan


async def lifespan(receive: Any, send: Any) -> None:
    mode = os.environ.get("PROBE_LIFESPAN", "ok")
    if mode == "unsupported":
        raise RuntimeError("this app knows no lifespan")
    await receive()
    event("starting", mode)
    if mode == "raise":
        raise RuntimeError("startup went wrong")
    if mode == "failed":
        await send({"type": "lifespan.startup.failed", "message": "startup gave up"})
        return
    if mode == "gate":
        await gate()
    elif mode != "ok":
        await asyncio.sleep(float(mode))
    atexit.register(event, "atexit")
    event("startup")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    event("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


async def gate() -> None:
    here = Path(os.environ["E2E_DIR"])
    try:
        (here / "first").touch(exist_ok=False)
    except FileExistsError:
        return
    event("waiting")
    while not (here / "open").exists():  # made by the test, which is another process
        await asyncio.sleep(0.02)


# ---------------------------------------------------------------------- views


async def answer(send: Any, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    fields = [(b"content-length", b"%d" % len(body)), (b"x-pid", b"%d" % os.getpid()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    await answer(send, b"Hello, world!", (b"content-type", b"text/plain"), (b"x-out", b"outgoing"))


async def sleep(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    event("sleeping")
    await asyncio.sleep(float(query.get("s", "1")))
    await answer(send, b"slept")


async def block(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    event("blocking")
    view_that_blocks(float(query.get("s", "30")))
    await answer(send, b"blocked")


async def leave(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    sys.exit(int(query["code"]))


def view_that_blocks(seconds: float) -> None:
    time.sleep(seconds)


async def echo(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    """Length and digest of the body."""
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        body = message.get("body", b"")
        digest.update(body)
        size += len(body)
        more = message.get("more_body", False)
    await answer(send, f"{size} {digest.hexdigest()}".encode())


async def stream(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    """``n`` parts without a Content-Length."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(int(query.get("n", "10"))):
        await send({"type": "http.response.body", "body": b"part %d\n" % number, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def endless(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    """Send until send() raises."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            await asyncio.sleep(0)
    except OSError as error:
        event("send-raised-oserror", type(error).__name__)
        event("then-received", (await receive())["type"])


async def wait(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    """Receive until the client has left."""
    event("waiting-for-disconnect")
    while (message := await receive())["type"] != "http.disconnect":
        event("received", message["type"])
    event("disconnected")


async def report(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    """What the app can see of the process it runs in."""
    handler = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()
    seen = {
        "loop": type(loop).__module__.partition(".")[0],
        "modules": [name for name in ("uvloop", "httptools", "h11") if name in sys.modules],
        "should_exit": hasattr(getattr(handler, "__self__", None), "should_exit"),
        "client": scope["client"],
        "server": scope["server"],
        "asgi": scope["asgi"],
    }
    await answer(send, json.dumps(seen).encode(), (b"content-type", b"application/json"))


async def fail(scope: Scope, query: dict[str, str], receive: Any, send: Any) -> None:
    raise RuntimeError("the view went wrong")


VIEWS = {
    "/sleep": sleep,
    "/block": block,
    "/exit": leave,
    "/echo": echo,
    "/stream": stream,
    "/endless": endless,
    "/wait": wait,
    "/report": report,
    "/fail": fail,
}
