"""ASGI 2 applications behind their adapter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from uvicorn_worker.interfaces import Asgi2Adapter


@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan"])
def test_each_type_of_scope(kind: str) -> None:
    seen: list[Any] = []

    class App:
        def __init__(self, scope: Any) -> None:
            seen.append(scope)

        async def __call__(self, receive: Any, send: Any) -> None:
            await send(await receive())

    async def receive() -> Any:
        return "event"

    async def send(event: Any) -> None:
        seen.append(event)

    state: dict[str, Any] = {}
    scope = {"type": kind, "asgi": {"version": "3.0", "spec_version": "2.5"}, "state": state}
    asyncio.run(Asgi2Adapter(App)(scope, receive, send))
    assert seen == [{"type": kind, "asgi": {"version": "2.0", "spec_version": "2.5"}, "state": {}}, "event"]
    # The lifespan's state is shared; the scope itself is not the application's to change.
    assert seen[0]["state"] is state
    assert scope["asgi"]["version"] == "3.0"  # type: ignore[index]  # a dict of several types


def test_a_function_that_gives_the_instance() -> None:
    calls: list[str] = []

    async def instance(receive: Any, send: Any) -> None:
        calls.append("run")

    asyncio.run(Asgi2Adapter(lambda scope: instance)({"type": "http", "asgi": {}}, None, None))  # type: ignore[arg-type]
    assert calls == ["run"]
