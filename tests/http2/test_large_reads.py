"""Large reads of HTTP/2 go into the buffer that all connections share, and nobody sees a difference."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.http1.apps import Recorder, answer, read_body
from tests.http2.conftest import Converse, Talk
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.large_reads import LARGE_READ, PATIENCE, LargeReads

WINDOWS = {"http2_initial_window_size": 2**20}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The body, once it is whole."""
    await answer(send, await read_body(receive))


def reads_large(connection: Talk) -> bool:
    return isinstance(connection.transport.get_protocol(), LargeReads)


def upload(connection: Talk, data: bytes, path: bytes = b"/") -> bytes:
    """A request with a body in frames of 16 KiB."""
    wire = connection.wire
    number = wire.next_id
    ends = range(16384, len(data), 16384)
    pieces = [wire.data(number, data[at - 16384 : at]) for at in ends]
    last = wire.data(number, data[(len(data) - 1) // 16384 * 16384 :], end=True)
    return b"".join([wire.request(path, method=b"POST", end=False), *pieces, last])


@pytest.mark.parametrize("size", [LARGE_READ - 1000, LARGE_READ, 4 * LARGE_READ])
@pytest.mark.parametrize("each", [None, 33_000, 70_000])
def test_bodies_are_whole(talk: Converse, size: int, each: int | None) -> None:
    connection = talk(echo, settings={4: 2**24}, **WINDOWS)
    connection.send(connection.wire.window(2**24))
    bodies = [os.urandom(size) for _ in range(4)]
    connection.send(*[upload(connection, data) for data in bodies], each=each)
    assert reads_large(connection)
    for number, data in enumerate(bodies):
        assert connection.stream(2 * number + 1).body == data


def test_small_reads_need_no_buffer(talk: Converse) -> None:
    connection = talk(echo, **WINDOWS)
    for _ in range(3):
        connection.post(bytes(1000))
    assert not reads_large(connection)
    assert connection.harness.runtime.read_buffer is None


def test_it_ends_with_small_reads(talk: Converse) -> None:
    connection = talk(echo, **WINDOWS)
    connection.send(upload(connection, bytes(50_000)))
    assert reads_large(connection)
    for _ in range(PATIENCE):
        assert connection.get().whole
    assert not reads_large(connection)
    assert connection.post(b"body").body == b"body"


def test_what_one_read_has_of_a_body_is_one_message(talk: Converse) -> None:
    app = Recorder(echo)
    connection = talk(app, **WINDOWS)
    data = os.urandom(60_000)
    connection.send(upload(connection, data))
    assert [(event["body"], event["more_body"]) for event in app.received] == [(data, False)]


def test_a_body_that_is_too_long(talk: Converse) -> None:
    connection = talk(echo, limit_request_body=100_000, **WINDOWS)
    connection.send(upload(connection, bytes(100_001)), each=40_000)
    assert connection.stream(1).status == 413
    connection.send(upload(connection, bytes(60_000)), each=40_000)
    assert connection.stream(3).status == 200


def test_what_comes_after_a_fault_is_dropped(talk: Converse) -> None:
    connection = talk(echo, **WINDOWS)
    connection.send(upload(connection, bytes(50_000)), connection.wire.data(0, b"?"))
    assert [code for _, code in connection.goaways] == [1]
    connection.send(upload(connection, bytes(50_000)))
    assert connection.stream(3).heads == []


def test_the_client_leaves(talk: Converse) -> None:
    told: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            told.append(await receive())
            if told[-1]["type"] == "http.disconnect":
                return

    connection = talk(app, **WINDOWS)
    connection.send(upload(connection, bytes(50_000))[:-1])
    assert reads_large(connection)
    connection.connection.leave()
    assert told[-1] == {"type": "http.disconnect"}
    assert not connection.harness.runtime.connections


def test_a_client_that_does_not_read(talk: Converse) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, bytes(2**20))

    connection = talk(app, settings={4: 2**24}, **WINDOWS)
    connection.send(connection.wire.window(2**24))
    connection.stall().send(upload(connection, bytes(50_000)))
    (one,) = connection.harness.runtime.connections
    assert one.write_paused  # type: ignore[attr-defined]
    connection.drain()
    assert len(connection.stream(1).body) == 2**20
