"""Whatever an application raises, its worker lives on: a 500 or a 1011, and a traceback."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from tests.e2e.harness import H11, PATIENCE, Gunicorn, until

H2C = "uvicorn_worker.UvicornH2CWorker"

APP = """
import asyncio, os, sys, time

class Panic(BaseException):
    pass

def fail(name):
    if name == "exit":
        sys.exit(3)
    raise {"panic": Panic, "interrupt": KeyboardInterrupt, "generator": GeneratorExit,
           "cancelled": asyncio.CancelledError}[name]("on purpose")

async def background():
    sys.exit(3)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    *_, later, name = scope["path"].split("/")
    if name == "background":
        app.task = asyncio.ensure_future(background())
    if name == "block":
        with open("blocks", "w") as file:
            file.write("now")
        time.sleep(60)
    if scope["type"] == "websocket" and "open" in scope["path"]:
        await send({"type": "websocket.accept"})
    if later == "later":
        await asyncio.sleep(0.01)
    if name not in ("", "pid", "background"):
        fail(name)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
NAMES = ["exit", "panic", "interrupt", "generator", "cancelled"]


@pytest.fixture(scope="module", params=[H2C, H11])
def server(request: pytest.FixtureRequest) -> Iterator[Gunicorn]:
    with Gunicorn("failing:app", worker=request.param, files={"failing.py": APP}) as server:
        yield server


def pid(server: Gunicorn) -> int:
    return int(httpx.get(f"{server.url}/at-once/pid", timeout=PATIENCE).text)


@pytest.mark.parametrize("when", ["at-once", "later"])
@pytest.mark.parametrize("name", NAMES)
def test_a_request(server: Gunicorn, when: str, name: str) -> None:
    before = pid(server)
    with httpx.Client(timeout=PATIENCE) as client:
        assert [client.get(f"{server.url}/{when}/{name}").status_code for _ in range(3)] == [500] * 3
    assert pid(server) == before
    assert f"Exception in ASGI application: GET /{when}/{name}" in server.log
    assert "Traceback" in server.log


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_of_http2(server: Gunicorn, name: str) -> None:
    if "H11" in " ".join(server.command):
        pytest.skip("HTTP/2 is off")
    before = pid(server)
    with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
        assert [client.get(f"{server.url}/later/{name}").status_code for _ in range(3)] == [500] * 3
    assert pid(server) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_websocket(server: Gunicorn, name: str) -> None:
    before = pid(server)
    address = server.url.replace("http", "ws", 1)
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{address}/at-once/{name}")
    assert refused.value.response.status_code == 500
    with connect(f"{address}/open/later/{name}") as socket, pytest.raises(ConnectionClosedError) as closed:
        socket.recv(timeout=PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    assert pid(server) == before


def ends_and_is_replaced(
    serve: Callable[..., Gunicorn], worker: str, end: Callable[[Gunicorn, int], object]
) -> Gunicorn:
    """The worker comes to an end, and the master makes another one."""
    server = serve("failing:app", worker=worker, files={"failing.py": APP})
    first = pid(server)
    end(server, first)
    until(lambda: first not in server.workers() and server.workers(), "another worker")
    assert pid(server) != first
    assert "Worker failed to boot" not in server.log
    assert server.stop_gracefully() == 0
    return server


def test_an_exit_outside_of_a_request_is_that_of_the_worker(serve: Callable[..., Gunicorn], worker: str) -> None:
    def leave(server: Gunicorn, first: int) -> None:
        httpx.get(f"{server.url}/at-once/background", timeout=PATIENCE)

    assert "sys.exit(3) outside of a request" in ends_and_is_replaced(serve, worker, leave).log


def test_an_abort_still_ends_a_worker_within_a_request(serve: Callable[..., Gunicorn], worker: str) -> None:
    def abort(server: Gunicorn, first: int) -> None:
        with server.connect() as connection:
            connection.request("/at-once/block")
            until(lambda: server.read("blocks"), "the request")
            os.kill(first, signal.SIGABRT)
            assert connection.response().status == 503
            assert connection.rest() == b""

    ends_and_is_replaced(serve, worker, abort)
