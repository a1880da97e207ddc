"""What a client, and an application, may take of time: timeout_request_body, _write, _request and _disconnect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, body, echo, hello, read_body, respond, start
from tests.http1.conftest import Connect, Serve
from tests.scripted import Client, get, parse_responses, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

Log = Callable[..., list[str]]
HALF = post(b"12345")[:-2]
CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()


async def begun(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends a part of the response, then asks for the body."""
    await send(start())
    await send(body(b"begun", more=True))
    await read_body(receive)
    await send(body(b"done"))


class TestRequestBody:
    def test_408(self, connect: Connect, log: Log) -> None:
        recorder = Recorder(echo)
        client = connect(recorder, timeout_request_body=10).send(HALF)
        client.harness.tick(10)
        assert client.open
        client.harness.tick(1)
        response = client.response()
        assert (response.status, response.closes) == (408, True)
        assert client.closed
        assert recorder.received[-1] == {"type": "http.disconnect"}
        assert log()[0].startswith("Invalid request from 192.0.2.7:50123: the request body did not arrive in time (")

    def test_each_byte_starts_the_time_anew(self, connect: Connect) -> None:
        client = connect(echo, timeout_request_body=10).send(HALF[:-3])
        for byte in b"123", b"4":
            client.harness.tick(9)
            client.send(byte)
        client.harness.tick(9)
        assert client.send(b"5").response().body == b"POST / 12345"
        client.harness.tick(4)
        assert client.open

    def test_framing_is_no_body(self, connect: Connect) -> None:
        client = connect(echo, timeout_request_body=10).send(CHUNKED + b"5\r\nhello\r\n")
        for digit in b"1;abcdefghijk":
            client.harness.tick(1)
            client.send(bytes([digit]))
        assert client.response().status == 408

    def test_a_client_that_was_told_to_continue(self, connect: Connect) -> None:
        client = connect(echo, timeout_request_body=10).send(
            get("/", "Content-Length: 5", "Expect: 100-continue", method="POST")
        )
        client.harness.tick(11)
        assert [response.status for response in client.responses()] == [100, 408]

    def test_an_application_that_is_busy_elsewhere_has_all_the_time(self, connect: Connect) -> None:
        gate = Gate(echo)
        client = connect(gate, timeout_request_body=10).send(HALF)
        client.harness.tick(60)
        assert client.open
        gate.open()
        client.harness.settle()
        client.harness.tick(9)
        assert client.send(b"45").response().body == b"POST / 12345"

    def test_an_application_that_has_received_and_is_busy(self, connect: Connect) -> None:
        gate = Gate(echo)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await receive()
            await gate(scope, receive, send)

        client = connect(app, timeout_request_body=10).send(HALF[:-3], b"1")
        client.harness.tick(5)
        client.send(b"2")
        client.harness.tick(60)
        assert client.open

    def test_an_application_that_has_stopped_waiting(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
            await gate(scope, receive, send)

        gate = Gate(hello)
        client = connect(app, timeout_request_body=10).send(HALF)
        client.harness.tick(60)
        gate.open()
        client.harness.settle()
        assert client.response().status == 200

    @pytest.mark.parametrize("again", [False, True], ids=["once", "again and again"])
    def test_one_of_two_that_wait_is_cancelled(self, connect: Connect, again: bool) -> None:
        """As by an application that asks whether its client is there while it reads: the time goes on."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            reading = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            polls.append(receive)
            received.append(await reading)

        async def poll() -> None:
            task = asyncio.ensure_future(polls[0]())
            await asyncio.sleep(0)
            task.cancel()

        polls: list[Receive] = []
        received: list[Any] = []
        client = connect(app, timeout_request_body=10).send(HALF)
        for _ in range(9 if again else 1):
            client.harness.loop.create_task(poll())
            client.harness.settle()
            client.harness.tick(1)
        client.harness.tick(2 if again else 10)
        assert client.response().status == 408
        assert received == [{"type": "http.disconnect"}]

    def test_a_response_that_has_begun_is_cut(self, connect: Connect) -> None:
        recorder = Recorder(begun)
        client = connect(recorder, timeout_request_body=10).send(HALF)
        client.harness.tick(11)
        (response,) = parse_responses(client.transport.output, ended=True)
        assert not response.complete
        assert client.closed
        assert recorder.received[-1] == {"type": "http.disconnect"}

    def test_waiting_for_the_disconnect_is_not_waiting_for_the_body(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await read_body(receive)
            await receive()

        client = connect(app, timeout_request_body=10).send(post(b"12345"))
        client.harness.tick(60)
        assert client.open

    def test_none_is_no_limit(self, connect: Connect) -> None:
        client = connect(echo, timeout_request_body=None).send(HALF)
        client.harness.tick(600)
        assert client.send(b"45").response().status == 200

    def test_an_answer_while_the_body_is_awaited(self, connect: Connect) -> None:
        """The deadline of the body does not become that of the connection, nor the other way round."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            waiting = asyncio.ensure_future(read_body(receive))
            await gate.wait()
            await answer(send)
            with pytest.raises(ConnectionError):
                await waiting

        gate = Gate()
        client = connect(app, timeout_request_body=10, timeout_keep_alive=5).send(HALF)
        client.harness.tick(9)
        gate.open()
        client.harness.settle()
        assert client.open
        client.harness.tick(4)
        assert client.send(b"45").open
        client.harness.tick(4)
        assert client.open
        client.harness.tick(2)
        assert client.closed
        assert client.response().status == 200

    def test_a_request_that_can_not_begin_is_none_that_waits(self, connect: Connect) -> None:
        """The client does not read, so that its next request waits; nobody waits for the client."""

        async def large(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"x" * 100_000)

        client = connect(large, timeout_keep_alive=2).stall().send(get())
        client.send(HALF)
        client.harness.tick(10)
        client.drain()
        client.send(b"45")
        assert [len(response.body) for response in client.responses()] == [100_000] * 2


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    while True:
        await send(body(b"x" * 10_000, more=True))


class TestWrite:
    def test_a_client_that_takes_nothing_is_cut(self, connect: Connect, log: Log) -> None:
        recorder = Recorder(endless)
        client = connect(recorder, timeout_write=20).stall().send(get())
        client.harness.tick(20)
        assert not client.transport.lost
        client.harness.tick(1.5)
        assert client.transport.was_reset
        assert isinstance(recorder.raised[0], OSError)
        assert client.harness.runtime.cycles == set()
        assert log() == ["192.0.2.7:50123 took nothing of what waits for it in time: the connection is cut"]

    def test_one_that_takes_a_byte_now_and_then_is_not(self, connect: Connect) -> None:
        client = connect(endless, timeout_write=20).stall().send(get())
        for _ in range(10):
            client.harness.tick(19)
            client.transport.take(1)
        assert not client.transport.lost

    def test_one_that_takes_as_much_as_is_sent_is_not(self, connect: Connect) -> None:
        client, send_piece = streaming(connect)
        for _ in range(60):
            send_piece()
            client.transport.take(100)
            client.harness.tick(1)
        assert client.transport.get_write_buffer_size() > 0
        assert not client.transport.lost

    def test_one_that_takes_less_than_is_sent_is_not(self, connect: Connect) -> None:
        client, send_piece = streaming(connect)
        for _ in range(60):
            send_piece()
            client.transport.take(10)
            client.harness.tick(1)
        assert not client.transport.lost

    def test_sending_more_does_not_make_it_alive(self, connect: Connect) -> None:
        client, send_piece = streaming(connect)
        for _ in range(22):
            send_piece()
            client.harness.tick(1)
        assert client.transport.lost

    def test_a_connection_whose_client_has_taken_all_is_fine(self, connect: Connect) -> None:
        client, send_piece = streaming(connect)
        client.drain()
        for _ in range(60):
            send_piece()
            client.harness.tick(1)
        assert not client.transport.lost

    def test_none_is_no_limit(self, connect: Connect) -> None:
        client = connect(endless, timeout_write=None).stall().send(get())
        client.harness.tick(600)
        assert not client.transport.lost

    def test_a_connection_that_is_closing_has_a_limit_all_the_same(self, connect: Connect) -> None:
        async def large(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"x" * 100_000)

        client = connect(large, timeout_write=None).stall().send(get("/", "Connection: close"))
        client.harness.tick(30)
        assert not client.transport.lost
        client.harness.tick(2)
        assert client.transport.lost

    def test_an_idle_connection_with_a_response_that_is_not_taken(self, connect: Connect) -> None:
        async def large(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"x" * 100_000)

        client = connect(large, timeout_write=20, timeout_keep_alive=5).stall().send(get())
        client.harness.tick(20)
        assert client.open
        client.harness.tick(2)
        assert client.transport.lost


def streaming(connect: Connect) -> tuple[Client, Callable[[], None]]:
    """A client that has something to take, and a function that has the application send a hundred bytes more."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(200, [(b"content-length", b"1000000")]))
        await send(body(b"x" * 10_000, more=True))
        while True:
            await gate.wait()
            await send(body(b"x" * 100, more=True))

    client = connect(app, timeout_write=20).stall().send(get())

    def send_piece() -> None:
        gate.open()
        client.harness.settle()

    return client, send_piece


class TestRequest:
    def test_504(self, connect: Connect, log: Log) -> None:
        recorder = Recorder(hanging)
        client = connect(recorder, timeout_request=10).send(get("/slow"))
        client.harness.tick(9)
        assert client.transport.output == b""
        client.harness.tick(2)
        assert client.response().status == 504
        assert isinstance(recorder.raised[0], asyncio.CancelledError)
        assert client.harness.runtime.cycles == set()
        (line,) = log()
        assert line.startswith("Cancelled after 10.")
        assert line.endswith("since it took longer than timeout_request: GET /slow from 192.0.2.7:50123")

    def test_the_connection_goes_on(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = Gate()
        client = connect(gate, timeout_request=10).send(get("/1") + get("/2"))
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + client.harness.passed)
        monkeypatch.setattr("uvicorn_worker.core.cycle.time", clock)
        client.harness.tick(11)
        gate.waiting.pop(0)
        gate.open()
        client.harness.settle()
        assert [response.status for response in client.responses()] == [504, 200]
        assert gate.paths == ["/1", "/2"]

    def test_time_in_the_row_does_not_count(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = Gate()
        client = connect(gate, timeout_request=1.5).send(get("/1") + get("/2"))
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + client.harness.passed)
        monkeypatch.setattr("uvicorn_worker.core.cycle.time", clock)
        for _ in range(2):
            client.harness.tick(1)
            gate.open()
            client.harness.settle()
        assert [response.status for response in client.responses()] == [200, 200]

    def test_a_response_of_which_the_head_was_sent_is_cut(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, [(b"content-length", b"5")]))
            await hanging(scope, receive, send)

        client = connect(app, timeout_request=1).send(get())
        client.harness.tick(2)
        (response,) = parse_responses(client.transport.output, ended=True)
        assert (response.status, response.complete) == (200, False)
        assert client.closed

    @pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")]], ids=["chunked", "length"])
    def test_a_response_that_has_begun_is_cut(self, connect: Connect, headers: Any) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, headers))
            await send(body(b"begun", more=True))
            await hanging(scope, receive, send)

        recorder = Recorder(app)
        client = connect(recorder, timeout_request=1).send(get())
        client.harness.tick(2)
        (response,) = parse_responses(client.transport.output, ended=True)
        assert (response.status, response.complete) == (200, False)
        assert client.closed
        assert recorder.done == 1

    def test_one_that_ends_with_the_connection_is_reset(self, connect: Connect) -> None:
        client = connect(respond_and_hang, timeout_request=1).send(get(version="1.0"))
        client.harness.tick(2)
        assert client.transport.was_reset

    def test_an_application_that_answers_its_cancellation(self, connect: Connect, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await hanging(scope, receive, send)
            except asyncio.CancelledError:
                await answer(send, b"sorry", 503)

        recorder = Recorder(app)
        client = connect(recorder, timeout_request=1).send(get())
        client.harness.tick(5)
        assert client.response().status == 504
        assert isinstance(recorder.raised[0], OSError)
        assert len(log()) == 1

    def test_work_after_the_response_has_all_the_time(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send)
            await gate.wait()

        gate = Gate()
        recorder = Recorder(app)
        client = connect(recorder, timeout_request=1).send(get())
        client.harness.tick(10)
        gate.open()
        client.harness.settle()
        assert recorder.raised == []

    def test_a_client_that_has_left_makes_no_difference(self, connect: Connect) -> None:
        recorder = Recorder(hanging)
        client = connect(recorder, timeout_request=2).send(get()).leave()
        client.harness.tick(3)
        assert recorder.done == 1
        assert client.transport.output == b""

    def test_a_body_that_is_still_coming(self, connect: Connect) -> None:
        client = connect(hanging, timeout_request=1).send(post(bytes(1_000_000))[:1000])
        client.harness.tick(2)
        response = client.response()
        assert (response.status, response.closes) == (504, True)

    def test_other_requests_go_on(self, serve: Serve) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await (hanging if scope["path"] == "/slow" else hello)(scope, receive, send)

        harness = serve(app, timeout_request=1)
        slow, other = harness.connect().send(get("/slow")), harness.connect()
        for _ in range(3):
            harness.tick(1)
            other.send(get())
        assert slow.response().status == 504
        assert len(other.responses()) == 3


async def respond_and_hang(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(start(), body(b"begun", more=True))(scope, receive, send)
    await hanging(scope, receive, send)


class TestDisconnect:
    def test_an_application_is_cancelled_some_time_after_its_client_has_left(self, connect: Connect, log: Log) -> None:
        recorder = Recorder(hanging)
        client = connect(recorder, timeout_disconnect=3).send(get("/path")).leave()
        client.harness.tick(2.5)
        assert recorder.done == 0
        client.harness.tick(1)
        assert isinstance(recorder.raised[0], asyncio.CancelledError)
        (line,) = log()
        assert "since it went on after its client had left: GET /path from 192.0.2.7:50123" in line

    def test_at_once(self, connect: Connect) -> None:
        recorder = Recorder(hanging)
        connect(recorder, timeout_disconnect=0).send(get()).leave().harness.tick(0.5)
        assert recorder.done == 1

    def test_a_client_that_has_ended_its_side_counts_as_gone(self, connect: Connect) -> None:
        recorder = Recorder(hanging)
        client = connect(recorder, timeout_disconnect=3).send(get()).eof()
        client.harness.tick(4)
        assert recorder.done == 1
        assert client.response().status == 503

    def test_one_that_is_there_is_waited_for(self, connect: Connect) -> None:
        recorder = Recorder(hanging)
        connect(recorder, timeout_disconnect=3).send(get()).harness.tick(60)
        assert recorder.done == 0

    def test_one_that_left_after_its_response(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send)
            await gate.wait()

        gate = Gate()
        recorder = Recorder(app)
        client = connect(recorder, timeout_disconnect=0).send(get()).leave()
        client.harness.tick(10)
        gate.open()
        client.harness.settle()
        assert recorder.raised == []

    def test_never_is_the_default(self, connect: Connect) -> None:
        recorder = Recorder(hanging)
        connect(recorder).send(get()).leave().harness.tick(600)
        assert recorder.done == 0


def test_an_error_at_one_connection_does_not_keep_the_others_waiting(serve: Serve, log: Log) -> None:
    harness = serve(hello, timeout_keep_alive=1)
    broken, other = harness.connect().send(get()), harness.connect().send(get())

    def fail() -> int:
        raise RuntimeError("broken")

    broken.transport.get_write_buffer_size = fail  # type: ignore[method-assign]
    harness.tick(0.5)
    assert broken.transport.lost
    assert log() == ["Error at a deadline of a connection"]
    harness.tick(2)
    assert other.closed
