"""Applications that let event loops run within each other, by nest_asyncio itself, when they are imported."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command.harness import Command
from tests.e2e.harness import H11, Gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

pytest.importorskip("nest_asyncio")

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


@pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="there is no uvloop to be left out")
@pytest.mark.parametrize("line", [(), ("--reload",), ("--workers", "2")])
def test_of_the_command_too(line: tuple[str, ...]) -> None:
    with Command("app:app", "--port", "0", *line, files={"app.py": APP}) as server:
        server.wait_log("Ready in .*, loop asyncio, ")
        answer = server.get()
        assert (answer.status_code, answer.text.partition(".")[0]) == (200, "asyncio")
