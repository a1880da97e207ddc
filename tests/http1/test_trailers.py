"""Trailers and early hints on HTTP/1.1."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import pytest

from tests.http1.apps import Recorder, body, respond, start
from tests.http1.conftest import Connect
from tests.scripted import get
from uvicorn_worker.core.asgi import Event, Receive, Scope, Send

TE = ("TE: trailers", "Connection: TE")
CHECKSUM = (b"x-checksum", b"12")


def trailed(status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> Event:
    """The start of a response with trailers."""
    return {**start(status, [(b"trailer", b"x-checksum"), *(headers or [])]), "trailers": True}


def trailers(*headers: tuple[bytes, bytes], more: bool = False) -> Event:
    return {"type": "http.response.trailers", "headers": list(headers), "more_trailers": more}


def informational(status: int, headers: Any = ()) -> Event:
    return {"type": "http.response.informational", "status": status, "headers": headers}


class TestTrailers:
    """ASGI, "Response Start": "If True, the server must wait until it receives a http.response.trailers message after
    the Response Body event".

    RFC 9110, 6.5.1: "a server SHOULD NOT generate trailer fields that it believes are necessary for the user agent to
    receive"; 10.1.4: by TE, "trailers" the client "will not discard trailer fields".
    """

    @pytest.mark.parametrize("pieces", [(b"hello",), (b"he", b"llo"), (b"", b"hello", b"")])
    def test_they_come_behind_the_last_chunk(self, connect: Connect, pieces: tuple[bytes, ...]) -> None:
        messages = [body(piece, more=at + 1 < len(pieces)) for at, piece in enumerate(pieces)]
        client = connect(respond(trailed(), *messages, trailers(CHECKSUM))).send(get("/", *TE) * 2)
        output = client.transport.output
        assert output.count(b"0\r\nx-checksum: 12\r\n\r\n") == 2
        first, second = output.split(b"0\r\nx-checksum: 12\r\n\r\n")[:2]
        assert b"trailer: x-checksum\r\n" in first
        assert b"transfer-encoding: chunked\r\n" in second
        assert b"content-length" not in output
        assert output.endswith(b"0\r\nx-checksum: 12\r\n\r\n")

    def test_more_of_them_may_come(self, connect: Connect) -> None:
        app = respond(trailed(), body(b"x"), trailers(CHECKSUM, more=True), trailers((b"b", b"2"), more=False))
        client = connect(app).send(get("/", *TE))
        assert client.transport.output.endswith(b"1\r\nx\r\n0\r\nx-checksum: 12\r\nb: 2\r\n\r\n")

    @pytest.mark.parametrize("fields", [(), ("TE: gzip",), ("TE: trailers;q=x",), ("X-TE: trailers",)])
    def test_a_client_that_does_not_take_them_gets_none(self, connect: Connect, fields: tuple[str, ...]) -> None:
        app = respond(trailed(), body(b"hello"), trailers(CHECKSUM, more=True), trailers((b"b", b"2")))
        first, second = connect(app).send(get("/", *fields) * 2).responses()
        assert (first.body, first.framing, first.get("trailer")) == (b"hello", "length", None)
        assert second == first

    @pytest.mark.parametrize("value", ["trailers", "gzip, Trailers", "deflate;q=0.5 ,\ttrailers"])
    def test_a_list_may_say_that_it_does(self, connect: Connect, value: str) -> None:
        client = connect(respond(trailed(), body(b"x"), trailers(CHECKSUM))).send(get("/", f"TE: {value}"))
        assert client.transport.output.endswith(b"x-checksum: 12\r\n\r\n")

    def test_http10_gets_none(self, connect: Connect) -> None:
        client = connect(respond(trailed(), body(b"x"), trailers(CHECKSUM))).send(get("/", *TE, version="1.0"))
        assert client.response().framing == "length"

    @pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
    def test_a_response_without_a_body_has_none(self, connect: Connect, method: str, status: int) -> None:
        client = connect(respond(trailed(status), body(b"x"), trailers(CHECKSUM))).send(get("/", *TE, method=method))
        assert client.response(method).body == b""
        assert client.open

    def test_the_applications_length_is_enforced(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        app = respond(trailed(headers=[(b"content-length", b"5")]), body(b"toolong"), trailers(CHECKSUM))
        assert connect(app).send(get("/", *TE)).response().status == 500
        assert "longer (7 bytes) than its content-length (5)" in caplog.text

    def test_the_applications_length_is_not_sent_beside_chunks(self, connect: Connect) -> None:
        """RFC 9112, 6.2: a sender MUST NOT send a Content-Length in any message that contains Transfer-Encoding."""
        app = respond(trailed(headers=[(b"content-length", b"5")]), body(b"he", more=True), body(b"llo"), trailers())
        client = connect(app).send(get("/", *TE))
        assert client.response().body == b"hello"
        assert client.response().get("content-length") is None

    @pytest.mark.parametrize("name", [b"content-length", b"Transfer-Encoding", b"host", b"trailer", b"content-type"])
    def test_what_frames_a_message_is_no_trailer(
        self, connect: Connect, caplog: pytest.LogCaptureFixture, name: bytes
    ) -> None:
        """RFC 9110, 6.5.1: fields for framing, routing and content are needed before it."""
        client = connect(respond(trailed(), body(b"x"), trailers((name, b"1")))).send(get("/", *TE))
        assert name + b": 1" not in client.transport.output
        if name != b"Transfer-Encoding":
            # As in a head, where it is the server's to say.
            assert client.closed
            assert "is no field of trailers" in caplog.text

    def test_a_body_behind_the_body_is_out_of_order(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        client = connect(respond(trailed(), body(b"x"), body(b"y"))).send(get("/", *TE))
        assert client.closed
        assert "where the server expects http.response.trailers" in caplog.text

    def test_a_response_whose_trailers_were_dropped_ends_without(
        self, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Middleware that passes on what it knows passes on the announcement, and not the trailers."""
        client = connect(respond(trailed(), body(b"x"))).send(get("/", *TE) * 2)
        assert client.transport.output.count(b"1\r\nx\r\n0\r\n\r\n") == 2
        assert caplog.messages == ["ASGI application returned without the trailers that it has announced: GET /"] * 2

    def test_those_that_came_are_sent(self, connect: Connect) -> None:
        client = connect(respond(trailed(), body(b"x"), trailers(CHECKSUM, more=True))).send(get("/", *TE))
        assert client.transport.output.endswith(b"0\r\nx-checksum: 12\r\n\r\n")
        assert not client.closed

    def test_an_application_that_fails_before_them_is_cut(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(trailed())
            await send(body(b"x"))
            raise ValueError

        client = connect(app).send(get("/", *TE))
        assert client.closed
        assert b"0\r\n" not in client.transport.output

    def test_an_application_that_returns_before_the_end_of_the_body_is_cut(self, connect: Connect) -> None:
        client = connect(respond(trailed(), body(b"x", more=True))).send(get("/", *TE))
        assert client.closed
        assert b"0\r\n" not in client.transport.output

    def test_they_must_be_announced(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        client = connect(respond(start(), body(b"x"), trailers(CHECKSUM))).send(get("/", *TE))
        assert client.response().body == b"x"
        assert "got the ASGI message 'http.response.trailers'" in caplog.text


class TestDefaultNames:
    def test_a_default_field_before_the_response(self, connect: Connect) -> None:
        """What was sent early is the server's own in the next response, once."""
        hint = informational(103, [(b"server", b"mine")])
        client = connect(respond(hint, start(200, [(b"server", b"mine")]), body(b"x"))).send(get(), get())
        assert [response.get_all("server") for response in client.responses()] == [["mine"]] * 4


class TestEarlyHints:
    """ASGI extension http.response.early_hint; RFC 8297, 2: "a server can send 103 before the final response"."""

    HINT: ClassVar[Event] = {
        "type": "http.response.early_hint",
        "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"],
    }

    def test_they_leave_before_the_response(self, connect: Connect) -> None:
        client = connect(respond(self.HINT, start(), body(b"x"))).send(get())
        hint, response = client.responses()
        assert (hint.status, hint.get_all("link")) == (103, ["</a.css>; rel=preload", "</b.js>; rel=preload"])
        assert (response.status, response.body) == (200, b"x")

    def test_http10_would_take_them_for_the_response(self, connect: Connect) -> None:
        """RFC 9110, 15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client"."""
        assert connect(respond(self.HINT, start(), body(b"x"))).send(get(version="1.0")).response().status == 200

    def test_they_can_be_off(self, connect: Connect) -> None:
        """Varnish answers 503 to them, and nginx before 1.29 takes them for the response."""
        app = Recorder(respond(self.HINT, start(), body(b"x")))
        response = connect(app, early_hints=False).send(get()).response()
        assert (response.status, response.body) == (200, b"x")
        assert "http.response.early_hint" not in app.scopes[0]["extensions"]
        assert "http.response.trailers" in app.scopes[0]["extensions"]

    def test_in_the_words_of_gunicorn(self, connect: Connect) -> None:
        """Its own ASGI worker knows `http.response.informational`, of any status 1xx."""
        hints = [
            informational(103, [(b"link", b"</a.css>"), ("X-Text", "b"), (b"connection", b"close")]),
            informational(102),
            informational(100),
        ]
        client = connect(respond(*hints, start(), body(b"x"))).send(get())
        early, processing, response = client.responses()
        assert (early.status, early.fields) == (103, (("link", "</a.css>"), ("X-Text", "b")))
        assert (processing.status, processing.fields) == (102, ())
        assert (response.status, response.body) == (200, b"x")
        assert connect(respond(*hints, start(), body(b"x"))).send(get(version="1.0")).response().status == 200
        off = connect(respond(hints[0], start(), body(b"x")), early_hints=False).send(get())
        assert off.response().status == 200

    @pytest.mark.parametrize(
        "hint",
        [informational(200), informational(101), informational(103, [(b"content-length", b"1")])],
        ids=["final", "switching", "length"],
    )
    def test_no_such_head(self, connect: Connect, hint: Event) -> None:
        assert connect(respond(hint, start(), body(b"x"))).send(get()).response().status == 500

    def test_a_link_is_checked(self, connect: Connect) -> None:
        hint: Event = {"type": "http.response.early_hint", "links": [b"x\r\nset-cookie: a"]}
        response = connect(respond(hint, start(), body())).send(get()).response()
        assert (response.status, response.get("set-cookie")) == (500, None)

    def test_not_behind_the_head(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        assert connect(respond(start(), self.HINT, body())).send(get()).response().status == 500
        assert "'http.response.early_hint' where the server expects http.response.body" in caplog.text


class TestScope:
    @pytest.mark.parametrize("pathsend", ["off", "auto"])
    def test_extensions_are_announced_where_they_work(self, connect: Connect, pathsend: str) -> None:
        app = Recorder()
        connect(app, pathsend=pathsend).send(get() + get(version="1.0"))
        newer, older = (set(scope["extensions"]) for scope in app.scopes)
        files = {"http.response.zerocopysend"} | ({"http.response.pathsend"} if pathsend == "auto" else set())
        assert newer == files | {"http.response.trailers", "http.response.early_hint"}
        assert older == files

    def test_each_request_has_its_own(self, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
        seen = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(dict(scope["extensions"]))
            scope["extensions"]["own"] = {}
            await send(start())
            await send(body())

        caplog.set_level(logging.ERROR)
        connect(app).send(get(), get(), get(version="1.0"))
        assert all("own" not in extensions for extensions in seen)
        assert len(seen) == 3
