"""Answers that come before the request body is read: a small rest is dropped, a large one ends the connection."""

from __future__ import annotations

import pytest

from tests.http1.apps import Recorder, body, echo, hello, start
from tests.http1.conftest import Connect
from tests.scripted import get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

SMALL, LARGE = 200_000, 1_000_000
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class TestSmallRest:
    @pytest.mark.parametrize("each", [None, 1000, 65536])
    def test_it_is_dropped_and_the_next_request_is_served(self, connect: Connect, each: int | None) -> None:
        request = post(b"GET /not HTTP/1.1\r\n\r\n" * (SMALL // 20))
        recorder = Recorder()
        client = connect(recorder).send(request[:200])
        assert not client.response().closes
        client.send(request[200:] + get("/next"), each=each)
        assert [response.body for response in client.responses()] == [b"Hello, world!"] * 2
        assert recorder.paths == ["/", "/next"]
        assert client.open

    def test_nothing_of_it_is_kept(self, connect: Connect) -> None:
        client = connect(hello).send(post(bytes(SMALL)), each=1000)
        assert client.transport.reading
        assert len(client.send(get()).responses()) == 2

    def test_the_next_request_is_not_begun_before(self, connect: Connect) -> None:
        recorder = Recorder()
        request = post(bytes(1000))
        client = connect(recorder).send(request[:-1])
        assert client.response().status == 200
        client.send(request[-1:] + get("/next"))
        assert recorder.paths == ["/", "/next"]

    def test_receive_gives_the_disconnect(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await hello(scope, receive, send)
            assert await receive() == {"type": "http.disconnect"}

        recorder = Recorder(app)
        client = connect(recorder).send(post(bytes(1000))[:500])
        assert recorder.raised == []
        assert recorder.done == 1
        assert client.open

    def test_a_client_that_leaves_meanwhile(self, connect: Connect) -> None:
        client = connect(hello).send(post(bytes(1000))[:500]).leave()
        assert client.harness.runtime.connections == set()

    def test_a_client_that_ends_its_side_meanwhile(self, connect: Connect) -> None:
        client = connect(hello).send(post(bytes(1000))[:500]).eof()
        assert client.closed
        assert client.response().status == 200

    def test_a_rest_that_never_comes_is_not_waited_for_without_end(self, connect: Connect) -> None:
        client = connect(hello, timeout_keep_alive=5).send(post(bytes(1000))[:500])
        client.harness.tick(60)
        assert client.closed
        assert client.response().status == 200

    def test_http10(self, connect: Connect) -> None:
        request = post(bytes(1000), "Connection: keep-alive", version="1.0")
        client = connect(hello).send(request[:500], request[500:], get())
        assert [response.get("connection") for response in client.responses()] == ["keep-alive", None]


class TestLargeRest:
    @pytest.mark.parametrize("request_", [post(bytes(LARGE)), CHUNKED + b"5\r\nhello\r\n"], ids=["length", "chunked"])
    def test_it_ends_the_connection(self, connect: Connect, request_: bytes) -> None:
        client = connect(hello).send(request_[:200])
        response = client.response()
        assert response.closes
        assert response.body == b"Hello, world!"
        # What the client still sends is read: else it might see a reset instead. Our side stays open meanwhile, since
        # most proxies that end TLS would take its end for that of both.
        assert client.open
        assert client.transport.reading

    def test_our_side_ends_behind_it(self, connect: Connect) -> None:
        request = post(bytes(LARGE))
        client = connect(hello).send(request[:200], request[200:-1])
        assert client.open
        client.send(request[-1:])
        assert client.transport.eof_written
        assert not client.transport.lost
        client.send(b"more")
        assert client.transport.calls.count("write_eof") == 1

    def test_our_side_ends_where_nothing_more_comes(self, connect: Connect) -> None:
        client = connect(hello).send(CHUNKED + b"5\r\nhello\r\n")
        client.harness.tick(1)
        client.send(b"5\r\nhello\r\n")
        client.harness.tick(1.5)
        assert client.open
        client.harness.tick(3)
        assert client.closed

    @pytest.mark.parametrize("rest", [f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
    def test_who_waits_for_a_100_sees_the_end_at_once(self, connect: Connect, rest: str) -> None:
        client = connect(hello).send(get("/", rest, "Expect: 100-continue", method="POST"))
        assert client.response().closes
        assert client.transport.eof_written
        assert not client.transport.lost

    def test_the_end_that_ends_the_answer_comes_at_once(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"begun, ", more=True))
            await send(body(b"done"))

        client = connect(app).send(post(bytes(LARGE), version="1.0")[:200])
        assert client.transport.output.endswith(b"begun, done")
        assert client.transport.eof_written
        assert not client.transport.lost

    def test_what_comes_is_dropped(self, connect: Connect) -> None:
        recorder = Recorder()
        client = connect(recorder).send(post(bytes(LARGE))[:200])
        client.send(bytes(100_000), get("/next"))
        assert len(client.responses()) == 1
        assert recorder.paths == ["/"]

    def test_it_is_bounded_in_bytes(self, connect: Connect) -> None:
        client = connect(hello).send(post(bytes(LARGE))[:200])
        for _ in range(40):
            client.send(bytes(65536))
        assert client.transport.lost

    def test_it_is_bounded_in_time(self, connect: Connect) -> None:
        client = connect(hello).send(post(bytes(LARGE))[:200])
        client.harness.tick(1)
        assert not client.transport.lost
        client.harness.tick(3)
        assert client.transport.lost

    def test_it_ends_with_the_client(self, connect: Connect) -> None:
        client = connect(hello).send(post(bytes(LARGE))[:200]).eof()
        assert client.transport.lost

    def test_a_client_that_has_reset_the_connection_meanwhile(self, connect: Connect) -> None:
        client = connect(hello)

        def fail() -> None:
            raise OSError(107, "Transport endpoint is not connected")

        client.transport.write_eof = fail  # type: ignore[method-assign]
        assert client.send(post(bytes(LARGE))).transport.lost

    def test_reading_goes_on_where_it_was_paused(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"begun", more=True))
            await receive()
            await send(body())

        client = connect(app).send(post(bytes(LARGE))[:-LARGE], bytes(300_000), bytes(100_000))
        assert client.transport.reading
        assert client.response().body == b"begun"

    def test_a_response_that_is_not_complete_reads_on(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"begun ", more=True))
            await echo(scope, receive, lambda event: send(event) if "body" in event else nothing())

        client = connect(app).send(CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n")
        assert client.response().body == b"begun POST / hello"
        assert client.closed


async def nothing() -> None:
    """Stands in for a message that is not sent."""


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000, LARGE])
def test_a_body_that_came_whole_is_no_rest(connect: Connect, size: int) -> None:
    client = connect(hello)
    client.push(post(bytes(size)))
    client.harness.settle()
    if size <= SMALL:
        assert not client.response().closes
        assert len(client.send(get()).responses()) == 2
