"""A coroutine that waits for futures is run without a task."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.scripted import get
from tests.server.running import App, Running
from tests.sockets import Run
from uvicorn_worker.server import opening
from uvicorn_worker.server.opening import Opening, accepting

PATCHED = """
import asyncio, socket

Pythons = socket.socket

class Green:
    # As gevent and eventlet make them: one of Python's is inside.

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        self._sock = Pythons(family, type, proto, fileno)

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def accept(self):
        sock, address = self._sock.accept()
        return Green(fileno=sock.detach()), address

socket.socket = Green
from uvicorn_worker import Config, Server

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})

async def main():
    server = Server(Config(app, port=0, loop="asyncio", lifespan="off", log_level="error"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
    print((await reader.read()).rpartition(b"\\r\\n\\r\\n")[2].decode())
    server.should_exit = True
    await serving

asyncio.run(main())
"""


class Opened:
    """What `ended` was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Opening, BaseException | None]] = []

    def __call__(self, opening: Opening, exc: BaseException | None) -> None:
        self.told.append((opening, exc))


async def wait_for(*futures: asyncio.Future[Any]) -> None:
    for future in futures:
        await future


def test_it_goes_on_with_each_future(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second, ended = loop.create_future(), loop.create_future(), Opened()
        each = Opening(wait_for(first, second), ended)
        each.step()
        for future in (first, second):
            assert ended.told == []
            future.set_result(None)
            await asyncio.sleep(0)
        assert ended.told == [(each, None)]
        each.step()
        assert len(ended.told) == 1

    run(main())


def test_one_that_waits_for_nothing_ends_at_once(run: Run) -> None:
    async def main() -> None:
        ended = Opened()
        each = Opening(wait_for(), ended)
        each.step()
        assert ended.told == [(each, None)]

    run(main())


def test_what_it_raises_is_told(run: Run) -> None:
    async def main() -> None:
        future, ended, error = asyncio.get_running_loop().create_future(), Opened(), OSError("gone")
        each = Opening(wait_for(future), ended)
        each.step()
        future.set_exception(error)
        await asyncio.sleep(0)
        assert ended.told == [(each, error)]

    run(main())


def test_one_that_is_cancelled_cleans_up_and_goes_no_further(run: Run) -> None:
    async def main() -> None:
        future, ended, cleaned = asyncio.get_running_loop().create_future(), Opened(), []

        async def waiting() -> None:
            try:
                await future
            finally:
                cleaned.append(True)

        each = Opening(waiting(), ended)
        each.step()
        each.cancel()
        each.cancel()
        assert cleaned == [True]
        assert ended.told == [(each, None)]
        future.set_result(None)
        await asyncio.sleep(0)
        assert len(ended.told) == 1

    run(main())


@pytest.mark.parametrize("at_once", [True, False])
def test_connections_are_made_either_way(run: Run, at_once: bool) -> None:
    """Of an event loop that is not known a task waits."""

    async def main() -> None:
        async with Running(App()) as running:
            assert running.server.own_acceptor._at_once
            running.server.own_acceptor._at_once = at_once
            assert (await (await running.ask(get())).response()).status == 200
            assert running.server.own_acceptor.pending == 0

    run(main())


def test_what_is_accepted_says_what_it_is_in_numbers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listener = accepting(listening)
        assert listening.fileno() == -1
        with listener, socket.create_connection(listener.getsockname()) as client:
            connection, address = listener.accept()
            with connection:
                assert address == client.getsockname()
                assert (connection.family, connection.type) == (socket.AF_INET, socket.SOCK_STREAM)
                assert {type(connection.family), type(connection.type)} == {int}
                assert not connection.get_inheritable()
                connection.sendall(b"x")
                assert client.recv(1) == b"x"


def test_where_sockets_are_made_otherwise_they_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_BASE", object)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert accepting(listening) is listening


def test_other_sockets_in_the_place_of_pythons() -> None:
    """After `gevent.monkey.patch_all()`, or eventlet's: it could not be imported."""
    done = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("served\n", "")
