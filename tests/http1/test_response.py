"""The framing of a response (RFC 9112, 6) and what it never has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest

from tests.http1.apps import Recorder, body, hello, respond, start, stream
from tests.http1.conftest import Connect
from tests.scripted import get
from uvicorn_worker.core.asgi import Event, Receive, Scope, Send

LENGTH_5 = [(b"content-length", b"5")]


class Binary(bytes):
    """As PyMongo has it, and NumPy's bytes_."""


class TestFraming:
    def test_one_body_message_has_its_length(self, connect: Connect) -> None:
        response = connect(stream(b"hello")).send(get()).response()
        assert (response.body, response.framing) == (b"hello", "length")

    def test_an_empty_body_has_length_zero(self, connect: Connect) -> None:
        response = connect(respond(start(), {"type": "http.response.body"})).send(get()).response()
        assert response.get("content-length") == "0"

    def test_several_are_chunks(self, connect: Connect) -> None:
        client = connect(stream(b"one", b"two", b"three")).send(get() + get())
        first, second = client.responses()
        assert (first.body, first.framing) == (b"onetwothree", "chunked")
        assert first == second
        assert client.transport.output.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")

    def test_an_empty_message_is_not_the_last_chunk(self, connect: Connect) -> None:
        response = connect(stream(b"", b"a", b"", b"b", b"")).send(get()).response()
        assert (response.body, response.framing) == (b"ab", "chunked")

    def test_the_length_of_the_application_is_kept(self, connect: Connect) -> None:
        response = connect(stream(b"he", b"llo", headers=LENGTH_5)).send(get()).response()
        assert (response.body, response.framing) == (b"hello", "length")

    @pytest.mark.parametrize("size", [16384, 16385, 65536, 65537, 1_000_000])
    @pytest.mark.parametrize("pieces", [1, 2, 3])
    def test_large_bodies(self, connect: Connect, size: int, pieces: int) -> None:
        data = bytes(range(256)) * (size // 256 + 1)
        parts = [data[at:size:pieces] for at in range(pieces)]
        client = connect(stream(*parts)).send(get() + get())
        assert [response.body for response in client.responses()] == [b"".join(parts)] * 2

    def test_http10_is_not_sent_chunks(self, connect: Connect) -> None:
        client = connect(stream(b"one", b"two")).send(get(version="1.0"))
        assert client.response().framing == "close"
        assert client.response().body == b"onetwo"

    def test_http10_may_be_sent_a_length(self, connect: Connect) -> None:
        response = connect(stream(b"he", b"llo", headers=LENGTH_5)).send(get(version="1.0")).response()
        assert (response.body, response.framing) == (b"hello", "length")

    @pytest.mark.parametrize("data", [bytearray(b"hello"), memoryview(b"hello"), Binary(b"hello")])
    def test_a_body_may_be_any_bytes(self, connect: Connect, data: Any) -> None:
        assert connect(respond(start(), body(data))).send(get()).response().body == b"hello"

    def test_a_body_that_changes_after_send_does_not_change_what_was_sent(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            data = bytearray(b"hello")
            await send(start())
            for _ in range(3):
                await send(body(data, more=True))
                data[:] = b"again"
            await send(body())

        assert connect(app).send(get()).response().body == b"helloagainagain"

    @pytest.mark.parametrize("coding", [b"chunked", b"gzip"])
    def test_the_transfer_coding_is_the_servers(self, connect: Connect, coding: bytes) -> None:
        headers = [(b"Transfer-Encoding", coding), (b"Proxy-Connection", b"close")]
        client = connect(stream(b"a", b"b", headers=headers)).send(get())
        response = client.response()
        assert response.body == b"ab"
        assert response.get_all("transfer-encoding") == ["chunked"]
        assert response.get("proxy-connection") is None
        assert client.open

    def test_what_clients_are_told_of_keep_alive(self, connect: Connect) -> None:
        client = connect(respond(start(200, [(b"Keep-Alive", b"timeout=5")]), body(b"hi"))).send(get() + get())
        assert [response.get("keep-alive") for response in client.responses()] == ["timeout=5"] * 2
        client = connect(hello, headers=[("Keep-Alive", "timeout=9")]).send(get())
        assert client.response().get("keep-alive") == "timeout=9"

    def test_every_connection_is_closed(self, connect: Connect) -> None:
        client = connect(hello, headers=[("Connection", "Close"), ("X-A", "b")]).send(get() + get("/never"))
        (response,) = client.responses()
        assert response.get_all("connection") == ["close"]
        assert response.get("x-a") == "b"
        assert client.closed

    def test_other_fields_of_the_framing_are_not_added(self, connect: Connect) -> None:
        fields = [("Connection", "keep-alive"), ("Transfer-Encoding", "chunked"), ("Content-Length", "1")]
        client = connect(hello, headers=fields).send(get() + get())
        for response in client.responses():
            assert response.get_all("content-length") == ["13"]
            assert response.get("transfer-encoding") is response.get("connection") is None

    def test_a_length_with_blanks_around_it(self, connect: Connect) -> None:
        client = connect(respond(start(200, [(b"content-length", b" 2\t")]), body(b"hi"))).send(get())
        assert client.response().get_all("content-length") == ["2"]


class TestWithoutBody:
    @pytest.mark.parametrize("status", [204, 304])
    @pytest.mark.parametrize("pieces", [[b"no"], [b"no", b"body"], [b"no", b"body", b""]])
    def test_status_that_has_none(self, connect: Connect, status: int, pieces: list[bytes]) -> None:
        client = connect(stream(*pieces, status=status)).send(get("/1") + get("/2"))
        for response in client.responses():
            assert response.status == status
            assert response.get("content-length") is response.get("transfer-encoding") is None
        assert client.transport.output.endswith(b"\r\n\r\n")
        assert client.open

    def test_304_may_say_the_length_of_what_a_200_would_have(self, connect: Connect) -> None:
        client = connect(stream(b"", status=304, headers=LENGTH_5)).send(get())
        assert client.response().get("content-length") == "5"

    def test_204_does_not(self, connect: Connect) -> None:
        client = connect(stream(b"", status=204, headers=LENGTH_5)).send(get())
        assert client.response().get("content-length") is None

    @pytest.mark.parametrize("status", [101, 103, 199])
    def test_1xx_ends_the_connection(self, connect: Connect, status: int) -> None:
        client = connect(stream(b"no", b"body", status=status, headers=LENGTH_5)).send(get())
        response = client.response()
        assert response.status == status
        assert response.get("content-length") is response.get("transfer-encoding") is None
        assert client.transport.output.endswith(b"\r\n\r\n")
        assert client.closed

    @pytest.mark.parametrize("pieces", [[b"hello"], [b"he", b"llo"], [b""], [b"x" * 100_000]])
    def test_head(self, connect: Connect, pieces: list[bytes]) -> None:
        client = connect(stream(*pieces)).send(get(method="HEAD"))
        assert client.response("HEAD").status == 200
        assert client.transport.output.endswith(b"\r\n\r\n")
        assert client.open

    @pytest.mark.parametrize("pieces", [[b"hello"], [b"he", b"llo"]])
    def test_a_head_is_what_came_whatever_stands_in_the_scope(self, connect: Connect, pieces: list[bytes]) -> None:
        """Middlewares that let GET's handlers answer a HEAD change it."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["method"] = "GET"
            await stream(*pieces)(scope, receive, send)

        client = connect(app).send(get(method="HEAD"))
        assert client.response("HEAD").status == 200
        assert client.transport.output.endswith(b"\r\n\r\n")
        assert client.open

    def test_head_has_the_length_of_a_get(self, connect: Connect) -> None:
        client = connect(hello).send(get(method="HEAD"))
        assert client.response("HEAD").get("content-length") == "13"

    def test_head_has_the_length_that_was_sent_and_not_declared(self, connect: Connect) -> None:
        client = connect(stream(b"hello")).send(get(method="HEAD"))
        assert client.response("HEAD").get("content-length") == "5"

    def test_head_may_be_answered_with_a_length_alone(self, connect: Connect) -> None:
        client = connect(stream(b"", headers=LENGTH_5)).send(get(method="HEAD"))
        assert client.response("HEAD").get("content-length") == "5"


def declared(*pieces: bytes) -> list[Event]:
    last = len(pieces) - 1
    return [start(200, LENGTH_5), *(body(piece, at < last) for at, piece in enumerate(pieces))]


class TestLengthIsEnforced:
    @pytest.mark.parametrize("pieces", [[b"123456"], [b"1234"], [b""]], ids=["long", "short", "empty"])
    def test_in_the_first_message(self, connect: Connect, pieces: list[bytes], log: Callable[..., list[str]]) -> None:
        app = Recorder(respond(*declared(*pieces)))
        client = connect(app).send(get())
        response = client.response()
        assert (response.status, response.body) == (500, b"Internal Server Error")
        assert "content-length (5)" in str(app.raised[0])
        assert len(log(logging.ERROR)) == 1

    @pytest.mark.parametrize("pieces", [[b"123", b"456"], [b"12345", b"6"]])
    def test_too_long(self, connect: Connect, pieces: list[bytes], log: Callable[..., list[str]]) -> None:
        app = Recorder(respond(*declared(*pieces)))
        client = connect(app).send(get())
        assert "longer (6 bytes) than its content-length (5)" in str(app.raised[0])
        assert client.transport.output.endswith(b"\r\n\r\n" + pieces[0])
        assert client.closed
        assert len(log(logging.ERROR)) == 1

    @pytest.mark.parametrize("pieces", [[b"12", b"34"], [b"12", b"34", b""]])
    def test_too_short(self, connect: Connect, pieces: list[bytes], log: Callable[..., list[str]]) -> None:
        app = Recorder(respond(*declared(*pieces)))
        client = connect(app).send(get())
        assert "shorter (4 bytes) than its content-length (5)" in str(app.raised[0])
        assert client.transport.output.endswith(b"\r\n\r\n1234"[: 4 + len(b"".join(pieces[:-1]))])
        assert client.closed
        assert len(log(logging.ERROR)) == 1

    def test_an_application_may_mend_it(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(200, LENGTH_5))
            with pytest.raises(RuntimeError, match="longer"):
                await send(body(b"123456"))
            await send(body(b"12345"))

        assert connect(app).send(get()).response().body == b"12345"


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "line"),
        [
            (200, b"HTTP/1.1 200 OK\r\n"),
            (404, b"HTTP/1.1 404 Not Found\r\n"),
            (HTTPStatus.IM_A_TEAPOT, b"HTTP/1.1 418 I'm a Teapot\r\n"),
            (299, b"HTTP/1.1 299 \r\n"),
            (999, b"HTTP/1.1 999 \r\n"),
        ],
    )
    def test_the_line_has_its_registered_phrase(self, connect: Connect, status: int, line: bytes) -> None:
        assert connect(stream(b"", status=status)).send(get()).transport.output.startswith(line)

    @pytest.mark.parametrize("status", [99, 1000, 0, -1, "200", None, 200.5, b"200"])
    def test_one_that_is_none_is_refused(self, connect: Connect, status: Any) -> None:
        app = Recorder(stream(b"", status=status))
        assert connect(app).send(get()).response().status == 500
        assert "must be an integer from 100 to 999" in str(app.raised[0])
