"""log_level: the levels of uvicorn's loggers, and a line for each ASGI message at `trace`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.records import UVICORNS, Records, records
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.config import Config
from uvicorn_worker.logs.levels import LEVELS, TRACE, log_messages, set_levels

__all__ = ["records"]


def call(app: ASGIApp, scope: Scope, *messages: Any) -> None:
    """Call an application with messages to receive; what it sends is dropped."""
    waiting = list(messages)

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        pass

    asyncio.run(log_messages(app)(scope, receive, send))  # type: ignore[arg-type]  # it is a coroutine


class TestMessages:
    @pytest.fixture(autouse=True)
    def _trace(self, records: Records) -> None:
        logging.getLogger("uvicorn.asgi").setLevel(TRACE)

    def test_http(self, records: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"secret")]})
            await send({"type": "http.response.body", "body": b"secret"})

        scope = {"type": "http", "client": ("192.0.2.7", 1), "headers": [(b"cookie", b"secret")]}
        call(app, scope, {"type": "http.request", "body": b"secret", "more_body": False})
        assert records.lines == [
            "192.0.2.7:1 - ASGI [1] Started scope={'type': 'http', 'client': ('192.0.2.7', 1), 'headers': '<...>'}",
            "192.0.2.7:1 - ASGI [1] Receive {'type': 'http.request', 'body': '<6 bytes>', 'more_body': False}",
            "192.0.2.7:1 - ASGI [1] Send {'type': 'http.response.start', 'status': 200, 'headers': '<...>'}",
            "192.0.2.7:1 - ASGI [1] Send {'type': 'http.response.body', 'body': '<6 bytes>'}",
            "192.0.2.7:1 - ASGI [1] Completed",
        ]
        assert {record.levelname for record in records.kept} == {"TRACE"}

    def test_websocket_and_lifespan(self, records: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(await receive())

        call(app, {"type": "websocket", "client": None}, {"type": "websocket.receive", "bytes": None, "text": "two"})
        call(app, {"type": "lifespan"}, {"type": "lifespan.startup"})
        assert "ASGI [1] Receive {'type': 'websocket.receive', 'bytes': None, 'text': '<3 chars>'}" in records.lines
        assert "ASGI [1] Send {'type': 'lifespan.startup'}" in records.lines

    def test_what_it_raises(self, records: Records) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError("went wrong")

        with pytest.raises(RuntimeError, match="went wrong"):
            call(app, {"type": "http"})
        assert records.lines[-1] == "ASGI [1] Raised RuntimeError('went wrong')"


class TestLevels:
    @pytest.mark.parametrize("log_level", [level for level in LEVELS if level != Config.log_level])
    def test_each_is_set(self, records: Records, log_level: str) -> None:
        set_levels(Config(app=hello, log_level=log_level))
        assert {logging.getLogger(name).level for name in UVICORNS} == {LEVELS[log_level]}

    def test_the_default_leaves_alone_what_was_set(self, records: Records) -> None:
        for name in UVICORNS:
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        set_levels(Config(app=hello))
        assert [logging.getLogger(name).level for name in UVICORNS] == [logging.ERROR, logging.NOTSET, logging.NOTSET]
