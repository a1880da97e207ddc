"""Bodies of known length, most of which does not pass through the parser."""

from __future__ import annotations

import os

import pytest

from tests.http1.apps import Recorder, answer, echo, hello, read_body
from tests.http1.conftest import Connect
from tests.scripted import get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http1.known_length import CUT_FROM

SIZES = [CUT_FROM - 1, CUT_FROM, CUT_FROM + 1, 4096, 65536, 100_000, 300_000]


async def length(scope: Scope, receive: Receive, send: Send) -> None:
    """How long the body is, and its ends."""
    data = await read_body(receive)
    await answer(send, b"%d %b %b" % (len(data), data[:4], data[-4:]))


def told(data: bytes) -> bytes:
    return b"%d %b %b" % (len(data), data[:4], data[-4:])


class TestBoundaries:
    """RFC 9112, 6.3: the length in octets is that of the message body, whatever reads it comes in."""

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("each", [None, 1000, 4096, 16384, 70_000])
    def test_it_ends_where_it_says(self, connect: Connect, size: int, each: int | None) -> None:
        first, second = os.urandom(size), os.urandom(size)
        client = connect(length).send(post(first), get("/between"), post(second), each=each)
        bodies = [response.body for response in client.responses()]
        assert bodies == [told(first), told(b""), told(second)]
        assert client.open

    @pytest.mark.parametrize("cut", [1, 100, 4095, 4096, 4097, 20_000])
    def test_what_follows_it_in_one_read(self, connect: Connect, cut: int) -> None:
        """All in one read, and the next request cut in two."""
        data = os.urandom(50_000)
        stream = post(data) + post(data) + get("/last")
        client = connect(length).send(stream[:-cut], stream[-cut:])
        assert [response.body for response in client.responses()] == [told(data), told(data), told(b"")]

    @pytest.mark.parametrize("fields", [("Connection: close",), ()])
    @pytest.mark.parametrize("behind", [get(), b"nonsense\r\n\r\n", b"x" * 100_000])
    def test_nothing_is_read_behind_the_last_request(
        self, connect: Connect, fields: tuple[str, ...], behind: bytes
    ) -> None:
        """RFC 9112, 9.6: "The server SHOULD NOT process any further requests" after a Connection: close."""
        data = os.urandom(50_000)
        request = post(data, *fields) if fields else post(data, version="1.0")
        for pieces in ([request + behind], [request, behind], [request[:60], request[60:] + behind]):
            app = Recorder(length)
            client = connect(app).send(*pieces)
            assert client.response().body == told(data)
            assert client.response().closes
            assert len(app.scopes) == 1

    def test_a_broken_request_behind_it_is_refused(self, connect: Connect) -> None:
        client = connect(length).send(post(os.urandom(50_000)) + b"nonsense\r\n\r\n")
        assert [response.status for response in client.responses()] == [200, 400]

    def test_one_piece_for_one_read(self, connect: Connect) -> None:
        """What came in one read is one message, and nothing is joined again."""
        app = Recorder(echo)
        data = os.urandom(100_000)
        connect(app).send(post(data))
        assert [len(event["body"]) for event in app.received] == [100_000]
        assert app.received[0]["body"] == data


class TestAround:
    def test_one_that_nobody_wants_is_dropped(self, connect: Connect) -> None:
        client = connect(hello).send(post(os.urandom(100_000)) + get(), each=10_000)
        assert [response.status for response in client.responses()] == [200, 200]
        assert client.open

    def test_one_that_ends_too_early(self, connect: Connect) -> None:
        app = Recorder(read_or_leave)
        client = connect(app).send(post(os.urandom(100_000))[:-1]).eof()
        assert client.transport.output == b""
        assert app.received[-1] == {"type": "http.disconnect"}

    def test_one_that_does_not_come(self, connect: Connect) -> None:
        client = connect(length).send(post(os.urandom(100_000))[:-1])
        client.harness.tick(61)
        assert client.response().status == 408

    def test_reading_pauses_while_the_application_does_not_read(self, connect: Connect) -> None:
        async def wait(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await client.harness.loop.create_future()

        client = connect(wait)
        client.send(post(os.urandom(1_000_000)), each=50_000)
        assert client.transport.unread >= 800_000

    def test_an_upgrade_that_is_declined(self, connect: Connect) -> None:
        data = os.urandom(50_000)
        client = connect(length).send(post(data, "Connection: upgrade", "Upgrade: other") + get())
        assert [response.body for response in client.responses()] == [told(data), told(b"")]

    def test_it_is_asked_for(self, connect: Connect) -> None:
        data = os.urandom(50_000)
        request = post(data, "Expect: 100-continue")
        client = connect(length).send(request[: -len(data)])
        assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.send(data).response().body == told(data)


async def read_or_leave(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
