"""Whatever an application raises over a WebSocket, on HTTP/1.1 and on HTTP/2, or as one of ASGI 2."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.failures import FAILURES, handled_interrupts
from tests.http1.apps import hello
from tests.scripted import Harness, get
from tests.switching.test_websocket_stream import Start, start
from tests.websocket.wire import CLOSE, handshake, parse_frames
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.interfaces.asgi2 import Asgi2Adapter

__all__ = ["handled_interrupts", "start"]

Failure = Callable[[], BaseException]
pytestmark = [
    pytest.mark.usefixtures("handled_interrupts"),
    pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES),
]


def failing(failure: Failure, *, accepts: bool) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fine":
            await hello(scope, receive, send)
            return
        if accepts:
            await send({"type": "websocket.accept"})
        await asyncio.sleep(0)
        raise failure()

    return app


@pytest.fixture
def serve() -> Iterator[Callable[[ASGIApp], Harness]]:
    started: list[Harness] = []

    def start(app: ASGIApp) -> Harness:
        started.append(Harness(app))
        return started[-1]

    yield start
    for harness in started:
        harness.close()


class TestHttp1:
    def test_before_it_is_open(self, serve: Any, failure: Failure, log: Callable[..., list[str]]) -> None:
        client = serve(failing(failure, accepts=False)).connect().send(handshake(), get("/fine"))
        assert [response.status for response in client.responses()] == [500, 200]
        assert len(log(logging.ERROR)) == 1
        assert client.harness.runtime.cycles == set()

    def test_after_it(self, serve: Any, failure: Failure, log: Callable[..., list[str]]) -> None:
        harness = serve(failing(failure, accepts=True))
        client = harness.connect().send(handshake())
        (frame,) = parse_frames(client.transport.output.partition(b"\r\n\r\n")[2])
        assert (frame.opcode, frame.code) == (CLOSE, 1011)
        assert harness.connect().send(get("/fine")).response().status == 200
        assert len(log(logging.ERROR)) == 1
        assert harness.runtime.cycles == set()


class TestHttp2:
    def test_before_it_is_open(self, start: Start, failure: Failure, log: Callable[..., list[str]]) -> None:
        socket = start(failing(failure, accepts=False)).ask()
        assert socket.stream.status == 500
        assert socket.talk.get(b"/fine").status == 200
        assert len(log(logging.ERROR)) == 1

    def test_after_it(self, start: Start, failure: Failure, log: Callable[..., list[str]]) -> None:
        socket = start(failing(failure, accepts=True)).ask()
        socket.read()
        assert socket.close_code == 1011
        assert socket.talk.get(b"/fine").status == 200
        assert len(log(logging.ERROR)) == 1


@pytest.mark.parametrize("at_once", [False, True])
def test_asgi_2(serve: Any, failure: Failure, at_once: bool, log: Callable[..., list[str]]) -> None:
    def app(scope: Scope) -> Callable[[Receive, Send], Awaitable[None]]:
        async def call(receive: Receive, send: Send) -> None:
            if scope["path"] == "/fine":
                await hello(scope, receive, send)
                return
            raise failure()

        if at_once and scope["path"] != "/fine":
            raise failure()
        return call

    client = serve(Asgi2Adapter(app)).connect().send(get("/"), get("/fine"))
    assert [response.status for response in client.responses()] == [500, 200]
    assert len(log(logging.ERROR)) == 1
