"""How the application is started: at once where Python can (3.12 and newer), in the next turn elsewhere.

An operator's task factory is asked instead, which starts it in the next turn everywhere: so the two ways are compared.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, body, echo, hello, read_body, respond, start, stream
from tests.http1.harness import Http1Harness
from tests.scripted import Client, get, post
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.runtime import Runtime

EAGER = sys.version_info >= (3, 12)
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def plain_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> Any:
    return asyncio.Task(coroutine, loop=loop, **kwargs)


def connect(app: ASGIApp, parser: str, *, later: bool) -> Client:
    loop = asyncio.new_event_loop()
    if later:
        loop.set_task_factory(plain_task)
    return Http1Harness(app, parser=parser, loop=loop, date_header=False).connect()


async def waits_then_fails(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)
    raise ValueError("a mistake")


async def sleeps(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0)
    await answer(send)


async def streams(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    for number in range(3):
        await asyncio.sleep(0)
        await send(body(b"%d" % number, more=True))
    await send(body())


APPS = {
    "hello": hello,
    "echo": echo,
    "stream": stream(b"a", b"b", b"c"),
    "streams": streams,
    "sleeps": sleeps,
    "fails": waits_then_fails,
    "returns": respond(start()),
    "breaks off": respond(start(), body(b"a", more=True)),
    "closes": stream(b"a", headers=[(b"connection", b"close")]),
}
INPUTS: dict[str, list[bytes]] = {
    "get": [get()],
    "gets": [get(), get(), get()],
    "pipelined": [get() * 20],
    "many": [get() * 200],
    "post": [post(b"12345")],
    "post in pieces": [post(b"12345")[:-5], b"123", b"45"],
    "expect": [get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"), b"12345"],
    "http10": [get(version="1.0")],
    "head": [get(method="HEAD"), get()],
    "bad": [get() + b"nonsense\r\n\r\n"],
    "close": [get("/", "Connection: close")],
    "large rest": [post(bytes(1_000_000))[:200]],
}


def outcome(app: ASGIApp, parser: str, pieces: Iterable[bytes], *, later: bool) -> Any:
    client = connect(app, parser, later=later).send(*pieces)
    seen = (client.transport.output, client.closed, client.transport.calls[-1:], client.transport.reading)
    client.leave()
    runtime = client.harness.runtime
    assert (len(runtime.connections), len(runtime.cycles)) == (0, 0)
    client.harness.close()
    return seen


@pytest.mark.parametrize("pieces", INPUTS)
@pytest.mark.parametrize("app", APPS)
def test_both_ways_give_the_same(parser: str, app: str, pieces: str) -> None:
    at_once = outcome(APPS[app], parser, INPUTS[pieces], later=False)
    later = outcome(APPS[app], parser, INPUTS[pieces], later=True)
    assert at_once == later


@pytest.mark.parametrize("later", [False, True])
def test_when_the_application_is_started(parser: str, later: bool) -> None:
    recorder = Recorder()
    client = connect(recorder, parser, later=later)
    client.push(get())
    assert len(recorder.scopes) == (0 if later or not EAGER else 1)
    client.harness.settle()
    assert len(recorder.scopes) == 1
    client.harness.close()


@pytest.mark.parametrize("later", [False, True])
class TestTask:
    def test_it_runs_in_a_copy_of_the_context(self, parser: str, later: bool) -> None:
        seen: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(variable.get())
            variable.set("of a request")
            await answer(send)

        client = connect(app, parser, later=later)
        context = contextvars.copy_context()
        context.run(variable.set, "of the lifespan")
        client.harness.runtime.context = context
        client.send(get() * 2, get())
        assert seen == ["of the lifespan"] * 3
        assert variable.get() == "unset"
        client.harness.close()

    def test_it_is_the_current_task(self, parser: str, later: bool) -> None:
        tasks: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            tasks.append(asyncio.current_task())
            await answer(send)
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

        client = connect(app, parser, later=later)
        client.send(get() + get())
        assert all(isinstance(task, asyncio.Task) for task in tasks)
        assert len(tasks) == 4
        assert len(set(map(id, tasks))) == 2
        client.harness.close()

    def test_its_name_is_what_was_asked_for(self, parser: str, later: bool) -> None:
        names: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            task = asyncio.current_task()
            assert task is not None
            names.append(task.get_name())
            await answer(send)

        client = connect(app, parser, later=later)
        client.send(get("/a%20b?c"), get("/" + "x" * 100))
        assert names == ["GET /a b", "GET /" + "x" * 59]
        client.harness.close()

    def test_the_server_knows_it(self, parser: str, later: bool) -> None:
        gate = Gate()
        client = connect(gate, parser, later=later).send(get())
        (cycle,) = client.harness.runtime.cycles
        cycle.cancel()
        client.harness.settle()
        assert client.response().status == 503
        assert client.harness.runtime.cycles == set()
        client.harness.close()

    def test_one_that_is_cancelled_before_its_first_step(self, parser: str, later: bool) -> None:
        recorder = Recorder(Gate())
        client = connect(recorder, parser, later=later)
        client.push(get())
        for cycle in list(client.harness.runtime.cycles):
            cycle.cancel()
            cycle.abandon()  # what the server's stop does then
        client.harness.settle()
        assert client.response().status == 503
        client.harness.close()


def test_a_task_factory_is_asked(parser: str) -> None:
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> Any:
        made.append(coroutine)
        return plain_task(loop, coroutine, **kwargs)

    loop = asyncio.new_event_loop()
    loop.set_task_factory(factory)
    harness = Http1Harness(hello, parser=parser, loop=loop)
    assert isinstance(harness.runtime, Runtime)
    assert harness.connect().send(get()).response().status == 200
    assert len(made) == 1
    harness.close()
