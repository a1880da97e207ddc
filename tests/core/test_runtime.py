"""`Runtime`: what all connections of one server share, and the addresses of a transport."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scripted import ScriptedTransport
from uvicorn_worker import Config
from uvicorn_worker.core.runtime import (
    Runtime,
    client_address,
    server_address,
    unread_in_kernel,
    unsent_by_kernel,
    writelines_pauses,
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


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


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (["192.0.2.1", 80], ("192.0.2.1", 80)),
        (("::1", 80, 0, 0), ("::1", 80)),
        ("", None),
        (b"", None),
        (None, None),
        ("/run/client.sock", None),
        ((), None),
    ],
)
def test_client_address(loop: asyncio.AbstractEventLoop, name: Any, address: Any) -> None:
    assert client_address(ScriptedTransport(loop, peername=name)) == address


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (("::1", 80, 0, 0), ("::1", 80)),
        ("/run/app.sock", ("/run/app.sock", None)),
        (b"\0name", ("\0name", None)),
        ("", None),
        (None, None),
    ],
)
def test_server_address(loop: asyncio.AbstractEventLoop, name: Any, address: Any) -> None:
    assert server_address(ScriptedTransport(loop, sockname=name)) == address


class TestScope:
    def test_connections_to_one_address_share_it(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app, root_path="/r"), app, loop)
        scope = runtime.http_scope(ScriptedTransport(loop))
        assert runtime.http_scope(ScriptedTransport(loop)) is scope
        assert (scope["server"], scope["scheme"], scope["root_path"]) == (("127.0.0.1", 8000), "http", "/r")

    def test_tls_makes_https(self, loop: asyncio.AbstractEventLoop) -> None:
        runtime = Runtime(Config(app=app), app, loop)
        assert runtime.http_scope(ScriptedTransport(loop, sslcontext=object()))["scheme"] == "https"


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ((3, 10, 0), True),
        ((3, 11, 7), True),
        ((3, 12, 0), False),
        ((3, 12, 8), False),
        ((3, 12, 9), True),
        ((3, 13, 0), False),
        ((3, 13, 1), False),
        ((3, 13, 2), True),
        ((3, 14, 0), True),
    ],
)
def test_writelines_is_left_alone_where_it_does_not_pause(version: tuple[int, ...], good: bool) -> None:
    assert writelines_pauses(version) == good


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


class TestKernel:
    def test_what_was_not_read(self, loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        transport = ScriptedTransport(loop)
        transport.get_extra_info = lambda name, default=None: ours  # type: ignore[method-assign]
        with ours, theirs:
            assert (unread_in_kernel(transport), unsent_by_kernel(transport)) == (0, 0)
            theirs.send(b"12345")
            assert unread_in_kernel(transport) == 5
            ours.send(b"12345")
            assert unsent_by_kernel(transport) > 0
            theirs.recv(10)
            assert unsent_by_kernel(transport) == 0

    def test_where_it_is_not_known(self, loop: asyncio.AbstractEventLoop) -> None:
        transport = ScriptedTransport(loop)
        assert (unread_in_kernel(transport), unsent_by_kernel(transport)) == (0, 0)
        assert unread_in_kernel(asyncio.Transport()) == 0
