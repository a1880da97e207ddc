"""Clients that leave: the application learns of it at once, and nothing of the connection remains."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import weakref
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.http1.apps import Recorder, answer, body, hello, start
from tests.http1.conftest import Connect, Run
from tests.http1.real import Site, serving, until
from tests.memory import counts_references
from tests.scripted import get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http1 import Http1Protocol
from uvicorn_worker.http1.reader import HEAD


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    while True:
        await send(body(bytes(65536), more=True))


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """A stream of events, which looks for the client's end meanwhile, as frameworks do."""
    await send(start())
    await send(body(b"data: 1\n\n", more=True))
    leaving = asyncio.ensure_future(until_disconnect(receive))
    await leaving
    await send(body(b"data: 2\n\n", more=True))


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    await until_disconnect(receive)


class TestOneTurn:
    """connection_lost() in one turn of the loop, the application in the next."""

    def test_a_blocked_receive(self, connect: Connect) -> None:
        recorder = Recorder(upload)
        client = connect(recorder).send(post(b"12345")[:-1])
        client.transport.leave()
        client.harness.turn()
        client.harness.turn()
        assert recorder.received[-1] == {"type": "http.disconnect"}
        assert recorder.done == 1

    def test_a_blocked_send(self, connect: Connect) -> None:
        recorder = Recorder(endless)
        client = connect(recorder).stall().send(get())
        client.transport.leave()
        client.harness.turn()
        client.harness.turn()
        assert isinstance(recorder.raised[0], OSError)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """What goes away meanwhile goes away by itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


CASES = {
    "idle": (hello, get()),
    "silent": (hello, b""),
    "half a head": (hello, get()[:10]),
    "a refused head": (hello, b"garbage\r\n\r\n"),
    "a head without a host": (hello, b"GET / HTTP/1.1\r\n\r\n"),
    "a line that is too long": (hello, b"GET /" + b"a" * 5000),
    "a body that is too long": (
        upload,
        get("/", "Transfer-Encoding: chunked", method="POST") + b"ffff\r\n" + bytes(65535),
    ),
    "receiving": (upload, post(b"12345")[:-1]),
    "sending": (endless, get()),
    "events": (events, get()),
    "pipelined": (endless, get() * 3),
    "answered early": (hello, post(bytes(60_000))[:1000]),
    "upgrade declined": (hello, get("/", "Upgrade: h2c", "Connection: Upgrade")),
}


@counts_references
@pytest.mark.parametrize("case", CASES)
def test_nothing_holds_the_protocol(run: Run, parser: str, case: str) -> None:
    app, data = CASES[case]

    async def main() -> None:
        recorder = Recorder(app)
        async with serving(recorder, http=parser, limit_request_body=65000) as site:
            with await site.connect() as visitor:
                reference = weakref.ref(next(iter(site.connections)))

                def seen() -> bool:
                    connection = reference()
                    assert isinstance(connection, Http1Protocol)
                    return connection.reader.state is HEAD or connection.closing or bool(recorder.scopes)

                await visitor.send(data)
                if data:
                    await until(seen)
                visitor.reset()
            await until(lambda: not site.connections and not site.runtime.cycles)
            # What was raised has a traceback, which has the frames.
            recorder.raised.clear()
            await until(lambda: reference() is None)

    with without_collector():
        run(main())


@counts_references
@pytest.mark.parametrize(("run", "parser"), [("asyncio", "h11"), ("uvloop", "httptools")], indirect=True)
def test_a_thousand_aborted_streams_leave_nothing(run: Run, parser: str) -> None:
    async def main() -> None:
        recorder = Recorder(events)
        async with serving(recorder, http=parser) as site:
            loop = asyncio.get_running_loop()
            await abort_streams(site, 50)
            recorder.scopes.clear()
            recorder.raised.clear()
            recorder.received.clear()
            tasks, files, ours = asyncio.all_tasks(), open_files(), our_objects()
            for _ in range(20):
                await abort_streams(site, 50)
                recorder.scopes.clear()
                recorder.raised.clear()
                recorder.received.clear()
            assert recorder.done == 1050
            assert asyncio.all_tasks() == tasks
            assert open_files() == files
            assert our_objects() == ours
            # A timer for each wait of the test itself, which asyncio drops some time after it was cancelled; and none
            # for a connection, which would hold it.
            timers = [timer for timer in getattr(loop, "_scheduled", ()) if not timer.cancelled()]
            assert len(timers) <= 1

    with without_collector():
        run(main())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def our_objects() -> Counter[str]:
    """How many objects there are of each class of the package, and how many coroutines and futures."""
    kinds = (type(thing) for thing in gc.get_objects())
    names = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    wanted = ("uvicorn_worker.", "h11.", "httptools.", "builtins.coroutine", "_asyncio.")
    return Counter({name: number for name, number in names.items() if name.startswith(wanted)})


async def abort_streams(site: Site, count: int) -> None:
    visitors = [await site.connect() for _ in range(count)]
    for visitor in visitors:
        await visitor.send(get())
        assert b"data: 1" in await visitor.receive()
    for visitor in visitors:
        visitor.reset()
    await until(lambda: not site.connections and not site.runtime.cycles)


def test_a_half_closed_client_that_leaves(run: Run, parser: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until_disconnect(receive)
        await answer(send)

    async def main() -> None:
        recorder = Recorder(app)
        async with serving(recorder, http=parser) as site:
            visitor = await site.connect()
            await visitor.send(get())
            visitor.sock.close()
            await until(lambda: recorder.done)
            await until(lambda: not site.connections)

    run(main())
