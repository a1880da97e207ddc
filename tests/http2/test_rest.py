"""Idle connections rest as those of HTTP/1.1 do (tests/http1/test_rest.py)."""

from __future__ import annotations

import pytest

from tests.http1.apps import Gate, hello
from tests.http2.conftest import Converse, Talk
from uvicorn_worker.http2.protocol import Http2Protocol


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ticks that connections were told of."""
    ticks: list[int] = []
    on_tick = Http2Protocol.on_tick

    def noted(self: Http2Protocol, tick: int) -> None:
        ticks.append(tick)
        on_tick(self, tick)

    monkeypatch.setattr(Http2Protocol, "on_tick", noted)
    return ticks


def ticks_of(told: list[int], talk: Talk, seconds: float) -> int:
    """How many it is told of in some seconds."""
    told.clear()
    talk.tick(seconds)
    return len(told)


def test_one_that_was_answered_rests_and_is_closed_in_time(talk: Converse, told: list[int]) -> None:
    client = talk(hello, timeout_keep_alive=30)
    assert client.get().whole
    client.tick(20)
    assert ticks_of(told, client, 5) == 0
    assert client.goaways == []
    client.tick(6)
    assert client.goaways


def test_a_request_ends_it(talk: Converse, told: list[int]) -> None:
    gate = Gate(hello)
    client = talk(gate, timeout_keep_alive=30)
    client.tick(20)
    assert ticks_of(told, client, 5) == 0
    stream = client.get()
    assert ticks_of(told, client, 60) == 120
    gate.open()
    client.pull()
    assert stream.whole


def test_what_a_client_may_do_too_often_is_given_back_before(talk: Converse, told: list[int]) -> None:
    """A client that has sent many pings is told of ticks for as long as it has less of them left than at first."""
    client = talk(hello, timeout_keep_alive=300)
    assert client.get().whole
    client.tick(30)
    assert ticks_of(told, client, 5) == 0
    for number in range(100):
        client.send(client.wire.ping(number.to_bytes(8, "big"), 0))
    assert ticks_of(told, client, 1) == 2
    client.tick(60)
    assert ticks_of(told, client, 5) == 0


def test_a_stop_ends_it(talk: Converse, told: list[int]) -> None:
    client = talk(hello, timeout_keep_alive=60)
    assert client.get().whole
    client.tick(30)
    assert ticks_of(told, client, 5) == 0
    client.each_protocol("drain")
    assert ticks_of(told, client, 1) > 0
    assert client.goaways
