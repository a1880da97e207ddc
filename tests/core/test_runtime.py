"""`Runtime`: what all connections of one server share, and the addresses of a transport."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from uvicorn_worker import Config
from uvicorn_worker.core.runtime import Runtime


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


def lines(loop: asyncio.AbstractEventLoop, **options: Any) -> bytes:
    return Runtime(Config(app=app, date_header=False, **options), app, loop).defaults.lines


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
        assert runtime.defaults.without({b"date", b"b"}) == b"server: uvicorn\r\na: 1: 2\r\n"
        assert runtime.defaults.without({b"date", b"server", b"a", b"b"}) == b""


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


class TestContext:
    @pytest.mark.parametrize(("reset", "seen"), [(False, ["lifespan"] * 2), (True, ["unset"] * 2)])
    @pytest.mark.parametrize("factory", [False, True])
    def test_of_a_request(self, loop: asyncio.AbstractEventLoop, reset: bool, seen: list[str], factory: bool) -> None:
        if factory:
            loop.set_task_factory(lambda loop, coroutine, **kwargs: asyncio.Task(coroutine, loop=loop, **kwargs))
        context = contextvars.copy_context()
        context.run(VARIABLE.set, "lifespan")
        runtime = Runtime(Config(app=app, reset_contextvars=reset), app, loop, context=context)
        found = []

        async def request() -> None:
            found.append(VARIABLE.get())
            VARIABLE.set("request")

        async def start() -> None:
            VARIABLE.set("whoever reads the socket")
            tasks = [runtime.make_task(request(), name=name, context=runtime.context.copy()) for name in ("a", "b")]
            assert [task.get_name() for task in tasks] == ["a", "b"]
            await asyncio.gather(*tasks)

        loop.run_until_complete(start())
        assert found == seen
