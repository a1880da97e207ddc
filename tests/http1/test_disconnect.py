"""Clients that leave, and clients that only stop sending."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, body, echo, hello, read_body, respond, start, stream
from tests.http1.conftest import Connect, Serve
from tests.scripted import get, parse_responses, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

Log = Callable[..., list[str]]


async def until_disconnect(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, then waits for the client to leave."""
    while (await receive())["type"] != "http.disconnect":
        pass


class TestLeaving:
    @pytest.mark.parametrize("exc", [None, ConnectionResetError("reset")], ids=["end", "reset"])
    def test_receive_gives_the_disconnect(self, connect: Connect, exc: Exception | None, log: Log) -> None:
        app = Recorder(until_disconnect)
        client = connect(app).send(get()).leave(exc)
        assert [event["type"] for event in app.received] == ["http.request", "http.disconnect"]
        assert app.done == 1
        assert client.transport.output == b""
        assert log() == []

    def test_receive_gives_it_as_often_as_it_is_asked(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await until_disconnect(scope, receive, send)
            assert await receive() == await receive() == {"type": "http.disconnect"}

        recorder = Recorder(app)
        connect(recorder).send(get()).leave()
        assert recorder.raised == []

    def test_what_had_not_been_received_is_gone(self, connect: Connect) -> None:
        gate = Gate(until_disconnect)
        recorder = Recorder(gate)
        client = connect(recorder).send(post(b"12345")).leave()
        gate.open()
        client.harness.settle()
        assert recorder.received == [{"type": "http.disconnect"}]

    @pytest.mark.parametrize("length", [b"content-length: 10", b"transfer-encoding: chunked"])
    def test_a_body_whose_rest_comes_afterwards(self, connect: Connect, length: bytes) -> None:
        """An application that was told at a stop is not given the beginning of an upload for all of it."""
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await gate.wait()
            await read_body(receive)

        first, last = (b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n") if b"chunked" in length else (b"hello", b"world")
        recorder = Recorder(app)
        client = connect(recorder).send(b"POST / HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\n" + first)
        for cycle in list(client.harness.runtime.cycles):
            client.harness.inside(cycle.disconnect)
        client.send(last)
        gate.open()
        client.harness.settle()
        assert [event["type"] for event in recorder.received] == ["http.request", "http.disconnect"]
        assert client.harness.runtime.cycles == set()

    @pytest.mark.parametrize("sent", [[], [start()], [start(), body(b"a", more=True)]], ids=["none", "start", "body"])
    def test_send_raises_an_oserror(self, connect: Connect, sent: list[Any], log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for event in sent:
                await send(event)
            await until_disconnect(scope, receive, send)
            for event in [start(), body(b"b")]:
                with pytest.raises(OSError, match="client left"):
                    await send(event)

        recorder = Recorder(app)
        connect(recorder).send(get()).leave()
        assert recorder.done == 1
        assert recorder.raised == []

    def test_an_application_that_lets_it_pass_is_no_error(self, connect: Connect, log: Log) -> None:
        gate = Gate()
        recorder = Recorder(gate)
        client = connect(recorder).send(get()).leave()
        gate.open()
        client.harness.settle()
        assert isinstance(recorder.raised[0], ConnectionError)
        assert log() == []

    @pytest.mark.parametrize("how", ["cause", "context", "group", "nested group"])
    def test_what_it_leads_to_is_no_error_either(self, connect: Connect, how: str, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await until_disconnect(scope, receive, send)
            try:
                await answer(send)
            except OSError as exc:
                if how == "cause":
                    raise RuntimeError("it failed") from exc
                if how == "context":
                    raise RuntimeError("it failed")  # noqa: B904  # the implicit chain is what is tested
                group = _group([exc])
                raise (_group([group]) if how == "nested group" else group) from None

        recorder = Recorder(app)
        connect(recorder).send(get()).leave()
        assert len(recorder.raised) == 1
        assert log() == []

    def test_the_rest_of_a_file_is_let_pass(self, connect: Connect, log: Log) -> None:
        """So that what is to be done behind the response is done, as the removal of the file."""
        gate = Gate()
        done: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, [(b"content-length", b"300000")]))
            await send(body(b"x" * 100_000, more=True))
            await gate.wait()
            await send(body(b"x" * 100_000, more=True))
            await send(body(b"x" * 100_000))
            done.append("removed")

        client = connect(app).send(get()).leave()
        gate.open()
        client.harness.settle()
        assert done == ["removed"]
        assert log() == []

    def test_and_while_it_waits_for_the_client(self, connect: Connect, log: Log) -> None:
        done: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, [(b"content-length", b"1000000")]))
            for number in range(10):
                await send(body(b"x" * 100_000, more=number < 9))
            with pytest.raises(OSError, match="client"):
                await send(start())
            done.append("removed")

        client = connect(app).stall().send(get())
        assert done == []
        client.leave()
        assert done == ["removed"]
        assert log() == []

    def test_it_may_not_be_longer_than_it_was_to_be(self, connect: Connect, log: Log) -> None:
        gate = Gate(respond(body(b"123456")))
        app = Recorder(gate)

        async def begin(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, [(b"content-length", b"10")]))
            await send(body(b"12345", more=True))
            await app(scope, receive, send)

        client = connect(begin).send(get()).leave()
        gate.open()
        client.harness.settle()
        assert isinstance(app.raised[0], OSError)
        assert log() == []

    def test_from_asgi_2_4_on_send_raises_there_too(self, connect: Connect, log: Log) -> None:
        gate = Gate(respond(body(b"12345")))
        app = Recorder(gate)

        async def begin(scope: Scope, receive: Receive, send: Send) -> None:
            assert scope["asgi"]["spec_version"] == "2.4"
            await send(start(200, [(b"content-length", b"10")]))
            await send(body(b"12345", more=True))
            await app(scope, receive, send)

        client = connect(begin, asgi_spec_version="2.4").send(get()).leave()
        gate.open()
        client.harness.settle()
        assert isinstance(app.raised[0], OSError)
        assert log() == []

    def test_an_error_of_its_own_after_the_client_left_is_logged(self, connect: Connect, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await until_disconnect(scope, receive, send)
            raise ValueError("a mistake")

        connect(app).send(get("/path")).leave()
        assert log() == ["Exception in ASGI application: GET /path"]

    def test_returning_without_an_answer_is_no_error_then(self, connect: Connect, log: Log) -> None:
        connect(until_disconnect).send(get()).leave()
        assert log() == []

    def test_it_wakes_everything_that_waits(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            events = await asyncio.gather(receive(), receive(), receive())
            assert [*events] == [{"type": "http.disconnect"}] * 3

        recorder = Recorder(app)
        connect(recorder).send(get()).leave()
        assert recorder.raised == []
        assert recorder.done == 1

    def test_while_a_body_is_being_sent(self, connect: Connect, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            while True:
                await send(body(b"x" * 1000, more=True))
                await asyncio.sleep(0)

        recorder = Recorder(app)
        client = connect(recorder)
        client.push(get())
        for _ in range(5):
            client.harness.turn()
        client.leave()
        assert isinstance(recorder.raised[0], OSError)
        assert log() == []

    @pytest.mark.parametrize("size", [100, 100_000])
    def test_an_application_that_never_waits(self, connect: Connect, log: Log, size: int) -> None:
        """The transport notices, in a write, and says so in a later turn of the loop, which has to come."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            for _ in range(10_000):
                await send(body(b"x" * size, more=True))
            pytest.fail("the loop never had its turn")

        recorder = Recorder(app)
        client = connect(recorder)
        transport = client.transport

        def fail(how: str, data: bytes) -> None:
            transport.leave(BrokenPipeError())

        transport._wrote = fail  # type: ignore[method-assign]
        client.send(get())
        assert isinstance(recorder.raised[0], OSError)
        assert log() == []

    def test_before_the_application_was_started(self, connect: Connect) -> None:
        recorder = Recorder(until_disconnect)
        client = connect(recorder)
        client.push(get())
        client.leave()
        assert len(recorder.scopes) == recorder.done <= 1
        assert recorder.raised == []

    def test_nothing_is_kept_of_it(self, serve: Serve) -> None:
        harness = serve(until_disconnect)
        for data in (b"", get(), get() + get(), get()[:9], post(b"12345")[:-2]):
            harness.connect().send(data).leave()
        assert harness.runtime.connections == set()
        assert harness.runtime.cycles == set()


def _group(exceptions: list[Exception]) -> Exception:
    """An exception group; before Python 3.11 one that looks like it, as anyio's backport does."""
    try:
        return ExceptionGroup("group", exceptions)  # type: ignore[name-defined,no-any-return,unused-ignore]
    except NameError:
        group = Exception("group")
        group.exceptions = exceptions  # type: ignore[attr-defined]
        return group


class TestHalfClose:
    """Behind the last answer nothing is waited for, since nothing can come: the connection is gone at once."""

    def test_a_whole_request_gets_its_answer(self, connect: Connect) -> None:
        client = connect(echo)
        client.push(post(b"12345"))
        client.eof()
        assert client.response().body == b"POST / 12345"
        assert client.transport.lost

    def test_an_answer_that_takes_time_comes_too(self, connect: Connect) -> None:
        app = Gate(echo)
        client = connect(app).send(post(b"12345")).eof()
        assert client.open
        app.open()
        client.harness.settle()
        assert client.response().body == b"POST / 12345"
        assert client.transport.lost

    def test_pipelined_requests_too(self, connect: Connect) -> None:
        app = Gate(echo)
        client = connect(app).send(get("/1") + get("/2") + get("/3")).eof()
        while app.waiting:
            app.open()
            client.harness.settle()
        assert [response.body for response in client.responses()] == [b"GET /1 ", b"GET /2 ", b"GET /3 "]
        assert client.transport.lost

    def test_a_line_that_was_held_back_too(self, connect: Connect) -> None:
        app = Gate()
        client = connect(app).send(get() * 1200)
        client.transport.deliver(None)
        while app.waiting:
            app.open()
            client.harness.settle()
        assert len(client.responses()) == 1200
        assert client.transport.lost

    def test_a_request_that_is_not_whole_is_dropped_from_the_line(self, connect: Connect) -> None:
        app = Gate(echo)
        client = connect(app).send(get("/1") + post(b"12345", target="/2")[:-1]).eof()
        app.open()
        client.harness.settle()
        assert client.response().body == b"GET /1 "
        assert app.paths == ["/1"]
        assert client.transport.lost

    def test_a_stream_comes_whole(self, connect: Connect) -> None:
        app = Gate(stream(*[b"x" * 1000] * 10))
        client = connect(app).send(get()).eof()
        app.open()
        client.harness.settle()
        assert client.response().body == b"x" * 10_000

    def test_the_application_learns_of_it(self, connect: Connect, log: Log) -> None:
        recorder = Recorder(until_disconnect)
        client = connect(recorder).send(get()).eof()
        assert recorder.received[-1] == {"type": "http.disconnect"}
        assert client.transport.lost
        assert client.transport.output == b""
        assert log() == []

    def test_a_second_answer_is_no_error_then(self, connect: Connect, log: Log) -> None:
        """As of an endpoint that returns a response after its event stream was ended."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"a", more=True))
            await until_disconnect(scope, receive, send)
            await answer(send)

        recorder = Recorder(app)
        client = connect(recorder).send(get()).eof()
        assert isinstance(recorder.raised[0], OSError)
        assert log() == []
        assert client.transport.lost

    def test_it_may_answer_nevertheless(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await until_disconnect(scope, receive, send)
            await answer(send, b"still here")

        client = connect(app).send(get()).eof()
        assert client.response().body == b"still here"
        assert client.transport.lost

    def test_an_idle_connection_is_closed(self, connect: Connect) -> None:
        client = connect(hello).send(get()).eof()
        assert client.transport.lost
        assert client.response().status == 200

    def test_one_that_said_nothing_is_closed(self, connect: Connect) -> None:
        client = connect(hello).eof()
        assert client.transport.lost
        assert client.transport.output == b""

    @pytest.mark.parametrize("cut", [1, 10, len(get()) - 1])
    def test_a_head_that_is_not_whole_is_given_up(self, connect: Connect, cut: int) -> None:
        recorder = Recorder()
        client = connect(recorder).send(get()[:cut]).eof()
        assert client.transport.lost
        assert client.transport.output == b""
        assert recorder.scopes == []

    def test_a_body_that_is_not_whole_is_given_up(self, connect: Connect, log: Log) -> None:
        recorder = Recorder(read_body_and_answer)
        client = connect(recorder).send(post(b"12345")[:-1]).eof()
        assert client.transport.lost
        assert recorder.received[-1] == {"type": "http.disconnect"}
        assert parse_responses(client.transport.output) == []

    def test_a_client_that_leaves_after_it(self, connect: Connect) -> None:
        gate = Gate()
        recorder = Recorder(gate)
        client = connect(recorder).send(get()).eof().leave()
        gate.open()
        client.harness.settle()
        assert isinstance(recorder.raised[0], OSError)


async def read_body_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await read_body(receive)
    except ConnectionError:
        return
    await answer(send)


class TestOutOfOrder:
    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            ([body(b"a")], "http.response.start"),
            ([start(), start()], "http.response.body"),
            ([start(), body(b"a", more=True), start()], "http.response.body"),
            ([start(), body(b"a"), body(b"b")], "nothing, since the response is complete"),
            ([start(), body(b"a"), start()], "nothing, since the response is complete"),
            ([{"type": "http.response.trailers"}], "http.response.start"),
            ([{"type": "websocket.accept"}], "http.response.start"),
            ([start(), {"type": "http.response.push"}], "http.response.body"),
        ],
    )
    def test_the_message_says_what_was_expected(
        self, connect: Connect, events: list[Any], expected: str, log: Log
    ) -> None:
        recorder = Recorder(respond(*events))
        connect(recorder).send(get())
        (error,) = recorder.raised
        assert isinstance(error, RuntimeError)
        assert repr(events[-1]["type"]) in str(error)
        assert str(error).endswith(f"expects {expected}")
        assert len(log(logging.ERROR)) == 1

    def test_a_message_too_many_does_not_spoil_the_connection(self, connect: Connect) -> None:
        client = connect(respond(start(), body(b"a"), body(b"b"))).send(get() + get())
        assert [response.body for response in client.responses()] == [b"a", b"a"]
        assert client.open


def test_half_an_answer_whose_end_is_that_of_the_connection(connect: Connect) -> None:
    """A client of HTTP/1.0 that gives up its upload sees that the answer, which has begun, won't be whole."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"half", True))
        await read_body(receive)

    client = connect(app).send(post(b"0123456789", version="1.0")[:-5]).eof()
    assert client.transport.was_reset
