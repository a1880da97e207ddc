"""Idle connections rest as those of HTTP/1.1 do (tests/http1/test_rest.py)."""

from __future__ import annotations

from tests.http1.apps import Gate, hello
from tests.http2.conftest import Converse
from tests.scripted import ticks_of


def test_one_that_was_answered_rests_and_is_closed_in_time(talk: Converse, told: list[int]) -> None:
    client = talk(hello, timeout_keep_alive=30)
    assert client.get().whole
    client.tick(20)
    assert ticks_of(told, client.tick, 5) == 0
    assert client.goaways == []
    client.tick(6)
    assert client.goaways


def test_a_request_ends_it(talk: Converse, told: list[int]) -> None:
    gate = Gate(hello)
    client = talk(gate, timeout_keep_alive=30)
    client.tick(20)
    assert ticks_of(told, client.tick, 5) == 0
    stream = client.get()
    assert ticks_of(told, client.tick, 60) == 120
    gate.open()
    client.pull()
    assert stream.whole


def test_what_a_client_may_do_too_often_is_given_back_before(talk: Converse, told: list[int]) -> None:
    """A client that has sent many pings is told of ticks for as long as it has less of them left than at first."""
    client = talk(hello, timeout_keep_alive=300)
    assert client.get().whole
    client.tick(30)
    assert ticks_of(told, client.tick, 5) == 0
    for number in range(100):
        client.send(client.wire.ping(number.to_bytes(8, "big"), 0))
    assert ticks_of(told, client.tick, 1) == 2
    client.tick(60)
    assert ticks_of(told, client.tick, 5) == 0


def test_a_stop_ends_it(talk: Converse, told: list[int]) -> None:
    client = talk(hello, timeout_keep_alive=60)
    assert client.get().whole
    client.tick(30)
    assert ticks_of(told, client.tick, 5) == 0
    client.each_protocol("drain")
    assert ticks_of(told, client.tick, 1) > 0
    assert client.goaways
