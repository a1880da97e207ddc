"""A connection that has nothing to do rests: ticks pass it by until something comes, or it was idle for too long."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import Gate, hello
from tests.http1.conftest import Connect
from tests.scripted import Client, get, ticks_of

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
    client.harness.tick(1)
    assert ticks_of(told, client.harness.tick, 5) == 0
    client.harness.tick(60)
    assert client.closed


def test_a_request_ends_it(connect: Connect, told: list[int]) -> None:
    gate = Gate(hello)
    client = connect(gate, timeout_keep_alive=60)
    client.harness.tick(1)
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
