"""`Runtime`: what all connections of one server share, and the addresses of a transport."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from tests.scripted import ScriptedTransport
from uvicorn_worker import Config
from uvicorn_worker.core.runtime import Runtime


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


def lines(loop: asyncio.AbstractEventLoop, **options: Any) -> bytes:
    return Runtime(Config(app=app, date_header=False, **options), app, loop).default_lines


class TestDefaultLines:
    def test_the_server(self, loop: asyncio.AbstractEventLoop) -> None:
        assert lines(loop) == b"server: uvicorn\r\n"
        assert lines(loop, server_header=False) == b""

    def test_configured_fields(self, loop: asyncio.AbstractEventLoop) -> None:
        headers = [("X-A", "b"), (b"X-C", b"\xff"), ("x-d", "\xe9")]
        assert lines(loop, headers=headers) == b"server: uvicorn\r\nx-a: b\r\nx-c: \xff\r\nx-d: \xe9\r\n"

    def test_a_configured_server(self, loop: asyncio.AbstractEventLoop) -> None:
        assert lines(loop, headers=[("Server", "mine")]) == b"server: mine\r\n"

    def test_without_some_names(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app, headers=[("a", "1: 2"), ("b", "3")]), app, loop)
        assert runtime.default_lines_without({b"date", b"b"}) == b"server: uvicorn\r\na: 1: 2\r\n"
        assert runtime.default_lines_without({b"date", b"server", b"a", b"b"}) == b""


class TestScope:
    def test_connections_to_one_address_share_it(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app, root_path="/r"), app, loop)
        scope = runtime.http_scope(ScriptedTransport(loop))
        assert runtime.http_scope(ScriptedTransport(loop)) is scope
        assert (scope["server"], scope["scheme"], scope["root_path"]) == (("127.0.0.1", 8000), "http", "/r")

    def test_tls_makes_https(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app), app, loop)
        assert runtime.http_scope(ScriptedTransport(loop, sslcontext=object()))["scheme"] == "https"


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


class TestContext:
    @pytest.mark.parametrize(("reset", "seen"), [(False, ["lifespan"] * 2), (True, ["unset"] * 2)])
    @pytest.mark.parametrize("factory", [False, True])
    def test_of_a_request(self, loop: asyncio.AbstractEventLoop, reset: bool, seen: list[str], factory: bool) -> None:
        if factory:
            loop.set_task_factory(lambda loop, coroutine, **kwargs: asyncio.Task(coroutine, loop=loop, **kwargs))
        runtime = Runtime(Config(app=app, reset_contextvars=reset), app, loop)
        context = contextvars.copy_context()
        context.run(VARIABLE.set, "lifespan")
        runtime.use_context(context)
        found = []

        async def request() -> None:
            found.append(VARIABLE.get())
            VARIABLE.set("request")

        async def start() -> None:
            VARIABLE.set("whoever reads the socket")
            tasks = [runtime.start_task(request()), runtime.start_task(request())]
            await asyncio.gather(*filter(None, tasks))

        loop.run_until_complete(start())
        assert found == seen
