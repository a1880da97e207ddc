"""From HTTP/1.1 to WebSocket on one connection, with both parsers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, read_body
from tests.scripted import Client, Harness, Response, get, parse_responses, post
from tests.websocket.scripted_socket import echo, hold, ponder
from tests.websocket.wire import (
    ACCEPT,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Deflater,
    Frame,
    Inflater,
    binary,
    close,
    handshake,
    parse_frames,
    ping,
    text,
)
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

SIZES = [None, 1, 3, 50]

Connect = Callable[..., Client]


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(parser: str) -> Iterator[Connect]:
    """One connection to an application: `connect(app, transport={}, **options)`."""
    started: list[Harness] = []

    def start(app: ASGIApp, *, transport: dict[str, Any] | None = None, **options: Any) -> Client:
        harness = Harness(app, parser=parser, **options)
        started.append(harness)
        return harness.connect(**transport or {})

    yield start
    for harness in started:
        harness.close()


def both(websocket: ASGIApp) -> ASGIApp:
    """An application that answers HTTP with method, path and body, and leaves WebSockets to `websocket`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await websocket(scope, receive, send)
        else:
            data = await read_body(receive)
            await answer(send, f"{scope['method']} {scope['path']} ".encode() + data)

    return app


def deny(*events: Any) -> ASGIApp:
    """An application that answers a handshake with these messages; without them, by a close."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for event in events or ({"type": "close"},):
            await send({**event, "type": "websocket." + event["type"]})

    return both(app)


DENIAL = (
    {"type": "http.response.start", "status": 401, "headers": [(b"x-why", b"no")]},
    {"type": "http.response.body", "body": b"who are you?"},
)


def upgraded(client: Client, *before: str) -> tuple[Response, list[Frame]]:
    """The 101, and the frames behind it; `before` are the methods of requests that were answered before."""
    head, separator, rest = client.transport.output.partition(b"\r\n\r\n")
    *_, response = parse_responses(head + separator)
    assert response.status == 101
    return response, parse_frames(rest)


def frames(client: Client) -> list[Frame]:
    return upgraded(client)[1]


class TestHandshake:
    @pytest.mark.parametrize("each", SIZES)
    def test_it_is_answered_with_101(self, connect: Connect, each: int | None) -> None:
        response, sent = upgraded(connect(hold).send(handshake(), each=each))
        assert response.reason == "Switching Protocols"
        assert response.get("upgrade") == "websocket"
        assert (response.get("connection") or "").lower() == "upgrade"
        assert response.get("sec-websocket-accept") == ACCEPT
        assert response.get("sec-websocket-extensions") is None
        assert response.get("sec-websocket-protocol") is None
        assert response.get("content-length") is None
        assert response.get("transfer-encoding") is None
        assert sent == []

    def test_it_has_the_default_fields(self, connect: Connect) -> None:
        response, _ = upgraded(connect(hold, headers=[("x-all", "1")]).send(handshake()))
        assert response.get("server") == "uvicorn"
        assert response.get("date")
        assert response.get("x-all") == "1"

    def test_the_scope(self, connect: Connect) -> None:
        app = Recorder(hold)
        target = "/chat/%C3%BC?room=1"
        connect(app, root_path="/api").send(handshake(target, "Sec-WebSocket-Protocol: a, b", "X-One: 1"))
        scope = app.scope
        assert scope["type"] == "websocket"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
        assert scope["http_version"] == "1.1"
        assert scope["scheme"] == "ws"
        assert scope["path"] == "/api/chat/ü"
        assert scope["raw_path"] == b"/api/chat/%C3%BC"
        assert scope["root_path"] == "/api"
        assert scope["query_string"] == b"room=1"
        assert scope["client"] == ("192.0.2.7", 50123)
        assert scope["server"] == ("127.0.0.1", 8000)
        assert scope["subprotocols"] == ["a", "b"]
        assert (b"x-one", b"1") in scope["headers"]
        assert "method" not in scope

    def test_over_tls_the_scheme_is_wss(self, connect: Connect) -> None:
        app = Recorder(hold)
        connect(app, transport={"sslcontext": object()}).send(handshake())
        assert app.scope["scheme"] == "wss"

    def test_the_state_of_the_lifespan(self, connect: Connect) -> None:
        app = Recorder(hold)
        client = connect(app)
        client.harness.runtime.state["pool"] = pool = object()
        client.send(handshake())
        assert app.scope["state"] == {"pool": pool}
        app.scope["state"]["own"] = 1
        assert client.harness.runtime.state == {"pool": pool}

    def test_subprotocol_and_headers(self, connect: Connect) -> None:
        fields = [(b"x-one", b"1"), ("x-two", "2"), (b"set-cookie", b"a=b")]
        message = {"type": "accept", "subprotocol": "b", "headers": fields}
        response, _ = upgraded(connect(deny(message)).send(handshake("/", "Sec-WebSocket-Protocol: a, b")))
        assert response.get("sec-websocket-protocol") == "b"
        assert response.get("x-one") == "1"
        assert response.get("x-two") == "2"
        assert response.get("set-cookie") == "a=b"

    @pytest.mark.parametrize("name", ["server", "date", "Server", "X-All"])
    def test_a_default_field_of_the_application_is_not_doubled(self, connect: Connect, name: str) -> None:
        message = {"type": "accept", "headers": [(name.encode(), b"mine")]}
        response, _ = upgraded(connect(deny(message), headers=[("x-all", "1")]).send(handshake()))
        assert response.get_all(name) == ["mine"]

    @pytest.mark.parametrize(
        "header", [(b"x", b"a\nb"), (b"x", b"a\r\nb: c"), (b"a b", b""), ("x", "a\nb"), (b"x", 1), b"x", (b"x",), None]
    )
    def test_headers_that_can_not_be_sent_are_a_500(
        self, connect: Connect, header: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = connect(deny({"type": "accept", "headers": [header]})).send(handshake())
        assert client.response().status == 500
        assert len(caplog.records) == 1

    def test_compression(self, connect: Connect) -> None:
        client = connect(echo).send(handshake("/", "Sec-WebSocket-Extensions: permessage-deflate"))
        client.send(Deflater().message(b"Hello, Hello"))
        response, (item,) = upgraded(client)
        assert response.get("sec-websocket-extensions") == "permessage-deflate"
        assert Inflater().message(item) == b"Hello, Hello"

    def test_an_empty_subprotocol_is_none(self, connect: Connect) -> None:
        headers = [(b"sec-websocket-protocol", b"a")]
        client = connect(deny({"type": "accept", "subprotocol": ""})).send(handshake("/", "Sec-WebSocket-Protocol: a"))
        assert upgraded(client)[0].get("sec-websocket-protocol") is None
        client = connect(deny({"type": "accept", "subprotocol": "", "headers": headers})).send(handshake())
        assert upgraded(client)[0].get_all("sec-websocket-protocol") == ["a"]

    def test_a_unix_socket(self, connect: Connect) -> None:
        app = Recorder(hold)
        upgraded(connect(app, transport={"peername": "", "sockname": "/run/app.sock"}).send(handshake()))
        assert app.scope["client"] is None
        assert app.scope["server"] == ("/run/app.sock", None)


class TestHttp10:
    """As nginx before 1.29.7 passes handshakes on, unless it is told to speak HTTP/1.1."""

    @pytest.mark.parametrize("each", SIZES)
    @pytest.mark.parametrize("fields", [[], ["Connection: keep-alive"], ["Connection: close"]])
    def test_it_is_answered_with_101(self, connect: Connect, fields: list[str], each: int | None) -> None:
        app = Recorder(echo)
        response, sent = upgraded(connect(app).send(handshake("/", *fields, version="1.0") + text("a"), each=each))
        assert response.get("upgrade") == "websocket"
        assert response.get_all("connection") == ["Upgrade"]
        assert response.get("sec-websocket-accept") == ACCEPT
        assert sent == [Frame(TEXT, b"a")]
        # The other version that ASGI knows is "2".
        assert (app.scope["type"], app.scope["http_version"]) == ("websocket", "1.1")

    def test_a_denial_in_pieces_ends_with_the_connection(self, connect: Connect) -> None:
        pieces = [{"type": "http.response.body", "body": body, "more_body": body != b""} for body in (b"a", b"b", b"")]
        client = connect(deny(DENIAL[0], *pieces)).send(handshake(version="1.0"))
        head, _, body = client.take().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"transfer-encoding" not in head.lower()
        assert body == b"ab"
        assert client.closed

    @pytest.mark.parametrize(("app", "status"), [(deny(), 403), (deny(*DENIAL), 401)])
    def test_a_denial(self, connect: Connect, app: ASGIApp, status: int) -> None:
        client = connect(app).send(handshake(version="1.0"))
        assert client.response().status == status
        assert client.closed

    def test_a_refusal(self, connect: Connect) -> None:
        client = connect(both(hold)).send(handshake(version="1.0", leave_out="Sec-WebSocket-Key"))
        assert client.response().status == 400
        assert client.closed


class TestRefusal:
    def test_another_version(self, connect: Connect) -> None:
        app = Recorder(both(hold))
        client = connect(app).send(handshake("/", "Sec-WebSocket-Version: 8", leave_out="Sec-WebSocket-Version"))
        response = client.response()
        assert response.status == 426
        assert response.get("sec-websocket-version") == "13"
        assert app.scopes == []

    @pytest.mark.parametrize("key", ["", "x", "dGhlIHNhbXBsZSBub25j"])
    def test_a_bad_key(self, connect: Connect, key: str) -> None:
        app = Recorder(both(hold))
        request = handshake("/", f"Sec-WebSocket-Key: {key}", leave_out="Sec-WebSocket-Key")
        response = connect(app).send(request).response()
        assert response.status == 400
        assert response.get("content-type") == "text/plain; charset=utf-8"
        assert response.body
        assert app.scopes == []

    @pytest.mark.parametrize("field", ["Sec-WebSocket-Key", "Sec-WebSocket-Version"])
    def test_a_field_that_is_missing(self, connect: Connect, field: str) -> None:
        assert connect(both(hold)).send(handshake(leave_out=field)).response().status == 400

    @pytest.mark.parametrize("each", SIZES)
    def test_the_connection_goes_on(self, connect: Connect, each: int | None) -> None:
        client = connect(both(echo))
        client.send(handshake(leave_out="Sec-WebSocket-Key") + get("/2"), each=each)
        assert [response.status for response in client.responses()] == [400, 200]
        client.take()
        client.send(handshake() + text("a"), each=each)
        assert frames(client) == [Frame(TEXT, b"a")]

    def test_it_is_not_kept_for_ever(self, connect: Connect) -> None:
        client = connect(both(echo), timeout_keep_alive=5).send(handshake(leave_out="Sec-WebSocket-Key"))
        client.harness.tick(6)
        assert client.closed

    def test_it_is_logged(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        connect(hold).send(handshake(leave_out="Sec-WebSocket-Key"))
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "192.0.2.7:50123" in record.getMessage()
        assert "Sec-WebSocket-Key" in record.getMessage()

    def test_above_the_concurrency(self, connect: Connect) -> None:
        client = connect(both(hold), limit_concurrency=1).send(handshake())
        second = client.harness.connect().send(handshake())
        assert second.response().status == 503
        client.send(close(1000)).leave()
        assert second.open


class TestPlainHttp:
    """Requests that ask for WebSocket in a way that leaves them what they are."""

    REQUESTS: dict[str, bytes] = {  # noqa: RUF012
        "no Connection": handshake("/1", leave_out="Connection"),
        "Connection without upgrade": handshake("/1", "Connection: keep-alive", leave_out="Connection"),
        "no Upgrade": handshake("/1", leave_out="Upgrade"),
        "another protocol": handshake("/1", "Upgrade: h2c", leave_out="Upgrade"),
    }

    @pytest.mark.parametrize("each", SIZES)
    @pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
    def test_they_are_served_or_refused(self, connect: Connect, request_: bytes, each: int | None) -> None:
        app = Recorder(both(hold))
        client = connect(app).send(request_ + get("/2"), each=each)
        first, second = client.responses()
        assert (first.status, first.body) == (200, b"GET /1 ") or first.status == 400
        assert second.body == b"GET /2 "
        assert {scope["type"] for scope in app.scopes} == {"http"}

    @pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
    def test_another_method(self, connect: Connect, method: str) -> None:
        request = handshake("/1").replace(b"GET", method.encode(), 1)
        client = connect(both(hold)).send(request + get("/2"))
        assert [response.status for response in client.responses(method)] == [200, 200]

    @pytest.mark.parametrize("each", SIZES)
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_one_with_a_body_in_chunks(self, connect: Connect, method: str, each: int | None) -> None:
        request = handshake("/1", "Transfer-Encoding: chunked").replace(b"GET", method.encode(), 1)
        data = request + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n" + get("/2")
        client = connect(both(hold)).send(data, each=each)
        assert [response.body for response in client.responses()] == [f"{method} /1 abcdef".encode(), b"GET /2 "]

    @pytest.mark.parametrize("each", SIZES)
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_one_with_a_body(self, connect: Connect, method: str, each: int | None) -> None:
        request = handshake("/1", "Content-Length: 5").replace(b"GET", method.encode(), 1)
        client = connect(both(hold)).send(request + b"hello" + get("/2"), each=each)
        assert [response.body for response in client.responses()] == [f"{method} /1 hello".encode(), b"GET /2 "]

    @pytest.mark.parametrize("each", SIZES)
    def test_with_ws_none_all_are(self, connect: Connect, each: int | None) -> None:
        app = Recorder(both(hold))
        client = connect(app, ws="none").send(handshake("/1") + get("/2") + handshake("/3"), each=each)
        assert [response.body for response in client.responses()] == [b"GET /1 ", b"GET /2 ", b"GET /3 "]
        assert {scope["type"] for scope in app.scopes} == {"http"}

    @pytest.mark.parametrize("ws", ["auto", "websockets"])
    def test_otherwise_not(self, connect: Connect, ws: str) -> None:
        assert frames(connect(both(hold), ws=ws).send(handshake())) == []


class TestFrames:
    @pytest.mark.parametrize("each", SIZES)
    def test_behind_the_handshake_are_not_lost(self, connect: Connect, each: int | None) -> None:
        data = handshake() + text("a") + ping(b"1") + binary(b"b" * 300) + text("c")
        client = connect(echo).send(data, each=each)
        assert [item.payload for item in frames(client) if item.opcode != PONG] == [b"a", b"b" * 300, b"c"]
        assert Frame(PONG, b"1") in frames(client)

    def test_a_close_behind_the_handshake(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake() + close(1001))
        assert [item.code for item in frames(client)] == [1001]
        assert client.closed

    def test_before_the_answer_wait_for_it(self, connect: Connect) -> None:
        app = Gate(echo)
        client = connect(app).send(handshake(), text("a"), text("b"))
        assert client.transport.output == b""
        app.open()
        client.harness.settle()
        assert frames(client) == [Frame(TEXT, b"a"), Frame(TEXT, b"b")]
        client.send(text("c"))
        assert frames(client)[-1] == Frame(TEXT, b"c")

    def test_before_the_answer_are_bounded(self, connect: Connect) -> None:
        client = connect(ponder).send(handshake())
        for _ in range(100):
            client.push(binary(bytes(60_000)))
        client.harness.settle()
        assert client.transport.unread > 5_000_000

    def test_that_look_like_requests_are_frames(self, connect: Connect) -> None:
        app = Recorder(both(echo))
        client = connect(app).send(handshake(), get("/2"))
        assert [item.code for item in frames(client)] == [1002]
        assert len(app.scopes) == 1

    def test_a_bad_frame(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake(), b"\xff\xff")
        assert [item.code for item in frames(client)] == [1002]
        assert client.closed

    def test_many_messages(self, connect: Connect) -> None:
        client = connect(echo).send(handshake(), *[text(str(at)) for at in range(500)])
        assert [item.payload for item in frames(client)] == [b"%d" % at for at in range(500)]


class TestPipelining:
    @pytest.mark.parametrize("each", SIZES)
    def test_requests_before_the_handshake_are_answered_first(self, connect: Connect, each: int | None) -> None:
        data = get("/1") + post(b"two", target="/2") + handshake("/3") + text("a")
        client = connect(both(echo)).send(data, each=each)
        head, separator, rest = client.transport.output.rpartition(b"\r\n\r\n")
        first, second, third = parse_responses(head + separator)
        assert [first.body, second.body, third.status] == [b"GET /1 ", b"POST /2 two", 101]
        assert parse_frames(rest) == [Frame(TEXT, b"a")]

    def test_a_slow_request_before_it(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await gate(scope, receive, send)
            else:
                await echo(scope, receive, send)

        client = connect(app).send(get("/1") + handshake("/2"), text("a"), text("b"))
        assert client.transport.output == b""
        gate.open()
        client.harness.settle()
        head, separator, rest = client.transport.output.rpartition(b"\r\n\r\n")
        assert [response.status for response in parse_responses(head + separator)] == [200, 101]
        assert parse_frames(rest) == [Frame(TEXT, b"a"), Frame(TEXT, b"b")]

    def test_a_request_before_it_that_ends_the_connection(self, connect: Connect) -> None:
        app = Recorder(both(echo))
        client = connect(app).send(get("/1", "Connection: close") + handshake("/2"))
        assert client.response().status == 200
        assert client.closed
        assert app.paths == ["/1"]

    @pytest.mark.parametrize("each", SIZES)
    def test_requests_behind_a_denial(self, connect: Connect, each: int | None) -> None:
        data = handshake("/1") + get("/2") + handshake("/3") + post(b"four", target="/4")
        client = connect(deny()).send(data, each=each)
        assert [response.status for response in client.responses()] == [403, 200, 403, 200]
        assert client.open

    def test_a_websocket_after_a_denial(self, connect: Connect) -> None:
        answers = [deny(), echo]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answers.pop(0)(scope, receive, send)

        client = connect(app).send(handshake())
        assert client.response().status == 403
        client.take()
        client.send(handshake() + text("a"))
        assert frames(client) == [Frame(TEXT, b"a")]


class TestDenial:
    def test_a_close(self, connect: Connect) -> None:
        client = connect(deny()).send(handshake())
        assert client.response().status == 403
        assert client.open
        assert client.send(get("/2")).responses()[1].body == b"GET /2 "

    def test_a_response(self, connect: Connect) -> None:
        client = connect(deny(*DENIAL)).send(handshake())
        response = client.response()
        assert (response.status, response.body) == (401, b"who are you?")
        assert response.get("x-why") == "no"
        assert response.get("server") == "uvicorn"
        assert response.get("content-length") == "12"
        assert response.get("sec-websocket-accept") is None
        assert client.send(get("/2")).responses()[1].body == b"GET /2 "

    def test_its_fields_are_not_doubled(self, connect: Connect) -> None:
        headers = [(b"content-type", b"text/html"), (b"content-length", b"2"), (b"server", b"me"), (b"date", b"now")]
        start = {"type": "http.response.start", "status": 403, "headers": headers}
        client = connect(deny(start, {"type": "http.response.body", "body": b"no"})).send(handshake())
        response = client.response()
        for name, value in headers:
            assert response.get(name.decode()) == value.decode()
        names = [name.lower() for name, _ in response.fields]
        assert len(names) == len(set(names))

    def test_a_streamed_one(self, connect: Connect) -> None:
        pieces = [{"type": "http.response.body", "body": b"x" * 1000, "more_body": True}] * 10
        events = [{"type": "http.response.start", "status": 200}, *pieces, {"type": "http.response.body"}]
        client = connect(deny(*events)).send(handshake())
        response = client.response()
        assert (response.framing, response.body) == ("chunked", b"x" * 10_000)
        assert client.send(get("/2")).responses()[1].body == b"GET /2 "

    def test_it_waits_while_the_client_does_not_read(self, connect: Connect) -> None:
        sent = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 200})
            for _ in range(100):
                await send({"type": "websocket.http.response.body", "body": bytes(10_000), "more_body": True})
                sent.append(10_000)
            await send({"type": "websocket.http.response.body"})

        client = connect(app).stall().send(handshake())
        assert sum(sent) < 300_000
        for _ in range(100):
            client.drain()
        assert len(client.response().body) == 1_000_000

    @pytest.mark.parametrize("app", [deny(), deny(*DENIAL)])
    def test_the_connection_is_not_kept_for_ever(self, connect: Connect, app: ASGIApp) -> None:
        client = connect(app, timeout_keep_alive=5).send(handshake())
        client.harness.tick(5)
        assert client.open
        client.harness.tick(1)
        assert client.closed

    def test_nor_is_it_after_a_request_behind_it(self, connect: Connect) -> None:
        client = connect(deny(), timeout_keep_alive=5).send(handshake() + get("/2"), handshake())
        assert len(client.responses()) == 3
        client.harness.tick(6)
        assert client.closed

    @pytest.mark.parametrize("app", [deny(), deny(*DENIAL)])
    def test_a_client_that_sends_no_more(self, connect: Connect, app: ASGIApp) -> None:
        gate = Gate(app)
        client = connect(gate).send(handshake()).eof()
        gate.open()
        client.harness.settle()
        assert client.closed
        assert client.harness.runtime.connections == set() or client.transport.eof_written

    def test_a_client_that_sends_no_more_after_it(self, connect: Connect) -> None:
        client = connect(deny()).send(handshake()).eof()
        assert client.response().status == 403
        assert client.closed

    def test_a_head_that_comes_too_slowly_behind_it(self, connect: Connect) -> None:
        client = connect(deny(), timeout_request_head=5).send(handshake() + get("/2")[:20])
        client.harness.tick(6)
        assert [response.status for response in client.responses()] == [403, 408]

    def test_a_client_that_wants_the_end_then(self, connect: Connect) -> None:
        client = connect(deny()).send(handshake("/", "Connection: close, Upgrade", leave_out="Connection"))
        assert client.response().closes
        assert client.closed

    def test_an_error_is_a_500(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            raise LookupError

        client = connect(app).send(handshake())
        response = client.response()
        assert (response.status, response.body) == (500, b"Internal Server Error")

    def test_an_error_within_the_response_cuts_it(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 200})
            await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
            raise LookupError

        client = connect(app).send(handshake())
        (response,) = parse_responses(client.transport.output, ended=True)
        assert not response.complete
        assert client.closed

    @pytest.mark.parametrize("status", [99, 1000, "200", None])
    def test_a_status_that_is_none(self, connect: Connect, status: Any) -> None:
        client = connect(deny({"type": "http.response.start", "status": status})).send(handshake())
        assert client.response().status == 500


class TestLeaving:
    """A client that goes in the middle of the handshake."""

    def test_the_application_is_told(self, connect: Connect) -> None:
        app = Recorder(receive_all)
        connect(app).send(handshake()).leave()
        assert app.received[1:] == [_disconnect(1006)]
        assert app.done

    def test_a_late_accept(self, connect: Connect) -> None:
        gate = Gate(hold)
        app = Recorder(gate)
        client = connect(app).send(handshake()).leave()
        gate.open()
        client.harness.settle()
        assert isinstance(app.raised[0], OSError)
        assert client.transport.output == b""
        assert client.harness.runtime.connections == set()
        assert client.harness.runtime.cycles == set()

    def test_at_once(self, connect: Connect) -> None:
        client = connect(both(echo))
        client.push(handshake())
        client.leave()
        assert b" 101 " not in client.transport.output
        assert client.harness.runtime.connections == set()
        assert client.harness.runtime.cycles == set()

    @pytest.mark.parametrize("how", ["leave", "eof"])
    def test_with_a_bad_handshake(self, connect: Connect, how: str) -> None:
        client = connect(hold)
        client.push(handshake(leave_out="Sec-WebSocket-Key"))
        getattr(client, how)()
        assert client.closed
        assert client.harness.runtime.cycles == set()

    def test_a_late_denial(self, connect: Connect) -> None:
        gate = Gate(deny(*DENIAL))
        app = Recorder(gate)
        client = connect(app).send(handshake()).leave()
        gate.open()
        client.harness.settle()
        assert isinstance(app.raised[0], OSError)
        assert client.harness.runtime.cycles == set()

    def test_an_error_after_it(self, connect: Connect) -> None:
        async def fail(scope: Scope, receive: Receive, send: Send) -> None:
            raise LookupError

        gate = Gate(fail)
        client = connect(gate).send(handshake()).leave()
        gate.open()
        client.harness.settle()
        assert client.transport.output == b""

    def test_within_a_denial(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 200})
            await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
            await asyncio.get_running_loop().create_future()

        client = connect(app).send(handshake()).leave()
        assert client.harness.runtime.connections == set()

    def test_the_end_of_what_it_sends_is_its_end(self, connect: Connect) -> None:
        # A WebSocket has no use for a connection that is closed by half.
        app = Recorder(receive_all)
        client = connect(app).send(handshake()).eof()
        assert app.received[1:] == [_disconnect(1006)]
        assert app.done
        assert client.closed
        assert client.harness.runtime.connections == set()

    def test_with_frames_before_it(self, connect: Connect) -> None:
        app = Recorder(receive_all)
        client = connect(app).send(handshake() + text("a") + close(1000)).eof()
        assert client.closed
        assert app.done


async def stuffing(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends more than the connection takes."""
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "bytes": bytes(10_000)})


def accepting(app: ASGIApp) -> ASGIApp:
    """An application that is called when the WebSocket is open."""

    async def accept(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await app(scope, receive, send)

    return accept


async def receive_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not answer."""
    while (await receive())["type"] != "websocket.disconnect":
        pass


def _disconnect(code: int) -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": ""}


class TestTheEnd:
    def test_the_client_closes(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake(), close(1000, "bye"))
        assert [(item.code, item.reason) for item in frames(client)] == [(1000, "bye")]
        assert client.closed
        assert "abort" not in client.transport.calls

    def test_the_client_closes_and_leaves_in_one_read(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake())
        client.push(close(1000))
        client.eof()
        assert [item.code for item in frames(client)] == [1000]
        assert client.transport.lost

    @pytest.mark.parametrize("code", [1000, 4000])
    def test_a_message_a_close_and_the_end_in_one_read(self, connect: Connect, code: int) -> None:
        app = Recorder(receive_all)
        client = connect(accepting(app)).send(handshake())
        client.push(text("a") + close(code))
        client.eof()
        assert [event["type"] for event in app.received] == ["websocket.receive", "websocket.disconnect"]
        assert app.received[-1] == _disconnect(code)
        assert client.transport.lost

    def test_a_message_a_close_and_a_reset_in_one_read(self, connect: Connect) -> None:
        app = Recorder(receive_all)
        client = connect(accepting(app)).send(handshake())
        client.push(text("a") + close(4000))
        client.leave(ConnectionResetError())
        assert app.received[-1] == _disconnect(4000)

    def test_over_tls_it_closes_at_once(self, connect: Connect) -> None:
        # RFC 6455, 7.1.1: the client waits for the server to close the connection.
        client = connect(both(echo), transport={"sslcontext": object(), "half_close": False})
        client.send(handshake(), close(1000))
        assert [item.code for item in frames(client)] == [1000]
        assert client.closed

    def test_the_answer_to_our_close(self, connect: Connect) -> None:
        client = connect(deny({"type": "accept"}, {"type": "close", "code": 4000})).send(handshake())
        assert client.open
        client.send(close(4000))
        assert [item.code for item in frames(client)] == [4000]
        assert client.closed

    def test_a_client_that_does_not_answer(self, connect: Connect) -> None:
        client = connect(deny({"type": "accept"}, {"type": "close"}), ws_close_timeout=3).send(handshake())
        client.harness.tick(3)
        assert client.open
        client.harness.tick(1)
        assert client.closed

    def test_the_client_leaves(self, connect: Connect) -> None:
        app = Recorder(echo)
        client = connect(app).send(handshake(), text("a")).leave(ConnectionResetError())
        assert app.received[-1] == _disconnect(1006)
        assert client.harness.runtime.connections == set()
        assert client.harness.runtime.cycles == set()

    def test_the_end_of_what_it_sends_is_its_end(self, connect: Connect) -> None:
        app = Recorder(echo)
        client = connect(app).send(handshake(), text("a")).eof()
        assert app.received[-1] == _disconnect(1006)
        assert client.closed

    def test_what_comes_after_the_end_is_dropped(self, connect: Connect) -> None:
        app = Recorder(both(echo))
        client = connect(app).send(handshake(), close(1000), text("a"), get("/2"))
        assert len(frames(client)) == 1
        assert len(app.received) == 2

    def test_a_client_that_goes_on_for_ever_is_cut_off(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake(), b"\xff\xff", *[bytes(200_000)] * 8)
        assert "abort" in client.transport.calls

    def test_a_client_that_does_not_leave_is_cut_off(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake(), close(1000))
        client.harness.tick(4)
        assert client.transport.lost
        assert client.harness.runtime.connections == set()

    def test_a_client_that_does_not_read_is_cut_off(self, connect: Connect) -> None:
        client = connect(stuffing, ws_ping_interval=5, ws_ping_timeout=5, ws_close_timeout=5).stall().send(handshake())
        assert client.transport.get_write_buffer_size() > 65536
        client.harness.tick(60)
        assert client.transport.lost
        assert client.harness.runtime.connections == set()
        assert client.harness.runtime.cycles == set()

    def test_nor_is_one_waited_for_that_closes_and_does_not_read(self, connect: Connect) -> None:
        client = connect(stuffing, ws_close_timeout=5).stall().send(handshake(), close(1000))
        client.harness.tick(60)
        assert client.transport.lost

    def test_a_message_far_above_the_largest_size(self, connect: Connect) -> None:
        # The client goes on sending it, and is to see why it was not taken: a reset would take that away.
        client = connect(echo, ws_max_size=1000).send(handshake(), binary(bytes(5_000_000)))
        assert [item.code for item in frames(client)] == [1009]
        assert "abort" not in client.transport.calls
        client.eof()
        assert client.transport.lost

    def test_pings_are_sent(self, connect: Connect) -> None:
        client = connect(hold, ws_ping_interval=5, ws_ping_timeout=5).send(handshake())
        client.harness.tick(6)
        assert [item.opcode for item in frames(client)] == [PING]
        client.harness.tick(6)
        assert frames(client)[-1].code == 1011
        assert client.closed

    def test_the_timeouts_of_http_are_over(self, connect: Connect) -> None:
        client = connect(echo, ws_ping_interval=None, timeout_keep_alive=1, timeout_request_head=1).send(handshake())
        client.harness.tick(30)
        client.send(text("a"))
        assert frames(client) == [Frame(TEXT, b"a")]


class TestFlow:
    def test_reading_pauses_and_goes_on(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await gate.wait()
            await echo(scope, receive, _without_accept(send))

        client = connect(app, ws_max_queue=5).send(handshake())
        for at in range(100):
            client.push(text(str(at)))
        client.harness.settle()
        assert not client.transport.is_reading()
        assert client.transport.unread > 0
        gate.open()
        client.harness.settle()
        assert [item.payload for item in frames(client)] == [b"%d" % at for at in range(1, 100)]
        assert client.transport.is_reading()

    def test_a_client_that_never_reads(self, connect: Connect) -> None:
        sent = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "bytes": bytes(1000)})
                sent.append(1000)
                await asyncio.sleep(0)

        client = connect(app).stall()
        client.push(handshake())
        for _ in range(2000):
            client.harness.turn()
        assert sum(sent) < 200_000
        before = len(sent)
        client.transport.drain()
        for _ in range(100):
            client.harness.turn()
        assert len(sent) > before
        client.leave()

    def test_a_client_that_never_reads_and_pings(self, connect: Connect) -> None:
        client = connect(hold).send(handshake()).stall()
        for _ in range(2000):
            client.push(ping(b"x" * 125) * 10)
        client.harness.settle()
        assert client.transport.get_write_buffer_size() < 1_000_000

    def test_an_application_that_takes_messages_after_the_end(self, connect: Connect) -> None:
        app = Recorder(receive_all)
        gate = Gate(app)
        client = connect(accepting(gate), ws_max_queue=2).send(handshake(), text("a") * 5 + close(1000))
        gate.open()
        client.harness.settle()
        assert [event["type"] for event in app.received] == ["websocket.receive"] * 5 + ["websocket.disconnect"]
        assert client.closed

    def test_one_that_did_not_read_before_the_handshake(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await answer(send, bytes(200_000))
            else:
                await echo(scope, receive, send)

        client = connect(app).stall().send(get("/1") + handshake("/2"), text("a"))
        assert b"101 Switching" not in client.transport.output
        client.drain()
        client.harness.settle()
        head, separator, rest = client.transport.output.rpartition(b"\r\n\r\n")
        assert parse_responses(head + separator)[1].status == 101
        assert parse_frames(rest) == [Frame(TEXT, b"a")]


def _without_accept(send: Send) -> Send:
    async def filtered(message: Any) -> None:
        if message["type"] != "websocket.accept":
            await send(message)

    return filtered


class TestAccounts:
    """The access log, the count of requests, what is under way."""

    @staticmethod
    def watch(client: Client) -> list[tuple[int, str, str]]:
        seen: list[tuple[int, str, str]] = []

        def access(cycle: Any) -> None:
            assert cycle.started > 0
            assert cycle.body_sent >= 0
            seen.append((cycle.status, cycle.scope["method"], cycle.scope["path"]))

        client.harness.runtime.access = access
        return seen

    def test_one_line_when_it_opens(self, connect: Connect) -> None:
        client = connect(both(echo))
        seen = self.watch(client)
        client.send(handshake("/chat"))
        assert seen == [(101, "GET", "/chat")]
        client.send(text("a"), close(1000)).leave()
        assert seen == [(101, "GET", "/chat")]

    def test_the_fields_of_the_101(self, connect: Connect) -> None:
        client = connect(hold)
        fields: list[Any] = []
        client.harness.runtime.access = lambda cycle: fields.extend(cycle.response_headers)
        client.send(handshake())
        assert (b"sec-websocket-accept", ACCEPT.encode()) in fields

    @pytest.mark.parametrize(("app", "status"), [(deny(), 403), (deny(*DENIAL), 401)])
    def test_one_for_a_denial(self, connect: Connect, app: ASGIApp, status: int) -> None:
        client = connect(app)
        seen = self.watch(client)
        client.send(handshake("/chat")).leave()
        assert seen == [(status, "GET", "/chat")]

    def test_one_for_a_refusal(self, connect: Connect) -> None:
        client = connect(hold)
        seen = self.watch(client)
        client.send(handshake("/chat", leave_out="Sec-WebSocket-Key")).leave()
        assert seen == [(400, "GET", "/chat")]

    def test_none_for_a_client_that_left_before(self, connect: Connect) -> None:
        client = connect(ponder)
        seen = self.watch(client)
        client.send(handshake("/chat")).leave()
        assert seen == []

    def test_each_counts_as_a_request_when_it_opens(self, connect: Connect) -> None:
        client = connect(both(hold))
        runtime = client.harness.runtime
        client.send(get("/1"), handshake("/2"))
        assert runtime.requests == 2
        client.send(text("a"), close(1000)).leave()
        assert runtime.requests == 2

    def test_a_denial_counts_too(self, connect: Connect) -> None:
        client = connect(deny()).send(handshake(), handshake())
        assert client.harness.runtime.requests == 2

    @pytest.mark.parametrize("app", [hold, deny()])
    def test_the_limit_of_requests(self, connect: Connect, app: ASGIApp) -> None:
        client = connect(app)
        runtime = client.harness.runtime
        reached = []
        runtime.limit_requests = 1
        runtime.on_limit = lambda: reached.append(True)
        client.send(handshake())
        assert reached == [True]

    def test_it_is_under_way_until_the_application_returns(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake())
        runtime = client.harness.runtime
        assert len(runtime.cycles) == len(runtime.connections) == 1
        client.send(close(1000))
        assert len(runtime.cycles) == 0
        client.leave()
        assert len(runtime.connections) == 0

    def test_a_connection_counts_once(self, connect: Connect) -> None:
        client = connect(hold).send(handshake())
        (connection,) = client.harness.runtime.connections
        current: Any = client.transport.get_protocol()
        assert connection is current


class TestStopping:
    @staticmethod
    def drain(client: Client) -> None:
        runtime = client.harness.runtime
        runtime.draining = True
        for connection in list(runtime.connections):
            connection.drain()
        for cycle in list(runtime.cycles):
            cycle.drain()
        client.harness.settle()

    @staticmethod
    def cancel(client: Client) -> None:
        """As the server does at the end of its patience."""
        for cycle in list(client.harness.runtime.cycles):
            cycle.cancel()
        client.harness.settle()

    def test_a_drain_closes_with_1012(self, connect: Connect) -> None:
        app = Recorder(echo)
        client = connect(app).send(handshake())
        self.drain(client)
        assert [item.code for item in frames(client)] == [1012]
        assert app.received[-1] == _disconnect(1012)
        assert client.open
        client.send(close(1012))
        assert client.closed

    def test_one_that_is_accepted_within_a_drain(self, connect: Connect) -> None:
        # It must not keep the server from stopping: it is denied, or closed at once.
        gate = Gate(echo)
        client = connect(gate).send(handshake())
        self.drain(client)
        gate.open()
        client.harness.settle()
        if b" 101 " in client.transport.output:
            assert [item.code for item in frames(client)] == [1012]
        else:
            assert client.response().status == 503

    def test_one_that_comes_within_a_drain(self, connect: Connect) -> None:
        client = connect(both(echo)).send(get("/1"))
        self.drain(client)
        client.take()
        client.send(handshake())
        if b" 101 " in client.transport.output:
            assert [item.code for item in frames(client)] == [1012]
        else:
            assert client.response().status == 503

    def test_a_drain_does_not_close_what_is_idle(self, connect: Connect) -> None:
        client = connect(hold).send(handshake())
        for connection in client.harness.runtime.connections:
            connection.close_if_idle()
        client.harness.settle()
        assert client.open

    def test_an_application_that_is_cancelled(self, connect: Connect) -> None:
        client = connect(hold).send(handshake())
        self.cancel(client)
        assert [item.code for item in frames(client)] == [1012]

    def test_one_that_is_cancelled_before_it_answers(self, connect: Connect) -> None:
        client = connect(ponder).send(handshake())
        self.cancel(client)
        assert client.response().status == 503

    def test_one_that_is_cancelled_within_a_denial(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 200})
            await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})
            await asyncio.get_running_loop().create_future()

        client = connect(app).send(handshake())
        self.cancel(client)
        assert client.closed

    def test_a_cycle_that_was_told_to_end(self, connect: Connect) -> None:
        app = Recorder(receive_all)
        client = connect(app).send(handshake())
        for cycle in list(client.harness.runtime.cycles):
            cycle.disconnect()
        client.harness.settle()
        assert app.received[-1]["type"] == "websocket.disconnect"

    def test_a_task_without_a_turn_is_answered_by_the_server(self, connect: Connect) -> None:
        client = connect(ponder).send(handshake())
        for cycle in list(client.harness.runtime.cycles):
            cycle.abandon()
        client.harness.settle()
        assert client.response().status == 503

    def test_a_task_that_has_had_no_turn_at_all(self, connect: Connect) -> None:
        # Before Python 3.12 a task begins in the next turn of the loop.
        client = connect(ponder)
        client.push(handshake())
        for cycle in list(client.harness.runtime.cycles):
            cycle.disconnect()
            cycle.cancel()
            cycle.abandon()
        client.harness.settle()
        assert client.response().status == 503

    def test_a_cut(self, connect: Connect) -> None:
        client = connect(hold).send(handshake())
        for connection in list(client.harness.runtime.connections):
            connection.abort()
        client.harness.settle()
        assert client.transport.lost
        assert frames(client) == []


class TestWrites:
    """What is sent in one turn of the loop leaves in one write."""

    def test_the_101_and_what_follows_it(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "a"})
            await send({"type": "websocket.send", "text": "b"})
            await asyncio.get_running_loop().create_future()

        client = connect(app).send(handshake())
        assert client.transport.calls == ["write"]
        assert [item.payload for item in frames(client)] == [b"a", b"b"]

    def test_messages_of_one_turn(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await receive()
            await receive()
            for at in range(10):
                await send({"type": "websocket.send", "text": str(at)})
            await receive()

        client = connect(app).send(handshake())
        client.take()
        client.send(text("go"))
        assert len(client.transport.writes) == 1
        assert len(parse_frames(client.take())) == 10

    def test_echoes_of_one_read(self, connect: Connect) -> None:
        client = connect(echo).send(handshake())
        client.take()
        client.send(b"".join(text(str(at)) for at in range(30)))
        assert len(client.transport.writes) == 1
        assert [item.payload for item in parse_frames(client.take())] == [b"%d" % at for at in range(30)]

    @pytest.mark.parametrize("messages", [1, 3])
    def test_the_answer_leaves_with_the_read(self, connect: Connect, messages: int) -> None:
        client = connect(echo).send(handshake())
        client.take()
        client.push(b"".join(text(str(at)) for at in range(messages)))
        assert len(client.transport.writes) == 1
        assert len(parse_frames(client.take())) == messages
        client.harness.settle()
        assert client.transport.writes == []

    def test_what_was_sent_before_in_the_turn_leaves_with_it(self, connect: Connect) -> None:
        sends: list[Send] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            sends.append(send)
            await echo(scope, receive, send)

        client = connect(app).send(handshake())
        client.take()
        loop = client.harness.loop
        # Another task sends; the client's message comes in the same turn.
        loop.create_task(sends[0]({"type": "websocket.send", "text": "news"}))  # type: ignore[arg-type]
        loop.call_soon(client.transport.deliver, text("a"))
        client.harness.settle()
        assert len(client.transport.writes) == 1
        assert [item.payload for item in parse_frames(client.take())] == [b"news", b"a"]

    def test_a_message_that_is_not_answered(self, connect: Connect) -> None:
        client = connect(hold).send(handshake())
        client.take()
        client.transport.calls.clear()
        client.send(text("a"))
        assert client.transport.calls == []

    def test_an_application_that_closes_when_it_is_called(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await receive()
            await receive()
            await send({"type": "websocket.send", "text": "bye"})
            await send({"type": "websocket.close"})

        client = connect(app).send(handshake())
        client.take()
        client.push(text("a"))
        assert len(client.transport.writes) == 1
        client.send(close(1000))
        assert [item.opcode for item in parse_frames(client.take())] == [TEXT, CLOSE]
        assert client.closed

    def test_pongs_and_messages(self, connect: Connect) -> None:
        client = connect(echo).send(handshake())
        client.take()
        client.send(ping(b"1") + text("a") + ping(b"2") + text("b"))
        assert len(client.transport.writes) == 1
        assert len(parse_frames(client.take())) == 4

    def test_the_answer_to_a_close(self, connect: Connect) -> None:
        client = connect(both(echo)).send(handshake())
        client.transport.calls.clear()
        client.send(close(1000))
        assert client.transport.calls[0] == "write"
        assert client.transport.calls.count("write") == 1

    def test_messages_and_a_close(self, connect: Connect) -> None:
        client = connect(deny({"type": "accept"}, {"type": "send", "text": "a"}, {"type": "close"})).send(handshake())
        assert client.transport.calls == ["write"]
        assert [item.opcode for item in frames(client)] == [TEXT, CLOSE]

    def test_large_messages_are_not_copied_together(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
            await asyncio.get_running_loop().create_future()

        client = connect(app).send(handshake())
        assert [len(item.payload) for item in frames(client)] == [100_000, 100_000]
        assert len(client.transport.writes) <= 2
