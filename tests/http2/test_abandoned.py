"""Requests that the client has left: told at once, cancelled sooner the more there are, bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.http2.conftest import Converse, Talk
from tests.http2.wire import Client
from uvicorn_worker.http2.engine.codes import ErrorCode, FrameType

if TYPE_CHECKING:
    import pytest


class Waiting:
    """An application that waits on `/wait` until it is cancelled, and answers any other request."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn = stubborn
        self.running = self.most = self.cancelled = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await self.wait()
            finally:
                self.running -= 1
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"here"})

    async def wait(self) -> None:
        forever = asyncio.get_running_loop().create_future()
        while True:
            try:
                await asyncio.shield(forever)
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self.stubborn:
                    raise


def leave(talk: Talk, count: int, each: int = 50) -> None:
    """Ask and take it back, over and over; the applications have begun in between."""
    wire = talk.wire
    for _ in range(count // each):
        numbers = range(wire.next_id, wire.next_id + 2 * each, 2)
        talk.send(*[wire.request(b"/wait") for _ in numbers])
        talk.send(*[wire.reset(number) for number in numbers])


def test_three_thousand_calls_do_not_harm_a_neighbour(talk: Converse) -> None:
    app = Waiting()
    client = talk(app, limit_concurrency=1000)
    neighbour = client.wire.next_id
    client.send(client.wire.request(b"/", end=False, method=b"POST"))
    leave(client, 3000)
    client.send(client.wire.data(neighbour, b"x", end=True))
    assert client.stream(neighbour).body == b"here"
    assert client.get(b"/").body == b"here"
    assert app.most <= 400
    assert client.goaways == []
    # They are not all cancelled: the number that a client may have at once is left in peace.
    assert 50 <= app.running <= 400


def test_few_are_left_in_peace(talk: Converse) -> None:
    app = Waiting()
    client = talk(app)
    leave(client, 100)
    client.tick(60)
    assert app.running == 100


def test_some_more_have_a_while(talk: Converse, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Waiting()
    client = talk(app)
    leave(client, 150)
    client.tick(1)
    assert app.running == 150
    monkeypatch.setattr("uvicorn_worker.http2.abandoned.PATIENCE", 0.0)
    client.tick(1)
    assert app.running == 100


def test_those_that_are_done_are_forgotten(talk: Converse) -> None:
    released = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await released.wait()

    client = talk(app)
    leave(client, 100)
    (connection,) = client.harness.runtime.connections
    assert connection.abandoned is not None  # type: ignore[attr-defined]
    client.harness.inside(released.set)
    client.tick(1)
    assert connection.abandoned is None  # type: ignore[attr-defined]


def test_applications_that_can_not_be_cancelled(talk: Converse) -> None:
    """With too many of them the client is asked to go elsewhere, and what it has open is served."""
    app = Waiting(stubborn=True)
    client = talk(app, http2_max_concurrent_streams=20)
    neighbour = client.wire.next_id
    client.send(client.wire.request(b"/", end=False, method=b"POST"))
    leave(client, 190, each=19)
    assert client.goaways == []
    leave(client, 19, each=19)
    refused = client.get(b"/")
    assert refused.reset == ErrorCode.REFUSED_STREAM
    assert [code for _, code in client.goaways] == [ErrorCode.NO_ERROR]
    assert app.running < 220
    client.send(client.wire.data(neighbour, b"x", end=True))
    assert client.stream(neighbour).body == b"here"


def test_a_flood_does_not_live_on_as_refusals(talk: Converse) -> None:
    app = Waiting(stubborn=True)
    client = talk(app, http2_max_concurrent_streams=10)
    client.send(client.wire.request(b"/", end=False, method=b"POST"))
    leave(client, 117, each=9)
    for _ in range(30):
        client.send(*[client.wire.request(b"/wait") for _ in range(50)])
    assert client.goaways[-1][1] == ErrorCode.ENHANCE_YOUR_CALM
    assert app.most < 120


def test_the_application_is_told_at_once(talk: Converse) -> None:
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        told.append((await receive())["type"])

    client = talk(app)
    wire: Client = client.wire
    client.send(wire.request(b"/"))
    client.send(wire.reset(1))
    assert told == ["http.disconnect"]
    assert client.wire.of(FrameType.GOAWAY) == []
