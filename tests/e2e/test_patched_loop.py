"""Applications, and tools around them, that patch asyncio when they are imported: nest_asyncio, ddtrace-run."""

from __future__ import annotations

import importlib.util
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command.harness import Command
from tests.e2e.harness import H11, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

APP = """
import asyncio
import nest_asyncio

nest_asyncio.apply()


async def inside():
    await asyncio.sleep(0.01)
    return type(asyncio.get_running_loop()).__module__.encode()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    body = asyncio.run(inside())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


nest_asyncio = pytest.mark.skipif(not importlib.util.find_spec("nest_asyncio"), reason="there is no nest_asyncio")


@nest_asyncio
def test_a_loop_that_is_patched_at_import_serves(serve: Serve, worker: str) -> None:
    server = serve("patched:app", worker=worker, files={"patched.py": APP})
    ready = server.wait_log(r"Ready in .*, loop (\w+), ")
    assert ready.group(1) == "asyncio"
    # Where there is no uvloop to be left out, it is no news.
    if worker != H11 and importlib.util.find_spec("uvloop"):
        assert "The application has patched the event loop (nest_asyncio) when it was imported" in server.log
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: server.get(), range(8)))
    assert {(answer.status_code, answer.text.partition(".")[0]) for answer in answers} == {(200, "asyncio")}
    assert server.stop_gracefully() == 0


@nest_asyncio
@pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop to be left out")
@pytest.mark.parametrize("line", [(), ("--reload",), ("--workers", "2")])
def test_of_the_command_too(line: tuple[str, ...]) -> None:
    with Command("app:app", "--port", "0", *line, files={"app.py": APP}) as server:
        server.wait_log("Ready in .*, loop asyncio, ")
        answer = server.get()
        assert (answer.status_code, answer.text.partition(".")[0]) == (200, "asyncio")


# As where a tool has Python load asyncio for a second time while the C part of it stays (ddtrace-run beside gevent,
# before Python 3.12): what a cancelled task raises is not what asyncio itself looks for.
LOADED_TWICE = """
import asyncio


class Another(BaseException):
    pass


asyncio.exceptions.CancelledError = Another
asyncio.CancelledError = Another


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    print("asks", flush=True)
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})
"""


def test_a_request_that_runs_at_a_stop_is_answered_though_asyncio_was_loaded_twice(serve: Serve, worker: str) -> None:
    server = serve("twice:app", worker=worker, files={"twice.py": LOADED_TWICE})
    with server.connect() as connection:
        connection.request("/slow")
        until(lambda: "asks" in server.out or None, "the request in the application")
        server.signal(signal.SIGTERM)
        response = connection.response()
        assert (response.status, response.body) == (200, b"done")
    assert server.wait_exit() == 0
    assert "Traceback" not in server.log
