"""Applications that fail: 500 where nothing was sent, a cut where something was, and one report."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest

from tests.http1.apps import Gate, Recorder, body, echo, hello, respond, start
from tests.http1.conftest import Connect
from tests.scripted import Client, get, parse_responses, post
from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send
from uvicorn_worker.http1 import Http1Protocol


def failing(*events: Event, with_exception: BaseException | None = None) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events:
            await send(event)
        raise with_exception or ValueError("a mistake")

    return app


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def truncated(client: Client) -> Any:
    """The response that the client can see not to be whole."""
    (response,) = parse_responses(client.transport.output, ended=True)
    assert not response.complete or response.framing == "close"
    return response


class TestRaising:
    @pytest.mark.parametrize("events", [[], [start(201, [(b"x-a", b"b")])]], ids=["at once", "after start"])
    def test_it_is_500_where_nothing_was_sent(
        self, connect: Connect, events: list[Event], caplog: pytest.LogCaptureFixture
    ) -> None:
        client = connect(failing(*events)).send(get("/path") + get("/path"))
        for response in client.responses():
            assert (response.status, response.body) == (500, b"Internal Server Error")
            assert response.get("content-type") == "text/plain; charset=utf-8"
            assert response.get("x-a") is None
        assert client.open
        first, _ = errors(caplog)
        assert first.getMessage() == "Exception in ASGI application: GET /path"
        assert first.levelno == logging.ERROR
        assert first.exc_info is not None
        assert isinstance(first.exc_info[1], ValueError)
        assert first.exc_info[2] is not None

    def test_a_sized_body_is_cut(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        client = connect(failing(start(200, [(b"content-length", b"10")]), body(b"12345", more=True))).send(get())
        assert truncated(client).body == b"12345"
        assert client.closed
        assert not client.transport.was_reset
        assert len(errors(caplog)) == 1

    def test_chunks_are_cut_without_the_last(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        client = connect(failing(start(), body(b"12345", more=True))).send(get())
        assert truncated(client).body == b"12345"
        assert client.closed
        assert len(errors(caplog)) == 1

    def test_a_body_that_ends_with_the_connection_is_reset(self, connect: Connect) -> None:
        # An orderly end would tell an HTTP/1.0 client that the body is whole.
        client = connect(failing(start(), body(b"12345", more=True))).send(get(version="1.0"))
        assert client.transport.was_reset
        assert client.closed

    def test_a_body_that_ends_with_the_connection_is_reset_once_it_was_sent(self, connect: Connect) -> None:
        gate = Gate(failing())

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"12345", more=True))
            await gate(scope, receive, send)

        client = connect(app).send(get(version="1.0"))
        assert client.open
        gate.open()
        client.harness.settle()
        assert client.transport.was_reset

    def test_after_the_response_it_is_only_logged(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        client = connect(failing(start(), body(b"whole"))).send(get() + get())
        assert [response.body for response in client.responses()] == [b"whole", b"whole"]
        assert client.open
        assert len(errors(caplog)) == 2

    def test_head_is_answered_without_a_body(self, connect: Connect) -> None:
        client = connect(failing()).send(get(method="HEAD"))
        assert client.response("HEAD").status == 500
        assert client.transport.output.endswith(b"\r\n\r\n")

    def test_a_body_that_was_not_read_does_not_spoil_the_connection(self, connect: Connect) -> None:
        client = connect(failing()).send(post(b"12345") + get())
        assert [response.status for response in client.responses()] == [500, 500]

    def test_pipelined_requests_behind_a_cut_are_not_run(self, connect: Connect) -> None:
        recorder = Recorder(failing(start(), body(b"12345", more=True)))
        client = connect(recorder).send(get("/1") + get("/2"))
        assert recorder.paths == ["/1"]
        assert client.closed

    def test_an_exception_group_is_an_error(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        error = Exception("group")
        error.exceptions = [ValueError("a"), OSError("b")]  # type: ignore[attr-defined]
        assert connect(failing(with_exception=error)).send(get()).response().status == 500
        assert len(errors(caplog)) == 1

    def test_an_oserror_of_its_own_is_an_error(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        client = connect(failing(with_exception=ConnectionResetError("the database"))).send(get())
        assert client.response().status == 500
        assert len(errors(caplog)) == 1


class TestCancelled:
    def cancelled(self, connect: Connect, *events: Event) -> Client:
        """An application that is cancelled after it has sent something, by whom it was started."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for event in events:
                await send(event)
            await asyncio.get_running_loop().create_future()

        client = connect(app).send(get())
        (cycle,) = client.harness.runtime.cycles
        client.harness.inside(cycle.cancel)
        client.harness.settle()
        return client

    def test_it_is_503_where_nothing_was_sent(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        assert self.cancelled(connect).response().status == 503
        assert errors(caplog) == []

    def test_what_was_begun_is_cut(self, connect: Connect) -> None:
        client = self.cancelled(connect, start(), body(b"12345", more=True))
        assert truncated(client).body == b"12345"
        assert client.closed


class TestReturning:
    @pytest.mark.parametrize("events", [[], [start()]], ids=["at once", "after start"])
    def test_it_is_500_where_nothing_was_sent(
        self, connect: Connect, events: list[Event], caplog: pytest.LogCaptureFixture
    ) -> None:
        client = connect(respond(*events)).send(get("/path"))
        assert client.response().status == 500
        assert client.open
        (record,) = errors(caplog)
        assert record.getMessage() == "ASGI application returned without completing the response: GET /path"

    def test_what_was_begun_is_cut(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        client = connect(respond(start(), body(b"12345", more=True))).send(get())
        assert truncated(client).body == b"12345"
        assert client.closed
        assert len(errors(caplog)) == 1


class TestHeaders:
    @pytest.mark.parametrize(
        "field",
        [
            (b"x-a", b"b\r\nset-cookie: evil=1"),
            (b"x-a", b"b\nc"),
            (b"x-a", b"b\rc"),
            (b"x-a", b"b\0c"),
            (b"x-a", b"b\x7f"),
            (b"x-a\r\nx-b", b"c"),
            (b"x a", b"b"),
            (b"x-a:", b"b"),
            (b"", b"b"),
            (b"x-\xe9", b"b"),
            (b"content-length", b"-1"),
            (b"content-length", b"5, 5"),
            (b"content-length", b"5\r\nx: y"),
            (b"content-length", b""),
            (b"Content-Length", b"five"),
            (b"connection", b"close\r\nx: y"),
            (b"transfer-encoding", b"chunked\r\nx: y"),
            ("x-a", "b\r\nx-b: c"),
            (b"x-a", "\u20ac"),
            ("x-\xe9", b"b"),
            ("content-length", "five"),
            (b"x-a", 5),
            (b"x-a", None),
            (b"x-a", bytearray(b"b\n")),
            [b"x-a", b"b\r\nc"],
            (b"x-a",),
            (b"x-a", b"b", b"c"),
            b"x-a: b",
            None,
            7,
        ],
        ids=repr,
    )
    def test_what_is_none_never_reaches_the_wire(
        self, connect: Connect, field: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder = Recorder(respond(start(200, [(b"x-good", b"1"), field]), body(b"secret")))
        client = connect(recorder).send(get() + get())
        for response in client.responses():
            assert (response.status, response.body) == (500, b"Internal Server Error")
            assert {name for name, _ in response.fields} == {"date", "server", "content-type", "content-length"}
        assert all(isinstance(error, RuntimeError) for error in recorder.raised)
        assert len(errors(caplog)) == 2

    def test_two_lengths_are_refused(self, connect: Connect) -> None:
        headers = [(b"content-length", b"5"), (b"Content-Length", b"6")]
        assert connect(respond(start(200, headers), body(b"12345"))).send(get()).response().status == 500

    def test_a_list_of_lists_will_do(self, connect: Connect) -> None:
        headers = [[b"x-a", b"b"], [b"Content-Length", b"5"]]
        response = connect(respond(start(200, headers), body(b"12345"))).send(get()).response()
        assert (response.get("x-a"), response.get("content-length")) == ("b", "5")

    def test_text_will_do(self, connect: Connect) -> None:
        headers = [
            ("Content-Type", "text/plain"),
            (b"x-a", bytearray(b"b")),
            ("content-length", "5"),
            ("Server", "own"),
        ]
        for response in connect(respond(start(200, headers), body(b"12345"))).send(get() * 3).responses():
            assert [response.get(name) for name in ("content-type", "x-a", "server")] == ["text/plain", "b", "own"]
            assert (response.get_all("content-length"), response.body) == (["5"], b"12345")

    def test_any_iterable_will_do(self, connect: Connect) -> None:
        headers = iter([(b"x-a", b"b"), (b"x-a", b"c")])
        assert connect(respond(start(200, headers), body(b""))).send(get()).response().get_all("x-a") == ["b", "c"]

    def test_the_same_field_again_is_the_same_line(self, connect: Connect) -> None:
        client = connect(respond(start(200, [(b"X-A", b"\xe9\tb")]), body(b""))).send(get() * 3)
        assert [response.get("X-A") for response in client.responses()] == ["\xe9\tb"] * 3

    def test_an_endless_variety_of_values(self, connect: Connect) -> None:
        numbers = iter(range(10_000))

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(start(200, [(b"x-id", b"%d" % next(numbers))]), body(b""))(scope, receive, send)

        client = connect(app).send(get() * 3000)
        assert [response.get("x-id") for response in client.responses()] == [str(number) for number in range(3000)]
        assert len(cast("Http1Protocol", client.protocol).shared.field_memo) <= 2048


@pytest.mark.parametrize("data", ["text", 5, [b"a"]])
def test_a_body_that_is_not_bytes(connect: Connect, data: Any) -> None:
    recorder = Recorder(respond(start(), body(data)))
    assert connect(recorder).send(get()).response().status == 500
    assert "must be bytes" in str(recorder.raised[0])


def test_the_server_goes_on(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (failing() if scope["path"] == "/fail" else echo)(scope, receive, send)

    client = connect(app)
    for _ in range(3):
        client.send(get("/fail"), get("/fine"))
    assert [response.status for response in client.responses()] == [500, 200] * 3


def test_a_task_the_application_left_behind_can_send_no_more(connect: Connect) -> None:
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sends.append(send)
        await hello(scope, receive, send)

    client = connect(app).send(get())

    async def late() -> None:
        with pytest.raises(RuntimeError, match="expects nothing"):
            await sends[0](body(b"late"))

    client.harness.loop.run_until_complete(late())
    assert client.response().body == b"Hello, world!"
