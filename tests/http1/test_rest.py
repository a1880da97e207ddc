"""A connection that has nothing to do rests: ticks pass it by until something comes, or it was idle for too long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.http1.apps import Gate, echo, hello
from tests.http1.conftest import Connect
from tests.scripted import Client, Response, get, post, ticks_of
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.output import NEW_TICKS
from uvicorn_worker.http1.reader import AT_REST

TICK = 0.5


def at_rest(connect: Connect, told: list[int], **options: Any) -> Client:
    client = connect(hello, timeout_keep_alive=60, timeout_request_head=10, **options).send(get())
    client.harness.tick(2)
    assert ticks_of(told, client.harness.tick, 5) == 0
    return client


def test_one_that_was_answered_rests_and_is_closed_in_time(connect: Connect, told: list[int]) -> None:
    client = at_rest(connect, told)
    client.harness.tick(60 - 7)
    assert client.open
    client.harness.tick(2 * TICK)
    assert client.closed


def test_one_that_has_not_said_a_word_rests(connect: Connect, told: list[int]) -> None:
    client = connect(hello, timeout_keep_alive=60, timeout_request_head=10)
    client.harness.tick(NEW_TICKS * TICK)
    assert ticks_of(told, client.harness.tick, 5) == 0
    client.harness.tick(60)
    assert client.closed


def test_a_request_ends_it(connect: Connect, told: list[int]) -> None:
    gate = Gate(hello)
    client = connect(gate, timeout_keep_alive=60)
    client.harness.tick(NEW_TICKS * TICK)
    assert ticks_of(told, client.harness.tick, 5) == 0
    client.send(get())
    # Whether the client takes what is sent to it is looked at.
    assert ticks_of(told, client.harness.tick, 5) == 10


@pytest.mark.parametrize("sent", [b"GET / HT", b"\r\n"])
def test_a_part_of_a_request_ends_it(connect: Connect, told: list[int], sent: bytes) -> None:
    client = at_rest(connect, told)
    client.send(sent)
    assert ticks_of(told, client.harness.tick, 5) == 10


def test_a_head_that_does_not_come_whole_is_refused_in_time(connect: Connect, told: list[int]) -> None:
    client = at_rest(connect, told)
    client.send(b"GET / HT")
    client.harness.tick(10 + 2 * TICK)
    assert [response.status for response in client.responses()] == [200, 408]
    assert client.closed


def test_the_next_answer_begins_a_time_of_its_own(connect: Connect, told: list[int]) -> None:
    client = at_rest(connect, told)
    client.harness.tick(40)
    client.send(get())
    client.harness.tick(1)
    assert ticks_of(told, client.harness.tick, 50) == 0
    assert client.open
    client.harness.tick(11)
    assert client.closed


def test_what_the_client_has_not_taken_keeps_it_awake(connect: Connect, told: list[int]) -> None:
    client = connect(hello, timeout_keep_alive=60, timeout_write=30)
    client.stall()
    client.send(get())
    client.harness.tick(2)
    assert ticks_of(told, client.harness.tick, 5) == 10


def test_a_stop_ends_it(connect: Connect, told: list[int]) -> None:
    client = at_rest(connect, told)
    for connection in list(client.harness.runtime.connections):
        connection.close_if_idle()
    assert client.transport.eof_written
    # It lingers, and is told when that has taken long enough.
    client.harness.tick(5)
    assert told


# What a client may send to a connection that rests, in the reads in which it comes; None is the end of its side.
CONVERSATIONS: list[list[bytes | None]] = [
    [get()],
    [get() + get("/second")],
    [get(), get()],
    [get("/", "Connection: close")],
    [get(version="1.0")],
    [get()[:20], get()[20:]],
    [post(b"a body")],
    [post(b"")[:-10], post(b"")[-10:]],
    [post(b"x" * 200_000)],
    [get("/", "Transfer-Encoding: chunked", method="POST"), b"3\r\nabc\r\n", b"0\r\n\r\n"],
    [b"NONSENSE\r\n\r\n"],
    [b"\r\n", get()],
    [b"GET / RTSP/1.0\r\n\r\n"],
    [get("/", "Upgrade: something", "Connection: upgrade")],
    [get(), None],
    [None],
]


def undated(response: Response) -> tuple[tuple[str, str], ...]:
    return tuple(field for field in response.fields if field[0] != "date")


@pytest.mark.parametrize("reads", CONVERSATIONS)
@pytest.mark.parametrize("trusted", ["", "192.0.2.7"])
def test_it_is_as_one_that_has_not_rested(connect: Connect, reads: list[bytes | None], trusted: str) -> None:
    """What is remembered of a connection is gone with its reader; what is known of its peer is not."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await echo({**scope, "method": "POST"}, receive, send)
        told.append((scope["client"], scope["scheme"], scope["path"]))

    said = []
    for rests in (True, False):
        told: list[Any] = []
        client = connect(app, forwarded_allow_ips=trusted)
        client.send(get("/", "X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"))
        connection = next(iter(client.harness.runtime.connections))
        if rests:
            client.harness.tick(2)
            assert connection.reader is AT_REST  # type: ignore[attr-defined]
            assert connection.idle
        for data in reads:
            if data is None:
                client.eof()
            else:
                client.send(data)
        # A second may have begun between the two.
        answers = [replace(each, fields=undated(each)) for each in client.responses()]
        said.append((told, answers, client.closed, client.transport.eof_written))
        assert told[0][0] == (("198.51.100.1", 0) if trusted else ("192.0.2.7", 50123))
    assert said[0] == said[1]


def test_one_that_is_lost_is_forgotten(connect: Connect) -> None:
    client = connect(hello).send(get())
    client.harness.tick(2)
    client.leave()
    assert not client.harness.runtime.connections
