"""Large reads of HTTP/1.1 go into the buffer that all connections share, and nobody sees a difference."""

from __future__ import annotations

import os

import pytest

from tests.http1.apps import Gate, Recorder, answer, hello, read_body
from tests.http1.conftest import Connect
from tests.scripted import Client, get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.large_reads import LARGE_READ, PATIENCE, LargeReads


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The body, once it is whole."""
    await answer(send, await read_body(receive))


def chunked(data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    head = b"POST / HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def reads_large(client: Client) -> bool:
    return isinstance(client.transport.get_protocol(), LargeReads)


@pytest.fixture
def client(connect: Connect) -> Client:
    """An echo whose last read was large."""
    client = connect(echo).send(post(bytes(LARGE_READ)))
    assert reads_large(client)
    client.take()
    return client


class TestSwitching:
    def test_small_reads_need_no_buffer(self, connect: Connect) -> None:
        client = connect(echo).send(*[post(bytes(1000))] * 5)
        assert not reads_large(client)
        assert client.harness.runtime.read_buffer is None

    def test_it_ends_with_small_reads(self, client: Client) -> None:
        client.send(*[get()] * (PATIENCE - 1))
        assert reads_large(client)
        client.send(get())
        assert not reads_large(client)
        client.send(post(b"small"), post(bytes(LARGE_READ)))
        assert reads_large(client)
        assert [len(response.body) for response in client.responses()] == [0] * PATIENCE + [5, LARGE_READ]


class TestBodies:
    @pytest.mark.parametrize("each", [LARGE_READ, 50_000, 100_000, 262_144])
    @pytest.mark.parametrize("size", [LARGE_READ, 65536, 100_000, 500_000])
    def test_cut_anywhere(self, client: Client, size: int, each: int) -> None:
        bodies = [os.urandom(size) for _ in range(3)]
        client.send(*[post(data) + get() for data in bodies], each=each)
        assert [response.body for response in client.responses()] == [body for data in bodies for body in (data, b"")]

    @pytest.mark.parametrize("each", [LARGE_READ, 100_000, 262_144])
    @pytest.mark.parametrize("size", [100, 5000, 70_000])
    def test_chunks(self, client: Client, size: int, each: int) -> None:
        bodies = [os.urandom(200_000) for _ in range(2)]
        client.send(b"".join([*(chunked(data, size) for data in bodies), get()]), each=each)
        assert [response.body for response in client.responses()] == [*bodies, b""]

    def test_one_read_is_one_message(self, connect: Connect) -> None:
        app = Recorder(echo)
        client, data = connect(app), os.urandom(200_000)
        client.send(post(bytes(LARGE_READ)))
        del app.received[:]
        head = len(post(data)) - len(data)
        client.send(
            post(data)[: head + 50_000], post(data)[head + 50_000 : head + 150_000], post(data)[head + 150_000 :]
        )
        pieces = [event["body"] for event in app.received]
        assert [len(piece) for piece in pieces] == [50_000, 100_000, 50_000]
        assert all(type(piece) is bytes for piece in pieces)
        assert b"".join(pieces) == data

    def test_what_is_kept_for_later_is_a_copy(self, connect: Connect) -> None:
        gate = Gate(echo)
        client = connect(gate).send(post(bytes(LARGE_READ)))
        data = os.urandom(LARGE_READ)
        client.send(post(data, "New: x") + post(data) + get("/", "New: y"))
        for _ in range(4):
            gate.open()
            client.harness.settle()
        assert [response.body for response in client.responses()] == [bytes(LARGE_READ), data, data, b""]

    def test_reading_pauses_while_the_application_does_not_read(self, connect: Connect) -> None:
        client = connect(Gate(echo)).send(post(bytes(LARGE_READ)), post(bytes(1_000_000)), each=100_000)
        assert client.transport.unread >= 800_000

    def test_one_that_nobody_wants(self, connect: Connect) -> None:
        client = connect(hello).send(post(bytes(200_000)) + get(), each=50_000)
        assert [response.status for response in client.responses()] == [200, 200]
        assert client.open

    def test_a_limit(self, connect: Connect) -> None:
        client = connect(echo, limit_request_body=100_000)
        client.send(post(bytes(100_000)), post(bytes(100_001)), each=40_000)
        assert [response.status for response in client.responses()] == [200, 413]


class TestConnection:
    def test_its_other_side_ends(self, client: Client) -> None:
        client.send(post(bytes(100_000))[:-1]).eof()
        assert client.take() == b""
        assert client.closed

    def test_it_is_lost(self, connect: Connect) -> None:
        app = Recorder(read_or_leave)
        client = connect(app).send(post(bytes(100_000))[:-1]).leave()
        assert app.received[-1] == {"type": "http.disconnect"}
        assert not client.harness.runtime.connections

    def test_what_comes_after_the_end_is_dropped(self, client: Client) -> None:
        client.send(b"nonsense\r\n\r\n", bytes(100_000))
        assert [response.status for response in client.responses()] == [400]


async def read_or_leave(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
