"""Idle WebSockets rest as idle connections of HTTP/1.1 do (tests/http1/test_rest.py)."""

from __future__ import annotations

from tests.scripted import Client, Harness, ticks_of
from tests.switching.test_idle_memory import HANDSHAKE, MESSAGE, echo, websocket
from uvicorn_worker.core.asgi import Receive, Scope, Send


def last(client: Client) -> bytes:
    return client.transport.writes[-1]


def test_a_websocket_rests_between_pings(told: list[int]) -> None:
    harness = Harness(echo, ws_ping_interval=20, ws_ping_timeout=10)
    client = websocket(harness)
    harness.tick(2)
    assert ticks_of(told, harness.tick, 15) == 0
    harness.tick(5)
    assert last(client)[0] == 0x89
    # Nobody answers.
    harness.tick(11)
    assert last(client)[:4] == b"\x88\x18\x03\xf3" or client.closed
    harness.close()


def test_without_pings_for_as_long_as_nothing_comes(told: list[int]) -> None:
    harness = Harness(echo, ws_ping_interval=None)
    client = websocket(harness)
    harness.tick(2)
    assert ticks_of(told, harness.tick, 600) == 0
    client.send(MESSAGE)
    harness.settle()
    assert last(client) == b"\x81\x05hello"
    assert ticks_of(told, harness.tick, 2) > 0
    assert ticks_of(told, harness.tick, 2) == 0
    harness.close()


def test_what_the_application_sends_is_looked_after(told: list[int]) -> None:
    sends: list[Send] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        sends.append(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    harness = Harness(app, ws_ping_interval=None, timeout_write=10)
    client = harness.connect()
    client.send(HANDSHAKE)
    harness.settle()
    harness.tick(2)
    assert ticks_of(told, harness.tick, 5) == 0
    client.stall()
    harness.loop.run_until_complete(sends[0]({"type": "websocket.send", "bytes": bytes(1000)}))
    assert ticks_of(told, harness.tick, 5) == 10
    # The client takes none of it.
    harness.tick(7)
    assert client.transport.was_reset
    harness.close()
