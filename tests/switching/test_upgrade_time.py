"""What WebSockets and their clients may take of time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Recorder
from tests.switching.test_websocket_upgrade import Connect, connect, parser, stuffing
from tests.websocket.wire import handshake
from uvicorn_worker.core.asgi import Receive, Scope, Send

__all__ = ["connect", "parser"]

Log = Callable[..., list[str]]


async def holding(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts, and does something else for ever."""
    await send({"type": "websocket.accept"})
    await asyncio.get_running_loop().create_future()


async def undecided(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()


def test_a_client_that_takes_nothing_is_cut(connect: Connect, log: Log) -> None:
    recorder = Recorder(stuffing)
    client = connect(recorder, timeout_write=20, ws_ping_interval=None).stall().send(handshake())
    client.harness.tick(20)
    assert not client.transport.lost
    client.harness.tick(2)
    assert client.transport.was_reset
    assert isinstance(recorder.raised[0], OSError)
    assert client.harness.runtime.cycles == set()
    assert log() == ["192.0.2.7:50123 took nothing of what waits for it in time: the connection is cut"]


def test_one_that_takes_a_byte_now_and_then_is_not(connect: Connect) -> None:
    client = connect(stuffing, timeout_write=20, ws_ping_interval=None).stall().send(handshake())
    for _ in range(10):
        client.harness.tick(19)
        client.transport.take(1)
    assert not client.transport.lost


@pytest.mark.parametrize("options", [{"timeout_request": 1}, {"paths": {"/": {"timeout_request": 1}}}])
def test_a_websocket_is_no_request_that_takes_too_long(connect: Connect, options: dict[str, Any]) -> None:
    recorder = Recorder(holding)
    client = connect(recorder, ws_ping_interval=None, **options).send(handshake())
    client.harness.tick(600)
    assert recorder.done == 0
    assert not client.transport.lost


@pytest.mark.parametrize("options", [{"timeout_request": 5}, {"paths": {"/": {"timeout_request": 5}}}])
def test_its_handshake_is(connect: Connect, options: dict[str, Any], log: Log) -> None:
    recorder = Recorder(undecided)
    client = connect(recorder, **options).send(handshake())
    client.harness.tick(4)
    assert recorder.done == 0
    client.harness.tick(2)
    assert client.response().status == 504
    assert isinstance(recorder.raised[0], asyncio.CancelledError)
    assert client.harness.runtime.cycles == set()
    assert client.harness.runtime.tally.timed_out == 1
    assert "took longer than timeout_request: GET / from 192.0.2.7:50123" in log()[-1]


@pytest.mark.parametrize("app", [holding, undecided])
def test_its_application_may_not_go_on_without_end_once_the_client_has_left(
    connect: Connect, app: object, log: Log
) -> None:
    recorder = Recorder(app)  # type: ignore[arg-type]  # an application
    client = connect(recorder, timeout_disconnect=3).send(handshake()).leave()
    client.harness.tick(2.5)
    assert recorder.done == 0
    client.harness.tick(1)
    assert isinstance(recorder.raised[0], asyncio.CancelledError)
    assert client.harness.runtime.cycles == set()
    assert "since it went on after its client had left: GET / from 192.0.2.7:50123" in log()[-1]
