"""Whatever an application raises is a 500 and a traceback, and the server goes on."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable

import pytest

from tests.failures import FAILURES, Panic, handled_interrupts
from tests.http1.apps import Gate, Recorder, answer, body, hello, start
from tests.http1.conftest import Connect, Serve
from tests.scripted import Client, get, parse_responses
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ProcessExit

__all__ = ["handled_interrupts"]

Failure = Callable[[], BaseException]
Log = Callable[..., list[str]]
pytestmark = pytest.mark.usefixtures("handled_interrupts")


@pytest.fixture(params=FAILURES)
def failure(request: pytest.FixtureRequest) -> Failure:
    return FAILURES[str(request.param)]


def unwatched(client: Client) -> Client:
    """One whose event loop may complain."""
    client.harness.loop.set_exception_handler(lambda loop, context: None)
    return client


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
class TestFailure:
    def test_it_is_500_with_a_traceback(
        self, connect: Connect, failure: Failure, later: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if later:
                await asyncio.sleep(0)
            if scope["path"] == "/fails":
                raise failure()
            await answer(send)

        client = connect(app).send(get("/fails"), get("/"))
        assert [response.status for response in client.responses()] == [500, 200]
        assert client.open
        assert client.harness.runtime.cycles == set()
        (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert record.getMessage() == "Exception in ASGI application: GET /fails"
        assert record.exc_info is not None
        assert type(record.exc_info[1]) is type(failure())
        assert record.exc_info[2] is not None

    def test_what_was_begun_is_cut(self, connect: Connect, failure: Failure, later: bool) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"12345", more=True))
            if later:
                await asyncio.sleep(0)
            raise failure()

        client = connect(app).send(get())
        (response,) = parse_responses(client.transport.output, ended=True)
        assert (response.body, response.complete) == (b"12345", False)
        assert client.closed

    def test_its_neighbours_go_on(self, serve: Serve, failure: Failure, later: bool) -> None:
        gate = Gate(hello)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/waits":
                await gate(scope, receive, send)
                return
            if later:
                await asyncio.sleep(0)
            raise failure()

        harness = serve(app)
        neighbour = harness.connect().send(get("/waits"))
        assert harness.connect().send(get()).response().status == 500
        harness.inside(gate.open)
        harness.settle()
        assert neighbour.response().status == 200


class TestCancelledError:
    def test_one_that_leaks_from_a_task_of_the_application(self, connect: Connect, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            inner = asyncio.ensure_future(asyncio.sleep(60))
            await asyncio.sleep(0)
            inner.cancel()
            await inner

        assert connect(app).send(get()).response().status == 500
        assert log(logging.ERROR) == ["Exception in ASGI application: GET /"]

    def test_an_application_that_the_server_cancels(self, connect: Connect, log: Log) -> None:
        client = connect(Gate()).send(get())
        (cycle,) = client.harness.runtime.cycles
        client.harness.inside(cycle.cancel)
        client.harness.settle()
        assert client.response().status == 503
        assert log(logging.ERROR) == []

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="a task does not say whether it was cancelled")
    def test_a_task_that_somebody_cancels(self, connect: Connect, log: Log) -> None:
        client = connect(Gate()).send(get())
        (cycle,) = client.harness.runtime.cycles
        assert cycle.task is not None
        cycle.task.cancel()
        client.harness.settle()
        assert client.response().status == 503
        assert log(logging.ERROR) == []

    def test_one_that_fails_while_it_is_being_cancelled(self, connect: Connect, log: Log) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await gate(scope, receive, send)
            finally:
                raise Panic("in the clean-up")

        client = connect(app).send(get())
        (cycle,) = client.harness.runtime.cycles
        client.harness.inside(cycle.cancel)
        client.harness.settle()
        assert client.response().status == 500
        assert log(logging.ERROR) == ["Exception in ASGI application: GET /"]


class TestNotItsOwn:
    @pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
    def test_the_end_of_the_process(self, connect: Connect, later: bool, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if later:
                await asyncio.sleep(0)
            raise ProcessExit(1)

        client = unwatched(connect(app))
        with pytest.raises(ProcessExit):
            client.send(get())
        assert log(logging.ERROR) == []

    def test_the_keyboard(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise KeyboardInterrupt

        client = unwatched(connect(app))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                client.send(get())
        finally:
            signal.signal(signal.SIGINT, before)

    def test_a_task_that_is_never_finished(self, connect: Connect, log: Log) -> None:
        recorder = Recorder(Gate())
        client = connect(recorder).send(get())
        (cycle,) = client.harness.runtime.cycles
        assert cycle.task is not None
        cycle.task.get_coro().close()  # as the end of the interpreter does
        assert type(recorder.raised[0]) is GeneratorExit
        assert client.transport.output == b""
        assert log(logging.ERROR) == []


def test_a_log_that_can_not_be_written_does_not_cost_the_answer(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a mistake")

    client = unwatched(connect(app))

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "error", fail)
    assert client.send(get()).response().status == 500
