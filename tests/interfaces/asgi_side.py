"""The server's side of one ASGI request, for adapters that are tested without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from uvicorn_worker.core.errors import ClientDisconnected
from uvicorn_worker.interfaces import WsgiAdapter

__all__ = ["PATIENCE", "Client", "Reply", "ask", "http_scope", "run", "until"]

T = TypeVar("T")

# Longer than any of these tests takes; a test that hangs fails by it.
PATIENCE = 20.0


def http_scope(*headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    """A scope as the server makes it, with a field Host."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.org"), *headers],
        "client": ("192.0.2.7", 50123),
        "server": ("127.0.0.1", 8000),
        **more,
    }


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or fail."""
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


class Reply:
    """What was sent, as a client sees it."""

    def __init__(self, sent: list[dict[str, Any]]) -> None:
        self.sent = sent
        self.status: int = sent[0]["status"]
        self.headers: list[tuple[bytes, bytes]] = sent[0]["headers"]
        self.blocks: list[bytes] = [event["body"] for event in sent[1:]]
        self.body = b"".join(self.blocks)
        self.complete: bool = not sent[-1].get("more_body", False)


class Client:
    """Gives the pieces of a request body as they are asked for, and takes the response."""

    def __init__(self, *pieces: bytes, complete: bool = True) -> None:
        self.sent: list[dict[str, Any]] = []
        self.received = 0
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = False
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for index, piece in enumerate(pieces):
            more = not complete or index + 1 < len(pieces)
            self.events.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    async def receive(self) -> Any:
        event = await self.events.get()
        self.received += 1
        return event

    async def send(self, message: Any) -> None:
        # As the server: it takes the message, then waits while the client does not read.
        if self.gone:
            raise ClientDisconnected("the client left")
        self.sent.append(message)
        if message.get("more_body"):
            await self.reading.wait()
            if self.gone:
                raise ClientDisconnected("the client left")

    def leave(self) -> None:
        self.gone = True
        self.reading.set()
        self.events.put_nowait({"type": "http.disconnect"})

    @property
    def reply(self) -> Reply:
        return Reply(self.sent)


async def ask(app: Any, *pieces: bytes, scope: dict[str, Any] | None = None) -> Reply:
    """One request to a WSGI application, and the whole response."""
    client = Client(*pieces)
    await WsgiAdapter(app)(http_scope() if scope is None else scope, client.receive, client.send)
    return client.reply


async def until(condition: Any) -> None:
    """Wait for something that has no event of its own."""
    while not condition():
        await asyncio.sleep(0.005)
