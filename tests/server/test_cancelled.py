"""A server whose task is cancelled in the midst of its start or of its stop: nothing of it is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.scripted import get
from tests.sockets import Peer, Run, listen
from uvicorn_worker import Config, Server
from uvicorn_worker.core.asgi import Receive, Scope, Send


async def hang(scope: Scope, receive: Receive, send: Send) -> None:
    """Requests that never end, and heed no cancelling at once."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            raise


def test_cancelled_again_while_it_stops(run: Run) -> None:
    async def main() -> None:
        sock = listen()
        server = Server(Config(app=hang, lifespan="off", log_config=None))
        task = asyncio.ensure_future(server.serve([sock]))
        while not server.started:
            await asyncio.sleep(0)
        peer = await Peer.connect(sock)
        peer.send(get())
        while not server.own_runtime.cycles:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await asyncio.sleep(0)
        assert server.own_runtime.connections == set()
        await peer.close()

    run(main())


def test_cancelled_in_the_moment_in_which_the_start_fails(run: Run) -> None:
    """asyncio has nothing to say of it; `run` fails where it has."""
    begun: list[asyncio.Task[Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})
        begun[0].cancel()

    async def main() -> None:
        for turns in range(10):
            begun[:] = [asyncio.ensure_future(Server(Config(app=app, port=0, log_config=None)).serve())]
            for _ in range(turns):
                await asyncio.sleep(0)
            begun[0].cancel()
            await asyncio.wait(begun)

    run(main())


def test_cancelled_while_the_lifespan_of_a_failed_start_does_not_end(run: Run) -> None:
    asked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})
        await receive()
        asked.set()
        await asyncio.Event().wait()

    async def main() -> None:
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(Server(Config(app=app, port=0, log_config=None)).serve())
        await asked.wait()
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    run(main())


@pytest.mark.parametrize("how", ["serve() cancelled twice", "stopped at once, twice", "the end of the block cancelled"])
def test_a_lifespan_that_is_waited_for_no_more_is_cancelled(run: Run, how: str) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def block(server: Server) -> None:
        async with server:
            pass

    async def main() -> None:
        before = asyncio.all_tasks()
        server = Server(Config(app=app, port=0, log_config=None))
        task = asyncio.ensure_future(block(server) if "block" in how else server.serve())
        while not server.started:
            await asyncio.sleep(0)
        if "stopped" in how:
            server.force_exit = True
            await asked.wait()
            server.force_exit = True
        else:
            if "twice" in how:
                task.cancel()
            await asked.wait()
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == ("cancelled" in how)
        await asyncio.sleep(0)
        assert ended.is_set()
        assert asyncio.all_tasks() == before

    run(main())
