"""Requests that are refused: one status, a close, one line in the log, and nothing after it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.http1.apps import Gate, Recorder, body, echo, hello, start
from tests.http1.conftest import Connect, Serve
from tests.scripted import get, parse_responses, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

Log = Callable[..., list[str]]

TO_POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = TO_POST + b"Transfer-Encoding: chunked\r\n\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)) * 8

# The statuses that are right: most parsers stop at the first thing that is wrong, and not all at the same one.
HEADS: dict[str, tuple[bytes, set[int]]] = {
    "content-length and transfer-encoding": (
        TO_POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400},
    ),
    "transfer-encoding and content-length": (
        TO_POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        {400},
    ),
    "two lengths": (TO_POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", {400}),
    "a list of lengths": (TO_POST + b"Content-Length: 5, 6\r\n\r\n12345", {400}),
    "a negative length": (TO_POST + b"Content-Length: -1\r\n\r\n", {400}),
    "a length with a plus": (TO_POST + b"Content-Length: +5\r\n\r\n12345", {400}),
    "a hexadecimal length": (TO_POST + b"Content-Length: 0x5\r\n\r\n12345", {400}),
    "a length with an underscore": (TO_POST + b"Content-Length: 1_0\r\n\r\n1234567890", {400}),
    "a length with a fraction": (TO_POST + b"Content-Length: 5.0\r\n\r\n12345", {400}),
    "an empty length": (TO_POST + b"Content-Length:\r\n\r\n", {400}),
    "a length of superscripts": (TO_POST + b"Content-Length: \xb2\r\n\r\n12", {400}),
    "an endless length": (TO_POST + b"Content-Length: " + b"9" * 3000 + b"\r\n\r\n", {400}),
    "a length of zeros": (TO_POST + b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\n12345", {400}),
    "a transfer coding that is not known": (TO_POST + b"Transfer-Encoding: gzip\r\n\r\n", {501}),
    "a coding below chunked": (TO_POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", {501}),
    "a coding that looks like chunked": (TO_POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {501}),
    "chunked is not the last coding": (TO_POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", {400, 501}),
    "chunked twice": (TO_POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "transfer-encoding twice": (
        TO_POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400, 501},
    ),
    "transfer-encoding identity": (TO_POST + b"Transfer-Encoding: identity\r\n\r\n", {400, 501}),
    "an empty transfer-encoding": (TO_POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", {400, 501}),
    "transfer-encoding with a vertical tab": (
        TO_POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        {400, 501},
    ),
    "transfer-encoding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        {400},
    ),
    "a bare LF after the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", {400}),
    "bare LFs alone": (b"GET / HTTP/1.1\nHost: a\n\n", {400}),
    "a bare LF after a field": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", {400}),
    "a bare LF at the end": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", {400}),
    "a bare CR in a value": (b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", {400}),
    "a bare CR in a name": (b"GET / HTTP/1.1\r\nHost: a\r\nX\r: y\r\n\r\n", {400}),
    "CR CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", {400}),
    "a folded value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", {400}),
    "a folded length": (TO_POST + b"Content-Length:\r\n 5\r\n\r\n12345", {400}),
    "a fold before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", {400}),
    "a space before the colon": (TO_POST + b"Content-Length : 5\r\n\r\n12345", {400}),
    "a tab before the colon": (TO_POST + b"Content-Length\t: 5\r\n\r\n12345", {400}),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", {400}),
    "NUL in a name": (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", {400}),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "no name": (b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", {400}),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nfield\r\n\r\n", {400}),
    "a name that is no token": (b"GET / HTTP/1.1\r\nHost: a\r\nf(oo: b\r\n\r\n", {400}),
    "a name that is not ASCII": (b"GET / HTTP/1.1\r\nHost: a\r\nf\xe9: b\r\n\r\n", {400}),
    "HTTP/0.9": (b"GET /\r\n\r\n", {400}),
    "HTTP/0.9 by its name": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", {400, 505}),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", {505}),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", {505}),
    "HTTP/3.7": (b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", {505}),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {505}),
    "a field line with the words HTTP version": (b"GET / HTTP/1.1\r\nHost: a\r\nan HTTP version\r\n\r\n", {400}),
    "an unknown method": (b"BR /pot HTTP/1.1\r\nHost: a\r\n\r\n", {501}),
    "an unknown method in lower case": (b"brew /pot HTTP/1.1\r\nHost: a\r\n\r\n", {501}),
    "no method": (b"nonsense\r\n\r\n", {400}),
    "a version without a dot": (b"GET / HTTP/11\r\nHost: a\r\n\r\n", {400}),
    "a version with a long tail": (b"GET / HTTP/1.11\r\nHost: a\r\n\r\n", {400}),
    "a version in lower case": (b"GET / http/1.1\r\nHost: a\r\n\r\n", {400}),
    "a space after the version": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", {400}),
    "a tab after the method": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "a space before the method": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "words": (b"hello there\r\n\r\n", {501}),
    "TLS": (CLIENT_HELLO, {400}),
    "zeros": (bytes(200), {400}),
    "an expectation": (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", {417}),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", {501}),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", {400}),
}

BODIES: dict[str, bytes] = {
    "a size that is no number": b"xyz\r\n",
    "a size with a sign": b"-5\r\nhello\r\n",
    "a size with a plus": b"+5\r\nhello\r\n",
    "a size with 0x": b"0x5\r\nhello\r\n",
    "an empty size": b"\r\nhello\r\n",
    "a size with an extension only": b";a=b\r\n",
    "a huge size": b"F" * 30 + b"\r\n",
    "a size that ends with a bare LF": b"5\nhello\r\n0\r\n\r\n",
    "data that ends with a bare LF": b"5\r\nhello\n0\r\n\r\n",
    "data that is longer than its size": b"5\r\nhelloworld\r\n0\r\n\r\n",
    "a bare CR in the size": b"5\rX\nhello\r\n",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n",
    "NUL in the size": b"5\0\r\nhello\r\n",
    "a trailer with a space before the colon": b"0\r\nX : y\r\n\r\n",
    "a trailer without a colon": b"0\r\nfield\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
}


@pytest.mark.parametrize("each", [None, 1, 7])
@pytest.mark.parametrize("name", HEADS)
def test_heads(connect: Connect, name: str, each: int | None, log: Log) -> None:
    request, statuses = HEADS[name]
    app = Recorder()
    client = connect(app).send(request + get("/behind"), each=each)
    response = client.response()
    assert response.status in statuses
    assert response.closes
    assert response.get("content-type") == "text/plain; charset=utf-8"
    assert client.closed
    assert app.scopes == []
    (line,) = log()
    assert line.startswith("Invalid request from 192.0.2.7:50123: ")
    assert "\n" not in line
    assert response.body.endswith(b"\n")


@pytest.mark.parametrize("each", [None, 1, 7])
@pytest.mark.parametrize("name", BODIES)
def test_bodies(connect: Connect, name: str, each: int | None, log: Log) -> None:
    recorder = Recorder(patient)
    client = connect(recorder).send(CHUNKED + BODIES[name] + get("/behind"), each=each)
    response = client.response()
    assert response.status == 400
    assert response.closes
    assert client.closed
    assert len(recorder.scopes) <= 1
    assert recorder.received[-1:] in ([], [{"type": "http.disconnect"}])
    assert len(log()) == 1


async def patient(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads what there is; returns when the client is gone."""
    while (event := await receive())["type"] != "http.disconnect":
        if not event["more_body"]:
            await hello(scope, receive, send)


def test_the_log_names_a_unix_socket(serve: Serve, log: Log) -> None:
    serve(hello).connect(peername="", sockname="/run/app.sock").send(b"nonsense\r\n\r\n")
    (line,) = log()
    assert "unix socket" in line


def test_it_is_a_warning(serve: Serve, log: Log) -> None:
    serve(hello).connect().send(b"nonsense\r\n\r\n")
    assert len(log(logging.WARNING)) == 1
    assert log(logging.ERROR) == []


def test_what_comes_after_is_dropped(connect: Connect, log: Log) -> None:
    app = Recorder()
    client = connect(app).send(b"nonsense\r\n\r\n")
    before = client.transport.output
    client.send(get(), b"more nonsense", get())
    assert client.transport.output == before
    assert app.scopes == []
    assert len(log()) == 1


def test_an_answer_to_head_is_delimited_all_the_same(connect: Connect) -> None:
    client = connect(hello).send(get("*", method="HEAD"))
    assert client.response("HEAD" if client.transport.output.endswith(b"\r\n\r\n") else "GET").status == 400
    assert client.closed


class TestBehindOthers:
    def test_it_comes_after_their_answers(self, connect: Connect) -> None:
        client = connect(echo).send(get("/1") + get("/2") + b"nonsense\r\n\r\n")
        assert [response.status for response in client.responses()][:2] == [200, 200]
        assert client.responses()[2].status in (400, 501)
        assert client.closed

    @pytest.mark.parametrize("each", [None, 1, 10])
    def test_it_waits_for_one_that_runs(self, connect: Connect, each: int | None, log: Log) -> None:
        app = Gate()
        client = connect(app).send(get("/1") + get("/2") + get("*") + get("/4"), each=each)
        assert client.transport.output == b""
        while app.waiting:
            app.open()
            client.harness.settle()
        assert [response.status for response in client.responses()] == [200, 200, 400]
        assert app.paths == ["/1", "/2"]
        assert client.closed
        assert len(log()) == 1

    def test_a_bad_body_of_one_that_waits(self, connect: Connect) -> None:
        app = Gate()
        client = connect(app).send(get("/1") + CHUNKED + b"xyz\r\n")
        app.open()
        client.harness.settle()
        assert [response.status for response in client.responses()] == [200, 400]
        assert app.paths == ["/1"]

    def test_a_client_that_leaves_meanwhile(self, connect: Connect) -> None:
        app = Gate()
        client = connect(app).send(get("/1") + get("*")).leave()
        app.open()
        client.harness.settle()
        assert client.transport.output == b""


class TestInABody:
    def test_the_application_is_told_and_what_it_sends_is_not_sent(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            with pytest.raises(OSError, match="client left"):
                await hello(scope, receive, send)

        recorder = Recorder(app)
        client = connect(recorder).send(CHUNKED + b"3\r\nabc\r\n", b"xyz\r\n")
        assert client.response().status == 400
        assert recorder.raised == []
        assert recorder.done == 1

    def test_a_response_of_which_the_head_was_sent_is_cut(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start(201))
            await patient(scope, receive, send)

        client = connect(app).send(CHUNKED, b"xyz\r\n")
        (response,) = parse_responses(client.transport.output, ended=True)
        assert (response.status, response.complete) == (201, False)
        assert client.closed

    def test_a_response_that_has_begun_is_cut(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"begun", more=True))
            await patient(scope, receive, send)

        client = connect(app).send(CHUNKED, b"xyz\r\n")
        assert client.transport.output.endswith(b"5\r\nbegun\r\n")
        assert client.closed

    def test_a_response_that_is_complete_stays(self, connect: Connect) -> None:
        client = connect(hello).send(CHUNKED, b"xyz\r\n")
        assert client.response().body == b"Hello, world!"
        client.harness.tick(5)
        assert client.closed


class TestTime:
    def test_a_head_that_takes_too_long_is_408(self, connect: Connect, log: Log) -> None:
        client = connect(hello, timeout_request_head=10).send(get()[:20])
        client.harness.tick(10)
        assert client.open
        client.harness.tick(1)
        assert client.response().status == 408
        assert client.closed
        assert len(log()) == 1

    def test_a_byte_now_and_then_buys_no_time(self, connect: Connect) -> None:
        client = connect(hello, timeout_request_head=10)
        for byte in get("/", "X: " + "y" * 100)[:100]:
            client.send(bytes([byte]))
            client.harness.tick(0.5)
        assert client.response().status == 408

    def test_the_head_of_a_following_request_too(self, connect: Connect) -> None:
        client = connect(hello, timeout_request_head=3, timeout_keep_alive=60).send(get(), get()[:20])
        client.harness.tick(4)
        assert [response.status for response in client.responses()] == [200, 408]

    def test_it_counts_from_the_first_byte(self, connect: Connect) -> None:
        client = connect(hello, timeout_request_head=3, timeout_keep_alive=60).send(get())
        client.harness.tick(30)
        client.send(get()[:20])
        client.harness.tick(3)
        client.send(get()[20:])
        assert [response.status for response in client.responses()] == [200, 200]

    def test_without_a_limit_it_may_take_for_ever(self, connect: Connect) -> None:
        client = connect(hello, timeout_request_head=0).send(get()[:20])
        client.harness.tick(3600)
        assert client.send(get()[20:]).response().status == 200

    def test_a_head_behind_a_request_that_runs_has_time_until_its_turn(self, connect: Connect) -> None:
        app = Gate()
        client = connect(app, timeout_request_head=3, timeout_keep_alive=60).send(get(), get()[:20])
        client.harness.tick(60)
        app.open()
        client.harness.settle()
        client.harness.tick(2)
        assert client.open
        client.harness.tick(2)
        assert [response.status for response in client.responses()] == [200, 408]

    def test_a_head_that_began_with_the_request_before_is_not_waited_for_without_end(self, connect: Connect) -> None:
        client = connect(hello, timeout_request_head=3, timeout_keep_alive=3).send(get() + get()[:20])
        client.harness.tick(2)
        assert client.open
        client.harness.tick(3)
        assert client.closed


class TestLinger:
    def test_our_side_is_closed_first(self, connect: Connect) -> None:
        client = connect(hello).send(b"nonsense\r\n\r\n")
        assert client.transport.eof_written
        assert not client.transport.lost

    def test_it_ends_with_the_client(self, connect: Connect) -> None:
        client = connect(hello).send(b"nonsense\r\n\r\n").eof()
        assert client.transport.lost

    def test_it_ends_in_time(self, connect: Connect) -> None:
        client = connect(hello).send(b"nonsense\r\n\r\n")
        client.harness.tick(4)
        assert client.transport.lost

    def test_it_ends_with_a_client_that_goes_on_sending(self, connect: Connect) -> None:
        client = connect(hello).send(b"nonsense\r\n\r\n")
        for _ in range(20):
            client.send(post(b"x" * 65536))
        assert client.transport.lost

    def test_where_only_one_side_can_not_be_closed_the_answer_is_sent_all_the_same(self, serve: Serve) -> None:
        client = serve(hello).connect(half_close=False).send(b"nonsense\r\n\r\n")
        assert b" 501 " in client.transport.output or b" 400 " in client.transport.output
        client.harness.tick(4)
        assert client.transport.lost
