"""Each answer has one access line, also where the server gives it in the place of the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, body, echo, hello, respond, start
from tests.http1.conftest import Serve
from tests.scripted import Client, get, post
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.runtime import CycleView

Logged = Callable[..., tuple[Client, list[str]]]
CHUNKED = get("/up", "Transfer-Encoding: chunked", method="POST")


@pytest.fixture
def logged(serve: Serve) -> Logged:
    """A connection, and the lines that were logged for it: method, target, version, status, size of the body."""

    def connect(app: ASGIApp = hello, **options: Any) -> tuple[Client, list[str]]:
        lines: list[str] = []

        def access(cycle: CycleView) -> None:
            scope = cycle.scope
            assert scope["client"] == ("192.0.2.7", 50123)
            assert list(cycle.response_headers) or cycle.status == 200
            target = cycle.target.decode("ascii")
            lines.append(f"{scope['method']} {target} {scope['http_version']} {cycle.status} {cycle.body_sent}")

        harness = serve(app, **options)
        harness.runtime.access = access
        return harness.connect(), lines

    return connect


class TestHeads:
    @pytest.mark.parametrize(
        ("data", "line"),
        [
            (b"garbage\r\n\r\n", "- - 1.1 400"),
            (b"\x16\x03\x01\x02\x00\r\n\r\n", "- - 1.1 400"),
            (b"brew /pot HTTP/1.1\r\nHost: a\r\n\r\n", "brew /pot 1.1 501"),
            (b"GET /a?b HTTP/1.1\r\n\r\n", "GET /a?b 1.1 400"),
            (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", None),
            (b"GET /a HTTP/3.7\r\nHost: a\r\n\r\n", "GET /a 1.1 505"),
            (get("/a", "bad name: 1"), "GET /a 1.1 400"),
            (get("/a", "Transfer-Encoding: gzip"), "GET /a 1.1 501"),
            (get("/a", "Expect: a-miracle"), "GET /a 1.1 417"),
            (get("/a", *[f"X-{number}: 1" for number in range(150)]), "GET /a 1.1 431"),
            (get("/a", "Content-Length: 1000", method="POST"), "POST /a 1.1 413"),
            (get("/a", version="1.0") + b"x", "GET /a 1.0 200"),
            (b"brew /pot HTTP/1.0\r\n\r\n", "brew /pot 1.0 501"),
        ],
    )
    def test_what_is_known_of_it(self, logged: Logged, data: bytes, line: str | None) -> None:
        client, lines = logged(limit_request_body=10)
        client.send(data)
        response = client.response()
        (found,) = lines
        if line is not None:
            assert found == f"{line} {len(response.body)}"
        assert found.isprintable()

    @pytest.mark.parametrize("each", [None, 1, 1000])
    def test_a_line_that_is_too_long_is_shown_by_its_beginning(self, logged: Logged, each: int | None) -> None:
        client, lines = logged()
        client.send(get("/" + "a" * 9000), each=each)
        (found,) = lines
        assert found.startswith("GET /" + "a" * 1000)
        assert len(found) < 1100
        assert " 414 " in found

    def test_a_head_that_takes_too_long(self, logged: Logged) -> None:
        client, lines = logged(timeout_request_head=5)
        client.send(b"GET /slow HTTP/1.1\r\nHo").harness.tick(6)
        assert client.response().status == 408
        assert [line.rpartition(" ")[0] for line in lines] == ["GET /slow 1.1 408"]

    def test_a_connection_that_says_nothing_has_none(self, logged: Logged) -> None:
        client, lines = logged(timeout_request_head=5)
        client.harness.tick(6)
        assert client.closed
        assert lines == []

    def test_behind_a_request_that_runs(self, logged: Logged) -> None:
        gate = Gate()
        client, lines = logged(gate)
        client.send(get("/1") + get("/2", "bad name: 1"))
        assert lines == []
        gate.open()
        client.harness.settle()
        assert [line.rpartition(" ")[0] for line in lines] == ["GET /1 1.1 200", "GET /2 1.1 400"]

    def test_a_client_that_has_left_before_was_not_answered(self, logged: Logged) -> None:
        client, lines = logged(Gate())
        client.send(get("/1") + get("/2", "bad name: 1")).leave()
        assert lines == []


class TestBodies:
    def test_a_fault_in_the_body(self, logged: Logged) -> None:
        client, lines = logged(echo)
        client.send(CHUNKED, b"5\r\nhello\r\n", b"nonsense\r\n").eof()
        assert client.response().status == 400
        assert [line.rpartition(" ")[0] for line in lines] == ["POST /up 1.1 400"]

    def test_once_the_response_has_begun(self, logged: Logged) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"begun", more=True))
            await echo(scope, receive, send)

        client, lines = logged(app)
        client.send(CHUNKED, b"5\r\nhello\r\n", b"nonsense\r\n").eof()
        assert lines == ["POST /up 1.1 200 5"]

    def test_once_its_head_was_sent(self, logged: Logged) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, [(b"content-length", b"5")]))
            await echo(scope, receive, send)

        client, lines = logged(app)
        client.send(CHUNKED, b"5\r\nhello\r\n", b"nonsense\r\n").eof()
        assert lines == ["POST /up 1.1 200 0"]

    def test_413_and_408(self, logged: Logged) -> None:
        for options, status in (({"limit_request_body": 3}, 413), ({"timeout_request_body": 1}, 408)):
            client, lines = logged(echo, **options)
            client.send(CHUNKED, b"3\r\nabc\r\n", b"1\r\nd\r\n"[: 6 if status == 413 else 0]).harness.tick(2)
            assert [line.rpartition(" ")[0] for line in lines] == [f"POST /up 1.1 {status}"]

    def test_in_a_row(self, logged: Logged) -> None:
        gate = Gate()
        client, lines = logged(gate, limit_request_body=3)
        client.send(get("/1") + CHUNKED + b"4\r\nabcd\r\n")
        gate.open()
        client.harness.settle()
        assert [line.rpartition(" ")[0] for line in lines] == ["GET /1 1.1 200", "POST /up 1.1 413"]


class TestApplications:
    def test_504(self, logged: Logged) -> None:
        client, lines = logged(Gate(), timeout_request=1)
        client.send(get("/slow")).harness.tick(2)
        assert lines == ["GET /slow 1.1 504 15"]

    def test_a_response_that_is_cut_for_its_time(self, logged: Logged) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(start(), body(b"begun", more=True))(scope, receive, send)
            await Gate().wait()

        client, lines = logged(app, timeout_request=1)
        client.send(get("/slow")).harness.tick(2)
        assert lines == ["GET /slow 1.1 200 5"]

    def test_503(self, logged: Logged) -> None:
        client, lines = logged(Gate(), limit_concurrency=1)
        client.send(get("/1"))
        other = client.harness.connect().send(get("/2"))
        assert other.response().status == 503
        for cycle in list(client.harness.runtime.cycles):
            cycle.abandon()
        client.harness.settle()
        assert [line.rpartition(" ")[0] for line in lines] == ["GET /2 1.1 503", "GET /1 1.1 503"]

    def test_a_request_whose_client_left_without_an_answer_has_none(self, logged: Logged) -> None:
        client, lines = logged(Recorder(Gate()))
        client.send(post(b"1")).leave()
        assert lines == []
