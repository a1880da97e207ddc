"""Small applications for the tests of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send

__all__ = ["Gate", "Recorder", "answer", "body", "echo", "hello", "read_body", "respond", "start", "stream"]

Fields = Iterable[tuple[bytes, bytes]]


def start(status: int = 200, headers: Any = ()) -> Event:
    """The message http.response.start."""
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: Any = b"", more: bool = False) -> Event:
    """The message http.response.body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


async def answer(send: Send, data: bytes = b"Hello, world!", status: int = 200, headers: Fields = ()) -> None:
    """Send a whole response."""
    fields = [(b"content-length", b"%d" % len(data)), *headers]
    await send(start(status, fields))
    await send(body(data))


async def read_body(receive: Receive) -> bytes:
    """The whole request body; ConnectionError when the client left before its end."""
    data = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("the client left")
        data += event["body"]
        if not event["more_body"]:
            return bytes(data)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Thirteen bytes."""
    await answer(send)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The request's method, path and body."""
    data = await read_body(receive)
    await answer(send, f"{scope['method']} {scope['path']} ".encode() + data)


def respond(*events: Event) -> ASGIApp:
    """An application that sends these messages and returns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events:
            await send(event)

    return app


def stream(*pieces: bytes, status: int = 200, headers: Fields = ()) -> ASGIApp:
    """An application that sends each piece as a message of its own."""
    last = len(pieces) - 1
    return respond(start(status, headers), *(body(piece, at < last) for at, piece in enumerate(pieces)))


class Recorder:
    """Runs an application, and remembers the scopes it was called with, what was received, and what it raised."""

    def __init__(self, app: ASGIApp = hello) -> None:
        self.app = app
        self.scopes: list[Scope] = []
        self.received: list[Event] = []
        self.raised: list[BaseException] = []
        self.done = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)

        async def receive_and_remember() -> Event:
            event = await receive()
            self.received.append(event)
            return event

        try:
            await self.app(scope, receive_and_remember, send)
        except BaseException as exc:
            self.raised.append(exc)
            raise
        finally:
            self.done += 1

    @property
    def scope(self) -> Scope:
        """The scope of the one request."""
        (scope,) = self.scopes
        return scope

    @property
    def paths(self) -> list[str]:
        return [scope["path"] for scope in self.scopes]


class Gate:
    """An application that waits, each request anew, until the test lets it go on with `app`."""

    def __init__(self, app: ASGIApp = hello) -> None:
        self.app = app
        self.waiting: list[asyncio.Future[None]] = []
        self.paths: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        await self.wait()
        await self.app(scope, receive, send)

    async def wait(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    def open(self) -> None:
        """Let the request that has waited longest go on."""
        self.waiting.pop(0).set_result(None)


def calling(function: Callable[[Scope, Receive, Send], Awaitable[None]]) -> ASGIApp:
    """The function as an ASGI application, for type checkers."""
    return function
