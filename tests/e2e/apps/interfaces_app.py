"""Applications that are not ASGI 3, and makers of applications."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

from eventlog import event

atexit.register(event, "atexit")
event("import", os.environ.get("FROM_FILE", "unset"))

TEXT = [("Content-Type", "text/plain")]


class Blocks:
    """A response that reports how far it got, and its end."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.block, self.given = count, b"x" * size, 0

    def __iter__(self) -> Iterator[bytes]:
        while self.given < self.count:
            self.given += 1
            yield self.block

    def close(self) -> None:
        event("closed", self.given)


def answer(start_response: Any, body: bytes, status: str = "200 OK") -> list[bytes]:
    start_response(status, [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def upload(environ: Any) -> bytes:
    """The request body, read piece by piece."""
    digest, size = hashlib.sha256(), 0
    while chunk := environ["wsgi.input"].read(10_000):
        digest.update(chunk)
        size += len(chunk)
    return f"{size} {digest.hexdigest()}".encode()


def fails_late() -> Iterator[bytes]:
    yield b"begun"
    raise ZeroDivisionError("late")


def sleep(environ: Any) -> bytes:
    event("sleeping")
    time.sleep(float(environ["QUERY_STRING"]))
    return b"slept"


def wsgi(environ: Any, start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/environ":
        shown = {name: value for name, value in environ.items() if isinstance(value, (str, bool))}
        return answer(start_response, json.dumps(shown).encode())
    if path == "/upload":
        return answer(start_response, upload(environ))
    if path == "/refuse":
        return answer(start_response, b"no", "403 Forbidden")
    if path == "/blocks":
        start_response("200 OK", TEXT)
        return Blocks(*map(int, environ["QUERY_STRING"].split(",")))
    if path == "/write":
        write = start_response("200 OK", TEXT)
        write(b"one ")
        return [b"two"]
    if path == "/raise":
        print("a line of", "the application", file=environ["wsgi.errors"])
        raise ZeroDivisionError("early")
    if path == "/late":
        start_response("200 OK", TEXT)
        return fails_late()
    if path == "/file":
        file = open(__file__, "rb")  # noqa: SIM115 - the wrapper closes it
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](file)
    if path == "/sleep":
        return answer(start_response, sleep(environ))
    return answer(start_response, threading.current_thread().name.partition("_")[0].encode())


def create_wsgi() -> Any:
    return wsgi


@validator
def strict(environ: Any, start_response: Any) -> Any:
    """Behind the standard library's validator, which raises for what is not to the letter of PEP 3333."""
    environ["wsgi.input"].readline()
    return answer(start_response, environ["wsgi.input"].read(100))


class Asgi2:
    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        if self.scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                event(kind)
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        elif self.scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": self.scope["asgi"]["version"]})
            event((await receive())["type"])
        else:
            body = f"{self.scope['asgi']['version']} {self.scope['path']}".encode()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": body})


def create_asgi2() -> Any:
    return Asgi2


def not_a_factory(one: Any) -> Any:
    """Looks like an ASGI 2 application, and is none."""
