"""The request body: by length, in chunks, with trailers, and upon 100-continue."""

from __future__ import annotations

import asyncio

import pytest

from tests.http1.apps import Recorder, answer, body, echo, hello, read_body, start
from tests.http1.conftest import Connect
from tests.scripted import get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return CHUNKED + chunks + b"0\r\n" + trailers + b"\r\n"


class TestLength:
    @pytest.mark.parametrize("each", [None, 1, 2, 10, 1000])
    def test_the_body_is_what_the_length_says(self, connect: Connect, each: int | None) -> None:
        client = connect(echo).send(post(b"12345", target="/1") + get("/2"), each=each)
        assert [response.body for response in client.responses()] == [b"POST /1 12345", b"GET /2 "]

    def test_a_length_of_zero_is_no_body(self, connect: Connect) -> None:
        app = Recorder(echo)
        connect(app).send(post(b""))
        assert app.received == [{"type": "http.request", "body": b"", "more_body": False}]

    def test_without_a_length_there_is_no_body(self, connect: Connect) -> None:
        app = Recorder(echo)
        client = connect(app).send(get("/1", method="POST") + get("/2"))
        assert [response.body for response in client.responses()] == [b"POST /1 ", b"GET /2 "]
        assert {event["more_body"] for event in app.received} == {False}

    def test_a_get_may_have_a_body(self, connect: Connect) -> None:
        client = connect(echo).send(get("/1", "Content-Length: 3") + b"abc" + get("/2"))
        assert [response.body for response in client.responses()] == [b"GET /1 abc", b"GET /2 "]

    def test_a_body_that_came_along_is_given_whole(self, connect: Connect) -> None:
        app = Recorder(echo)
        connect(app).send(post(b"x" * 3000))
        assert app.received == [{"type": "http.request", "body": b"x" * 3000, "more_body": False}]

    def test_a_large_body_is_given_whole(self, connect: Connect) -> None:
        data = bytes(range(256)) * 4000
        client = connect(echo).send(post(data), each=65536)
        assert client.response().body == b"POST / " + data

    def test_pieces_are_given_as_they_come(self, connect: Connect) -> None:
        app = Recorder(echo)
        client = connect(app).send(post(b"abcdef")[:-6], b"ab", b"cd", b"ef")
        assert [event["body"] for event in app.received] == [b"ab", b"cd", b"ef"]
        assert [event["more_body"] for event in app.received] == [True, True, False]
        assert client.response().body == b"POST / abcdef"

    def test_a_body_that_ends_too_early_is_never_taken_for_whole(self, connect: Connect) -> None:
        app = Recorder(echo)
        client = connect(app).send(post(b"12345")[:-1])
        client.leave()
        assert app.received[-1] == {"type": "http.disconnect"}
        assert isinstance(app.raised[0], ConnectionError)
        assert client.transport.output == b""


class TestChunked:
    @pytest.mark.parametrize("each", [None, 1, 2, 10, 1000])
    def test_the_chunks_make_the_body(self, connect: Connect, each: int | None) -> None:
        client = connect(echo).send(chunked(b"one", b"two" * 20, b"3") + get("/2"), each=each)
        expected = [b"POST /c one" + b"two" * 20 + b"3", b"GET /2 "]
        assert [response.body for response in client.responses()] == expected

    def test_the_framing_is_not_shown(self, connect: Connect) -> None:
        app = Recorder(echo)
        connect(app).send(CHUNKED, b"3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n")
        assert b"".join(event["body"] for event in app.received) == b"abcdef"
        assert [event["more_body"] for event in app.received] == [True, True, False]
        assert (b"transfer-encoding", b"chunked") in app.scope["headers"]

    def test_an_empty_body(self, connect: Connect) -> None:
        app = Recorder(echo)
        connect(app).send(chunked())
        assert app.received == [{"type": "http.request", "body": b"", "more_body": False}]

    @pytest.mark.parametrize("coding", ["Chunked", "CHUNKED", " chunked "])
    def test_the_coding_has_no_case(self, connect: Connect, coding: str) -> None:
        request = f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        assert connect(echo).send(request.encode()).response().body == b"POST / abc"

    @pytest.mark.parametrize(
        "chunk", [b"3;a\r\nabc\r\n", b"3;a=b;c=d\r\nabc\r\n", b'3;a="b"\r\nabc\r\n', b"0003\r\nabc\r\n"]
    )
    def test_extensions_are_ignored(self, connect: Connect, chunk: bytes) -> None:
        assert connect(echo).send(CHUNKED + chunk + b"0\r\n\r\n").response().body == b"POST /c abc"

    def test_sizes_are_hexadecimal(self, connect: Connect) -> None:
        data = b"x" * 0x1AB
        assert connect(echo).send(CHUNKED + b"1aB\r\n" + data + b"\r\n0\r\n\r\n").response().body == b"POST /c " + data

    @pytest.mark.parametrize("each", [None, 1, 5])
    def test_trailers_are_read_and_never_mixed_into_the_headers(self, connect: Connect, each: int | None) -> None:
        app = Recorder(echo)
        trailers = b"Host: evil\r\nX-Trailer: yes\r\n"
        client = connect(app).send(chunked(b"abc", trailers=trailers) + get("/2"), each=each)
        assert [response.body for response in client.responses()] == [b"POST /c abc", b"GET /2 "]
        first, second = app.scopes
        assert first["headers"] == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
        assert second["headers"] == [(b"host", b"example.org")]

    @pytest.mark.parametrize("each", [None, 1])
    def test_a_body_that_is_not_read_is_skipped(self, connect: Connect, each: int | None) -> None:
        client = connect(echo).send(chunked(b"GET /x HTTP/1.1\r\n\r\n") + get("/2"), each=each)
        assert len(client.responses()) == 2

    def test_a_body_that_ends_too_early_is_never_taken_for_whole(self, connect: Connect) -> None:
        app = Recorder(echo)
        client = connect(app).send(chunked(b"abc")[:-1])
        client.leave()
        assert [event["type"] for event in app.received] == ["http.request", "http.disconnect"]
        assert client.transport.output == b""


class TestExpect:
    HEAD = get("/", "Content-Length: 5", "Expect: 100-continue", method="POST")

    def test_100_is_sent_when_the_application_first_asks_for_the_body(self, connect: Connect) -> None:
        client = connect(echo).send(self.HEAD)
        assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"12345")
        assert client.response().body == b"POST / 12345"
        assert client.open

    def test_100_is_sent_once(self, connect: Connect) -> None:
        client = connect(echo).send(self.HEAD, b"12", b"345")
        assert [response.status for response in client.responses()] == [100, 200]

    def test_the_expectation_has_no_case(self, connect: Connect) -> None:
        client = connect(echo).send(self.HEAD.replace(b"100-continue", b"100-Continue"))
        assert client.response().status == 100

    def test_it_is_a_list(self, connect: Connect) -> None:
        client = connect(echo).send(self.HEAD.replace(b"100-continue", b"100-continue, 100-continue"))
        assert client.response().status == 100

    @pytest.mark.parametrize("value", [b"", b" ,"])
    def test_without_a_member_there_is_none(self, connect: Connect, value: bytes) -> None:
        client = connect(echo).send(self.HEAD.replace(b"100-continue", value), b"12345")
        assert client.response().body == b"POST / 12345"
        assert client.open

    def test_100_is_not_sent_where_the_body_came_along(self, connect: Connect) -> None:
        client = connect(echo).send(self.HEAD + b"12345")
        assert client.response().body == b"POST / 12345"

    def test_100_is_not_sent_where_the_body_is_coming(self, connect: Connect) -> None:
        client = connect(echo).send(self.HEAD + b"1", b"2345")
        assert client.response().body == b"POST / 12345"

    @pytest.mark.parametrize("framing", ["Content-Length: 0", "X-No: length"])
    def test_100_is_not_sent_where_there_is_no_body(self, connect: Connect, framing: str) -> None:
        client = connect(echo).send(get("/", framing, "Expect: 100-continue", method="POST"))
        assert client.response().status == 200

    def test_100_is_not_sent_to_http10(self, connect: Connect) -> None:
        head = self.HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
        client = connect(echo).send(head, b"12345")
        assert client.response().status == 200

    def test_an_answer_without_the_body_closes(self, connect: Connect) -> None:
        client = connect(hello).send(self.HEAD)
        assert client.response().closes
        assert client.closed

    def test_100_is_not_sent_once_the_response_has_begun(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"a", more=True))
            await receive()
            await send(body(b"b"))

        client = connect(app).send(self.HEAD, b"12345")
        response = client.response()
        assert (response.status, response.body) == (200, b"ab")
        assert client.closed

    def test_in_chunks(self, connect: Connect) -> None:
        head = get("/", "Transfer-Encoding: chunked", "Expect: 100-continue", method="POST")
        client = connect(echo).send(head, b"3\r\nabc\r\n0\r\n\r\n")
        assert [(response.status, response.body) for response in client.responses()] == [
            (100, b""),
            (200, b"POST / abc"),
        ]

    def test_behind_a_request_that_runs(self, connect: Connect) -> None:
        client = connect(echo).send(get("/1") + self.HEAD, b"12345")
        assert [response.status for response in client.responses()] == [200, 100, 200]

    @pytest.mark.parametrize("value", ["200-ok", "100-continue, 200-ok", "100"])
    def test_another_expectation_is_417(self, connect: Connect, value: str) -> None:
        app = Recorder()
        client = connect(app).send(get("/", f"Expect: {value}"))
        assert client.response().status == 417
        assert client.closed
        assert app.scopes == []

    def test_http10_expects_nothing(self, connect: Connect) -> None:
        client = connect(hello).send(get("/", "Expect: 200-ok", version="1.0"))
        assert client.response().status == 200


class TestReceive:
    def test_after_the_body_it_waits_for_the_disconnect(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await read_body(receive)
            await receive()

        recorder = Recorder(app)
        client = connect(recorder).send(post(b"12345"))
        assert recorder.done == 0
        client.leave()
        assert recorder.received[-1] == {"type": "http.disconnect"}
        assert recorder.done == 1

    def test_after_the_response_it_gives_the_disconnect(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send)
            await receive()
            await receive()

        recorder = Recorder(app)
        client = connect(recorder).send(post(b"12345"))
        assert recorder.received == [{"type": "http.disconnect"}] * 2
        assert client.open
        assert len(client.send(get()).responses()) == 2

    def test_a_response_wakes_one_that_waits(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await read_body(receive)
            waiting = [asyncio.ensure_future(receive()) for _ in range(2)]
            await asyncio.sleep(0)
            await answer(send)
            assert [await each for each in waiting] == [{"type": "http.disconnect"}] * 2

        recorder = Recorder(app)
        assert connect(recorder).send(post(b"12345")).response().status == 200
        assert recorder.done == 1
        assert recorder.raised == []

    def test_one_that_waits_may_be_cancelled(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            data = await read_body(receive)
            await answer(send, data)

        client = connect(app).send(post(b"12345")[:-5])
        assert client.send(b"12345").response().body == b"12345"
