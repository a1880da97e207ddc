"""The option request_id_header."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from uvicorn_worker.core.asgi import Event, Receive, Scope, Send
from uvicorn_worker.interfaces.request_ids import make_id, with_request_ids


def call(scope: Scope, *events: Event) -> tuple[Scope, list[Event]]:
    """What the application gets, and what it sends as its client sees it."""
    seen: list[Scope] = []
    sent: list[Event] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        for event in events:
            await send(event)

    async def send(message: Event) -> None:
        sent.append(message)

    async def receive() -> Event:
        return {"type": "http.disconnect"}

    async def main() -> None:
        await with_request_ids(app, "X-Request-Id")(scope, receive, send)

    asyncio.run(main())
    return seen[0], sent


def scope_with(*headers: tuple[bytes, bytes], kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "headers": list(headers), "state": {}}


START = {"type": "http.response.start", "status": 200, "headers": [(b"X-Request-ID", b"own"), (b"a", b"b")]}


def test_that_of_the_client_is_taken() -> None:
    scope, [start] = call(scope_with((b"x-request-id", b"abc-1")), START)
    assert scope["state"]["request_id"] == "abc-1"
    assert start["headers"] == [(b"a", b"b"), (b"x-request-id", b"abc-1")]


@pytest.mark.parametrize("value", [None, b"", b"a b", b"x" * 129, b'"'])
def test_one_is_made_where_there_is_none_that_can_be_used(value: bytes | None) -> None:
    scope, [start] = call(scope_with(*([(b"x-request-id", value)] if value is not None else [])), START)
    made = scope["state"]["request_id"]
    assert uuid.UUID(made).version == 7
    assert scope["headers"] == [(b"x-request-id", made.encode())]
    assert start["headers"][-1] == (b"x-request-id", made.encode())


def test_an_application_that_sends_text() -> None:
    own = {"type": "http.response.start", "status": 200, "headers": [("X-Request-ID", "own"), ("a", "b")]}
    _, [start] = call(scope_with((b"x-request-id", b"abc-1")), own)
    assert start["headers"] == [(b"a", b"b"), (b"x-request-id", b"abc-1")]


@pytest.mark.parametrize("kind", ["websocket.accept", "websocket.http.response.start"])
def test_the_answer_to_a_handshake_has_it(kind: str) -> None:
    _, [answer, other] = call(scope_with(kind="websocket"), {"type": kind}, {"type": "websocket.send", "text": "x"})
    assert len(answer["headers"]) == 1
    assert other == {"type": "websocket.send", "text": "x"}


def test_a_lifespan_has_none() -> None:
    scope, _ = call({"type": "lifespan"})
    assert scope == {"type": "lifespan"}


def test_those_made_later_are_greater() -> None:
    made = uuid.UUID(make_id())
    assert made.variant == uuid.RFC_4122
    assert made.version == 7
