"""An application that tells what it is asked, and the table of the tests that show an option's effect by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["FILES", "SHOWN", "shows"]

T = TypeVar("T", bound=Callable[..., object])

SHOWN: dict[str, str] = {}
"""The tests by the options whose effect they show."""


def shows(*options: str) -> Callable[[T], T]:
    """The test shows the effect of these options."""

    def note(test: T) -> T:
        for option in options:
            SHOWN[option] = test.__name__
        return test

    return note


PROBE = """
import asyncio, contextvars, json, os, sys, time

seen = contextvars.ContextVar("seen", default="nothing")
seen.set("import")

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        seen.set("lifespan")
        print("startup", flush=True)
        if "SLOW_START" in os.environ:
            await asyncio.sleep(60)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shutdown", flush=True)
        if "SLOW_STOP" in os.environ:
            await asyncio.sleep(60)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if message.get("text") == "close":
                await send({"type": "websocket.close"})
        print("websocket", message["code"], flush=True)
    else:
        await ask(scope, receive, send)

async def ask(scope, receive, send):
    path = scope["path"].removeprefix(scope["root_path"])
    if path == "/slow":
        print("slow", flush=True)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise
    if path == "/block":
        time.sleep(0.3)
    if path == "/body":
        while (await receive()).get("more_body"):
            pass
    if path == "/flood":
        await send({"type": "http.response.start", "status": 200})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(100000), "more_body": True})
    if path == "/file":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.pathsend", "path": os.path.abspath(__file__)})
        return
    asgi = scope["asgi"]
    told = {
        "method": scope["method"],
        "root_path": scope["root_path"],
        "spec_version": asgi["spec_version"],
        "version": scope["http_version"],
        "scheme": scope["scheme"],
        "client": scope["client"],
        "headers": [[name.decode(), value.decode()] for name, value in scope["headers"]],
        "loop": type(asyncio.get_running_loop()).__module__,
        "seen": seen.get(),
        "state": {name: value for name, value in scope.get("state", {}).items() if isinstance(value, str)},
        "env": {name: value for name, value in os.environ.items() if name.startswith("E2E_X")},
        "file": __file__,
        "dont_write": sys.dont_write_bytecode,
    }
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

def create():
    return app
"""
FILES = {"probe.py": PROBE, "src/inner.py": PROBE, "a.env": "E2E_XA=1\nE2E_XB=1\n", "b.env": "E2E_XB=2\n"}
