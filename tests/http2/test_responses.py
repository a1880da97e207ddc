"""Responses of applications on HTTP/2: heads, bodies, trailers, hints, faults, and in how many writes they leave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, body, hello, respond, start, stream
from tests.http2.conftest import Converse
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ApplicationError


class TestHead:
    def test_the_server_adds_date_and_name(self, talk: Converse) -> None:
        got = talk(hello).get()
        assert [name for name, _ in got.fields] == [b":status", b"date", b"server", b"content-length"]
        assert got.get(b"server") == b"uvicorn"

    def test_those_of_the_application_win(self, talk: Converse) -> None:
        headers = [(b"Server", b"own"), (b"date", b"today"), (b"X-Default", b"mine")]
        got = talk(respond(start(headers=headers), body()), headers=[("x-default", "ours"), ("x-more", "yes")]).get()
        assert got.fields == [
            (b":status", b"200"),
            (b"server", b"own"),
            (b"date", b"today"),
            (b"x-default", b"mine"),
            (b"x-more", b"yes"),
        ]

    def test_they_can_be_turned_off(self, talk: Converse) -> None:
        got = talk(respond(start(), body(b"x")), server_header=False, date_header=False).get()
        assert got.fields == [(b":status", b"200")]

    def test_the_date_goes_on(self, talk: Converse) -> None:
        connection = talk(hello, date_header=False, headers=[("x-a", "1")])
        assert connection.get().get(b"x-a") == b"1"
        connection.harness.runtime.defaults.lines = b"x-b: 2\r\n"
        assert connection.get().get(b"x-b") == b"2"

    def test_what_belongs_to_http1_connections_is_left_out(self, talk: Converse) -> None:
        headers = [(b"Connection", b"close"), (b"Keep-Alive", b"5"), (b"Transfer-Encoding", b"chunked"), (b"a", b"b")]
        connection = talk(respond(start(headers=[*headers, (b"upgrade", b"x")]), body(b"x")), date_header=False)
        assert connection.get().fields == [(b":status", b"200"), (b"a", b"b"), (b"server", b"uvicorn")]
        assert not connection.closed

    def test_names_are_sent_in_lower_case_and_values_without_space_around(self, talk: Converse) -> None:
        got = talk(respond(start(headers=[(b"X-Own", b" v ")]), body())).get()
        assert got.get(b"x-own") == b"v"

    def test_headers_need_not_be_tuples(self, talk: Converse) -> None:
        got = talk(respond(start(headers=iter([[b"a", b"b"], (b"c", b"d")])), body())).get()
        assert (got.get(b"a"), got.get(b"c")) == (b"b", b"d")

    @pytest.mark.parametrize(
        "headers",
        [
            [(b"a b", b"x")],
            [(b"a", b"x\r\ny")],
            [("a", "x\ny")],
            [(b"a",)],
            [5],
            [(b"content-length", b"x")],
            [(b"content-length", b"1"), (b"Content-Length", b"2")],
            [(b"content-length", b"1"), (b"content-length", b"2")],
        ],
    )
    def test_what_must_not_reach_the_wire(self, talk: Converse, headers: Any) -> None:
        app = Recorder(respond(start(headers=headers), body(b"x")))
        got = talk(app).get()
        assert isinstance(app.raised[0], ApplicationError)
        assert got.status == 500
        assert got.whole

    @pytest.mark.parametrize("status", [99, 100, 103, 1000, "200", None])
    def test_a_status_that_is_none(self, talk: Converse, status: Any) -> None:
        app = Recorder(respond(start(status), body()))
        assert talk(app).get().status == 500
        assert isinstance(app.raised[0], ApplicationError)

    def test_large_and_changing_values_are_not_remembered(self, talk: Converse) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await answer(send, headers=[(b"x-path", scope["raw_path"]), (b"x-long", b"v" * 500)])

        connection = talk(app)
        for number in range(2100):
            connection.wire.streams.clear()
            assert connection.get(b"/%d" % number).get(b"x-path") == b"/%d" % number


class TestBody:
    def test_one_message_is_one_write(self, talk: Converse) -> None:
        connection = talk(hello)
        before = len(connection.transport.calls)
        got = connection.get()
        assert (got.body, got.whole) == (b"Hello, world!", True)
        assert connection.transport.calls[before:] == ["write"]

    def test_sixteen_answers_are_one_write(self, talk: Converse) -> None:
        connection = talk(hello)
        before = len(connection.transport.calls)
        connection.send(*[connection.wire.request() for _ in range(16)])
        assert connection.transport.calls[before:] == ["write"]
        assert all(connection.stream(number).whole for number in range(1, 33, 2))

    def test_in_pieces(self, talk: Converse) -> None:
        got = talk(stream(b"one ", b"", b"two", b"")).get()
        assert (got.body, got.whole) == (b"one two", True)

    def test_bytearrays_and_views_are_copied(self, talk: Converse) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            data = bytearray(b"first")
            await send(start())
            await send(body(data, True))
            data[:] = b"other"
            await send(body(memoryview(b" last")))

        assert talk(app).get().body == b"first last"

    def test_a_class_of_bytes(self, talk: Converse) -> None:
        """PyMongo and NumPy have such."""

        class Binary(bytes):
            pass

        assert talk(respond(start(), body(Binary(b"hello")))).get().body == b"hello"

    def test_content_length_is_sent_as_given(self, talk: Converse) -> None:
        got = talk(respond(start(headers=[(b"content-length", b"2000")]), body(b"x" * 2000))).get()
        assert got.get(b"content-length") == b"2000"

    def test_no_length_is_made_up(self, talk: Converse) -> None:
        assert talk(stream(b"x")).get().get(b"content-length") is None

    @pytest.mark.parametrize(
        "messages",
        [[body(b"123456")], [body(b"12")], [body(b"123", True), body(b"456")], [body(b"1", True), body(b"2")]],
    )
    def test_another_length_than_announced(self, talk: Converse, messages: list[Any]) -> None:
        app = Recorder(respond(start(headers=[(b"content-length", b"5")]), *messages))
        got = talk(app).get()
        assert isinstance(app.raised[0], ApplicationError)
        assert got.status == 500 or got.reset == 2

    @pytest.mark.parametrize(
        ("method", "status", "length"), [(b"HEAD", 200, b"13"), (b"GET", 204, None), (b"GET", 304, b"13")]
    )
    def test_responses_without_a_body(self, talk: Converse, method: bytes, status: int, length: bytes | None) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await answer(send, status=status)

        connection = talk(app)
        got = connection.get(method=method)
        assert (got.status, got.body, got.whole, got.get(b"content-length")) == (status, b"", True, length)
        assert got.sizes == []

    def test_a_head_response_tells_the_length_that_the_body_would_have(self, talk: Converse) -> None:
        got = talk(stream(b"12345")).get(method=b"HEAD")
        assert (got.get(b"content-length"), got.whole) == (b"5", True)

    def test_a_streamed_body_of_head_is_left_out(self, talk: Converse) -> None:
        got = talk(stream(b"12345", b"67")).get(method=b"HEAD")
        assert (got.body, got.whole) == (b"", True)

    @pytest.mark.parametrize(("came", "written"), [("HEAD", "GET"), ("GET", "HEAD")])
    def test_a_head_is_what_came_as_one(self, talk: Converse, came: str, written: str) -> None:
        """RFC 9110, 9.3.2, whatever a middleware has written into the scope."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["method"] = written
            await stream(b"12345", b"67")(scope, receive, send)

        got = talk(app).get(method=came.encode())
        assert (got.body, got.whole) == (b"" if came == "HEAD" else b"1234567", True)

    def test_a_body_that_is_no_bytes(self, talk: Converse) -> None:
        app = Recorder(respond(start(), body("text")))
        assert talk(app).get().status == 500


class TestTrailers:
    def test_behind_the_body(self, talk: Converse) -> None:
        trailers = {"type": "http.response.trailers", "headers": [(b"Grpc-Status", b"0")], "more_trailers": True}
        more = {"type": "http.response.trailers", "headers": [(b"grpc-message", b"ok")]}
        got = talk(respond({**start(), "trailers": True}, body(b"data"), trailers, more)).get()
        assert (got.body, got.whole) == (b"data", True)
        assert got.trailers == [(b"grpc-status", b"0"), (b"grpc-message", b"ok")]

    def test_without_a_body(self, talk: Converse) -> None:
        trailers = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"5")]}
        got = talk(respond({**start(), "trailers": True}, body(), trailers)).get()
        assert (got.trailers, got.whole, got.sizes) == ([(b"grpc-status", b"5")], True, [])

    def test_none_after_all(self, talk: Converse) -> None:
        got = talk(respond({**start(), "trailers": True}, body(b"x"), {"type": "http.response.trailers"})).get()
        assert (got.body, got.trailers, got.whole) == (b"x", None, True)

    def test_that_were_dropped(self, talk: Converse, caplog: pytest.LogCaptureFixture) -> None:
        got = talk(respond({**start(), "trailers": True}, body(b"x"))).get()
        assert (got.body, got.trailers, got.whole) == (b"x", None, True)
        assert caplog.messages == ["ASGI application returned without the trailers that it has announced: GET /"]

    def test_that_were_dropped_behind_a_body_that_has_to_wait(self, talk: Converse) -> None:
        connection = talk(respond({**start(), "trailers": True}, body(b"0123456789")), settings={4: 4})
        assert not connection.get().whole
        connection.send(connection.wire.window(100, 1))
        got = connection.stream(1)
        assert (got.body, got.trailers, got.whole) == (b"0123456789", None, True)

    def test_that_an_application_fails_before(self, talk: Converse) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({**start(), "trailers": True})
            await send(body(b"x"))
            raise ValueError

        assert not talk(app).get().whole

    def test_behind_a_body_that_has_to_wait(self, talk: Converse) -> None:
        trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
        connection = talk(respond({**start(), "trailers": True}, body(b"0123456789"), trailers), settings={4: 4})
        assert connection.get().body == b"0123"
        connection.send(connection.wire.window(100, 1))
        assert connection.stream(1).trailers == [(b"x-sum", b"1")]
        assert connection.stream(1).whole

    @pytest.mark.parametrize(
        "messages",
        [
            [start(), body(b"x"), {"type": "http.response.trailers", "headers": []}],
            [{**start(), "trailers": True}, {"type": "http.response.trailers", "headers": []}],
            [{**start(), "trailers": True}, body(b"x"), body(b"y")],
            [
                {**start(), "trailers": True},
                body(b"x"),
                {"type": "http.response.trailers", "headers": [(b"content-length", b"5")]},
            ],
            [
                {**start(), "trailers": True},
                body(b"x"),
                {"type": "http.response.trailers", "headers": [(b"content-type", b"a/b")]},
            ],
        ],
    )
    def test_out_of_order(self, talk: Converse, messages: list[Any]) -> None:
        app = Recorder(respond(*messages))
        talk(app).get()
        assert isinstance(app.raised[0], ApplicationError)


class TestEarlyHints:
    def test_before_the_response(self, talk: Converse) -> None:
        hint = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload", b"</a.js>; rel=preload"]}
        got = talk(respond(hint, hint, start(), body(b"x"))).get()
        assert got.statuses == [103, 103, 200]
        links = [value for name, value in got.heads[0] if name == b"link"]
        assert links == [b"</style.css>; rel=preload", b"</a.js>; rel=preload"]
        assert got.whole

    def test_in_the_words_of_gunicorn(self, talk: Converse) -> None:
        """Its own ASGI worker knows `http.response.informational`, of any status 1xx."""
        kind = "http.response.informational"
        hints = [
            {"type": kind, "status": 103, "headers": [(b"link", b"</a.css>"), ("X-Text", "b")]},
            {"type": kind, "status": 102},
            {"type": kind, "status": 100},
        ]
        got = talk(respond(*hints, start(), body(b"x"))).get()
        assert (got.statuses, got.whole) == ([103, 102, 200], True)
        assert got.heads[0][1:] == [(b"link", b"</a.css>"), (b"x-text", b"b")]
        assert talk(respond(*hints, start(), body(b"x")), early_hints=False).get().statuses == [102, 200]
        assert talk(respond({"type": kind, "status": 101}, start(), body(b"x"))).get().statuses == [500]

    @pytest.mark.parametrize("options", [{"http2_early_hints": "off"}, {"early_hints": False}])
    def test_they_can_be_off(self, talk: Converse, options: dict[str, Any]) -> None:
        """nginx's grpc_pass answers 502 to them."""
        app = Recorder(respond({"type": "http.response.early_hint", "links": [b"</a.js>"]}, start(), body(b"x")))
        got = talk(app, **options).get()
        assert got.statuses == [200]
        assert "http.response.early_hint" not in app.scopes[0]["extensions"]

    def test_not_behind_its_start(self, talk: Converse) -> None:
        app = Recorder(respond(start(), {"type": "http.response.early_hint", "links": []}))
        assert talk(app).get().status == 500
        assert isinstance(app.raised[0], ApplicationError)


class TestFaults:
    """One bad stream never ends its neighbours."""

    def test_raised_before_the_response(self, talk: Converse, log: Callable[..., list[str]]) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise RuntimeError("broken")

        got = talk(app).get(b"/bad")
        assert (got.status, got.body, got.whole) == (500, b"Internal Server Error", True)
        assert log()[-1] == "Exception in ASGI application: GET /bad"

    def test_raised_within_the_response(self, talk: Converse) -> None:
        gate = Gate(hello)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/bad":
                await send(start())
                await send(body(b"half", True))
                raise RuntimeError("broken")
            await gate(scope, receive, send)

        connection = talk(app)
        connection.get(b"/good")
        bad = connection.get(b"/bad")
        assert (bad.body, bad.reset, bad.ended) == (b"half", 2, False)
        gate.open()
        assert connection.pull().stream(1).whole
        assert connection.get(b"/more").reset is None

    def test_returned_too_early(self, talk: Converse, log: Callable[..., list[str]]) -> None:
        assert talk(respond(start())).get().status == 500
        assert log()[-1].startswith("ASGI application returned without completing the response")

    def test_messages_out_of_order(self, talk: Converse) -> None:
        app = Recorder(respond(body(b"x")))
        talk(app).get()
        assert "http.response.start" in str(app.raised[0])
        late = Recorder(respond(start(), body(b"x"), body(b"y")))
        assert talk(late).get().body == b"x"
        assert isinstance(late.raised[0], ApplicationError)

    def test_cancelled(self, talk: Converse) -> None:
        connection = talk(Gate())
        got = connection.get()
        (cycle,) = connection.harness.runtime.cycles
        connection.harness.inside(cycle.cancel)
        connection.pull()
        assert got.status == 503

    def test_each_stream_counts(self, talk: Converse) -> None:
        connection = talk(hello, limit_max_requests=3)
        reached = []
        runtime = connection.harness.runtime
        runtime.limit_requests = 3
        runtime.on_limit = lambda: reached.append(runtime.requests)
        connection.send(*[connection.wire.request() for _ in range(4)])
        assert (runtime.requests, reached) == (4, [3, 4])

    def test_the_access_log(self, talk: Converse) -> None:
        connection = talk(stream(b"12345", b"678"))
        seen: list[Any] = []
        connection.harness.runtime.access = lambda cycle: seen.append(
            (cycle.scope["method"], cycle.target, cycle.status, cycle.body_sent, cycle.started > 0)
        )
        connection.get(b"/a?b")
        connection.get(b"/bad", method=b"brew")
        assert seen[0] == ("GET", b"/a?b", 200, 8, True)
        assert seen[1][:3] == ("brew", b"/bad", 501)

    def test_a_line_that_can_not_be_logged(self, talk: Converse, log: Callable[..., list[str]]) -> None:
        def fail(cycle: Any) -> None:
            raise RuntimeError("no log")

        connection = talk(hello)
        connection.harness.runtime.access = fail
        assert connection.get().whole
        assert log()[-1] == "The access line could not be logged"
        # It is said once, until a line can be written again.
        connection.harness.runtime.access = lambda cycle: None
        assert connection.get().whole


@pytest.mark.parametrize("stalled", [False, True])
def test_the_rest_of_a_file_is_let_pass_where_its_client_has_left(
    talk: Converse, log: Callable[..., list[str]], stalled: bool
) -> None:
    gate = Gate()
    done: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(headers=[(b"content-length", b"200000")]))
        # More than the client's window.
        await send(body(b"x" * (100_000 if stalled else 10_000), more=True))
        if not stalled:
            await gate.wait()
            await send(body(b"x" * 90_000, more=True))
        await send(body(b"x" * 100_000))
        with pytest.raises(OSError, match="client left"):
            await send(start())
        done.append("removed")

    connection = talk(app)
    connection.get()
    assert done == []
    connection.send(connection.wire.reset(1))
    if not stalled:
        connection.harness.inside(gate.open)
        connection.pull()
    assert done == ["removed"]
    assert log(logging.WARNING) == []


def test_a_stream_without_a_length_is_told(talk: Converse) -> None:
    gate = Gate(respond(body(b"x", more=True)))
    app = Recorder(gate)

    async def begin(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await app(scope, receive, send)

    connection = talk(begin)
    connection.get()
    connection.send(connection.wire.reset(1))
    connection.harness.inside(gate.open)
    connection.pull()
    assert isinstance(app.raised[0], OSError)


@pytest.mark.parametrize("later", [False, True])
def test_a_head_does_not_wait_for_its_body(talk: Converse, later: bool) -> None:
    gate = Gate(respond(body(b"hello")))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if later:
            await asyncio.sleep(0)
        await send(start())
        await gate(scope, receive, send)

    connection = talk(app)
    got = connection.get()
    assert (got.status, got.body, got.ended) == (200, b"", False)
    connection.harness.inside(gate.open)
    connection.pull()
    assert (got.body, got.ended) == (b"hello", True)
