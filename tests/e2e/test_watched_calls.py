"""Applications that have calls watched which hold up the loop, as blockbuster does it, from `langgraph dev` on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

# What may block raises where a loop runs: sockets that say that they do, descriptors that do, buffered reads of files.
APP = """
import asyncio
import io
import os
import socket
import sys


def watched(function, may):
    def watch(*args, **kwargs):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return function(*args, **kwargs)
        if may(*args, **kwargs):
            return function(*args, **kwargs)
        raise RuntimeError(f"Blocking call to {function.__name__}")

    return watch


def watch_all():
    for name in ("accept", "recv", "recv_into", "send", "sendall"):
        setattr(socket.socket, name, watched(getattr(socket.socket, name), lambda sock, *_: not sock.getblocking()))
    for name in ("read", "write"):
        setattr(os, name, watched(getattr(os, name), lambda fd, *_: not os.get_blocking(fd)))
    os.sendfile = watched(os.sendfile, lambda *_: False)
    io.open = watched(io.open, lambda *args, **given: given.get("buffering", -1) == 0)
    sys.modules["builtins"].open = io.open


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        watch_all()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    size = 0
    while True:
        message = await receive()
        size += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/file":
        await send({"type": "http.response.pathsend", "path": __file__})
    else:
        await send({"type": "http.response.body", "body": str(size).encode()})
"""


@pytest.mark.parametrize("log", ["-", "access.log"])
def test_nothing_that_the_server_does_is_taken_for_one(serve: Serve, worker: str, log: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        port = statsd.getsockname()[1]
        server = serve(
            "watched:app", "--access-logfile", log, "--statsd-host", f"127.0.0.1:{port}",
            worker=worker, files={"watched.py": APP},
        )  # fmt: skip
        server.wait_log("Ready in")
        # Each on a connection of its own, and then on one that is kept.
        assert [server.get().text for _ in range(3)] == ["0"] * 3
        with server.client() as client:
            assert [client.post("/", content=b"x" * 300_000).text for _ in range(2)] == ["300000"] * 2
            assert client.get("/file").text == APP
        assert server.stop_gracefully() == 0
    assert "Blocking call" not in server.log
    assert "Traceback" not in server.log
