"""Limits on the head, and clients that send without end."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.http1.apps import Gate, Recorder, echo, hello, read_body
from tests.http1.conftest import Connect, Serve
from tests.memory import tracer
from tests.scripted import Client, get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.logs import spell
from uvicorn_worker.logs.spell import REFUSALS_SAID

Log = Callable[..., list[str]]

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
MEBIBYTE = 1 << 20


async def discard(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and keeps nothing of it."""
    while (event := await receive())["type"] == "http.request" and event["more_body"]:
        pass
    if event["type"] == "http.request":
        await hello(scope, receive, send)


def flood(client: Client, piece: bytes, most: int) -> int:
    """Send `piece` until the connection is closed; how much it took, `most` bytes at most."""
    sent = 0
    while client.open and sent < most:
        client.send(piece)
        sent += len(piece)
    assert client.closed, f"still open after {sent} bytes"
    return sent


class TestRequestLine:
    # As Gunicorn counts: method, target, version and the spaces between them, without the line's end.
    @pytest.mark.parametrize("each", [None, 1, 100])
    @pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 414)])
    @pytest.mark.parametrize("target", ["/{}", "/?{}", "http://a/{}"])
    def test_its_length(self, connect: Connect, target: str, size: int, status: int, each: int | None) -> None:
        target = target.format("x" * (size - len("GET  HTTP/1.1") - len(target) + 2))
        request = get(target)
        assert len(request.partition(b"\r\n")[0]) == size
        client = connect(hello, limit_request_line=1000).send(request, each=each)
        assert client.response().status == status
        assert client.closed == (status != 200)

    def test_the_default_is_what_the_rfc_recommends(self, connect: Connect) -> None:
        client = connect(hello)
        client.send(get("/" + "x" * (8190 - 14)))
        client.send(get("/" + "x" * (8190 - 13)))
        assert [response.status for response in client.responses()] == [200, 414]

    def test_without_a_limit(self, connect: Connect) -> None:
        client = connect(echo, limit_request_line=0).send(get("/" + "x" * 100_000))
        assert client.response().body == b"GET /" + b"x" * 100_000 + b" "

    def test_of_a_pipelined_request(self, connect: Connect) -> None:
        client = connect(hello, limit_request_line=100).send(get() + get("/" + "x" * 200))
        assert [response.status for response in client.responses()] == [200, 414]

    @pytest.mark.parametrize("piece", [b"x", b"x" * 100, b"x" * 65536])
    def test_an_endless_one(self, connect: Connect, piece: bytes, log: Log) -> None:
        client = connect(hello).send(b"GET /")
        assert flood(client, piece, MEBIBYTE) <= 4094 + 65536
        assert client.response().status == 414
        assert len(log()) == 1

    @pytest.mark.parametrize("piece", [b"G", b" ", b"GET" * 1000, b"x" * 65536])
    def test_an_endless_method(self, connect: Connect, piece: bytes) -> None:
        client = connect(hello)
        assert flood(client, piece, MEBIBYTE) <= 4094 + 65536
        assert client.response().status in (400, 414, 501)


class TestFieldSize:
    # The name and the value, without what is around them.
    @pytest.mark.parametrize("each", [None, 1, 100])
    @pytest.mark.parametrize(("size", "status"), [(1000, 200), (1010, 431)])
    def test_its_length(self, connect: Connect, size: int, status: int, each: int | None) -> None:
        client = connect(hello, limit_request_field_size=1000)
        client.send(get("/", "X-Field: " + "x" * (size - 7)), each=each)
        assert client.response().status == status
        assert client.closed == (status != 200)

    def test_the_default_is_gunicorns(self, connect: Connect) -> None:
        client = connect(hello)
        client.send(get("/", "X: " + "x" * 8189), get("/", "X: " + "x" * 8200))
        assert [response.status for response in client.responses()] == [200, 431]

    def test_without_a_limit(self, connect: Connect) -> None:
        app = Recorder()
        connect(app, limit_request_field_size=0).send(get("/", "X: " + "x" * 500_000))
        assert app.scope["headers"][1] == (b"x", b"x" * 500_000)

    def test_of_a_pipelined_request(self, connect: Connect) -> None:
        client = connect(hello, limit_request_field_size=100).send(get() + get("/", "X: " + "x" * 200))
        assert [response.status for response in client.responses()] == [200, 431]

    @pytest.mark.parametrize("piece", [b"x", b"x" * 100, b"x" * 65536])
    @pytest.mark.parametrize("start", [b"", b"X-Field: "], ids=["name", "value"])
    def test_an_endless_one(self, connect: Connect, start: bytes, piece: bytes, log: Log) -> None:
        client = connect(hello).send(get()[:-2] + start)
        assert flood(client, piece, MEBIBYTE) <= 8190 + 65536
        assert client.response().status == 431
        assert len(log()) == 1


class TestFields:
    @pytest.mark.parametrize("each", [None, 1, 100])
    @pytest.mark.parametrize(("count", "status"), [(10, 200), (11, 431)])
    def test_their_number(self, connect: Connect, count: int, status: int, each: int | None) -> None:
        fields = [f"X-{number}: y" for number in range(count - 1)]
        client = connect(hello, limit_request_fields=10).send(get("/", *fields), each=each)
        assert client.response().status == status

    def test_the_default_is_gunicorns(self, connect: Connect) -> None:
        fields = [f"X-{number}: y" for number in range(100)]
        client = connect(hello)
        client.send(get("/", *fields[:99]), get("/", *fields))
        assert [response.status for response in client.responses()] == [200, 431]

    @pytest.mark.parametrize("piece", [b"X: y\r\n", b"X: y\r\n" * 10_000, b"X: " + b"y" * 5000 + b"\r\n"])
    def test_endless_ones(self, connect: Connect, piece: bytes, log: Log) -> None:
        client = connect(hello).send(get()[:-2])
        assert flood(client, piece, 2 * MEBIBYTE) <= 100 * 5005 + 65536
        assert client.response().status == 431
        assert len(log()) == 1


class TestEmptyLines:
    @pytest.mark.parametrize("each", [None, 1])
    @pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 20])
    def test_a_few_are_ignored(self, connect: Connect, lines: bytes, each: int | None) -> None:
        client = connect(echo).send(lines + get("/1") + lines + post(b"2") + lines + get("/3"), each=each)
        assert [response.body for response in client.responses()] == [b"GET /1 ", b"POST / 2", b"GET /3 "]

    @pytest.mark.parametrize("piece", [b"\r\n", b"\r\n" * 1000, b"\r\n" * 50_000])
    def test_endless_ones(self, connect: Connect, piece: bytes, log: Log) -> None:
        client = connect(hello)
        assert flood(client, piece, MEBIBYTE) <= 4096 + len(piece)
        assert client.response().status == 400
        assert len(log()) == 1

    def test_one_after_each_request_is_not_endless(self, connect: Connect) -> None:
        # Old clients send CR LF after the body of a POST; the connection may be long-lived all the same.
        client = connect(hello)
        for _ in range(2100):
            client.send(post(b"x"), b"\r\n")
        assert client.open
        assert len(client.responses()) == 2100


class TestChunks:
    @pytest.mark.parametrize(
        "piece",
        [b"a" * 10, b"a" * 1000, b"a" * 65536, b"a=b;" * 5000],
        ids=["small", "pieces", "reads", "many"],
    )
    def test_an_endless_extension(self, connect: Connect, piece: bytes, log: Log) -> None:
        recorder = Recorder(discard)
        client = connect(recorder).send(CHUNKED + b"5;a")
        assert flood(client, piece, 2 * MEBIBYTE) <= MEBIBYTE
        assert client.response().status in (400, 431)
        assert recorder.done == 1
        assert len(log()) == 1

    def test_an_extension_on_every_chunk(self, connect: Connect) -> None:
        client = connect(discard).send(CHUNKED)
        assert flood(client, (b"1;" + b"a" * 200 + b"\r\nx\r\n") * 100, 2 * MEBIBYTE) <= MEBIBYTE

    @pytest.mark.parametrize("piece", [b"0" * 10, b"0" * 1000, b"0" * 65536])
    def test_an_endless_size(self, connect: Connect, piece: bytes) -> None:
        client = connect(discard).send(CHUNKED)
        assert flood(client, piece, 2 * MEBIBYTE) <= MEBIBYTE
        assert client.response().status in (400, 431)

    @pytest.mark.parametrize("piece", [b"x" * 10, b"x" * 65536, b"X: y\r\n" * 10_000])
    def test_endless_trailers(self, connect: Connect, piece: bytes, log: Log) -> None:
        recorder = Recorder(discard)
        client = connect(recorder).send(CHUNKED + b"3\r\nabc\r\n0\r\n")
        assert flood(client, piece, 2 * MEBIBYTE) <= MEBIBYTE
        assert client.response().status in (400, 431)
        assert recorder.done == 1
        assert len(log()) == 1

    @pytest.mark.parametrize("piece", [b"x" * 65536, b"X: y\r\n" * 10_000])
    def test_endless_trailers_of_a_large_body(self, connect: Connect, piece: bytes) -> None:
        client = connect(discard).send(CHUNKED, *[b"10000\r\n" + bytes(65536) + b"\r\n"] * 32, b"0\r\n")
        assert flood(client, piece, 4 * MEBIBYTE) <= MEBIBYTE

    def test_a_body_of_tiny_chunks_is_fine(self, connect: Connect) -> None:
        client = connect(echo).send(CHUNKED, b"1\r\nx\r\n" * 50_000, b"0\r\n\r\n")
        assert client.response().body == b"POST / " + b"x" * 50_000

    def test_a_flood_of_zeros_before_sizes_is_not(self, connect: Connect) -> None:
        client = connect(discard).send(CHUNKED)
        assert flood(client, (b"0" * 250 + b"1\r\nx\r\n") * 10, 2 * MEBIBYTE) <= MEBIBYTE


class TestTheLog:
    @pytest.mark.parametrize(
        "piece",
        [b"NO\x00\r\n\r\n", CHUNKED + b"0" * 300_000, b"\r\n" * 5000, get()[:-2] + b"x" * 100_000],
        ids=["refused", "chunks", "empty lines", "field"],
    )
    def test_a_flood_is_one_line(self, serve: Serve, piece: bytes, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        # The test may be slow.
        monkeypatch.setattr(spell, "REFUSALS_PER_SECOND", 0)
        harness = serve(hello)
        for _ in range(REFUSALS_SAID + 100):
            assert harness.connect().send(piece).closed
        lines = log(logging.WARNING)
        assert len(lines) == REFUSALS_SAID + 1
        assert all(line.startswith("Invalid request from 192.0.2.7:50123: ") for line in lines[:REFUSALS_SAID])
        assert lines[-1].startswith("HTTP/1.1: so many invalid requests that they are counted from now on")


class TestMemory:
    @pytest.mark.parametrize(
        ("start", "piece"),
        [
            (b"GET /", b"x" * 65536),
            (get()[:-2], b"X: y\r\n" * 10_000),
            (CHUNKED + b"0\r\nX: ", b"x" * 65536),
            (CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"),
            (b"", get() * 1000),
            (b"", get()),
            (b"", post(b"x" * 1000)),
        ],
        ids=["line", "fields", "trailers", "body", "pipelined", "pipelined one by one", "pipelined with bodies"],
    )
    def test_an_application_that_does_not_read_bounds_it(self, connect: Connect, start: bytes, piece: bytes) -> None:
        tracemalloc = tracer()
        client = connect(Gate()).send(start)
        tracemalloc.start()
        try:
            for _ in range(8 * MEBIBYTE // len(piece)):
                if not client.transport.is_reading():
                    break
                client.send(piece)
            current, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert current <= 2 * MEBIBYTE
        assert client.closed or not client.transport.reading


def test_an_upload_is_not_limited(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        data = await read_body(receive)
        assert len(data) == 20 * MEBIBYTE
        await hello(scope, receive, send)

    head = post(bytes(20 * MEBIBYTE))
    client = connect(app).send(head, each=262144)
    assert client.response().status == 200
