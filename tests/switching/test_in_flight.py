"""What is said of requests that are under way on real connections."""

from __future__ import annotations

from tests.http1.apps import Gate
from tests.scripted import Harness, get
from tests.websocket.wire import handshake
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.logs.in_flight import describe_cycles


def test_a_line_each_the_oldest_first() -> None:
    gate = Gate()
    harness = Harness(gate, root_path="/mounted")
    harness.connect(peername="/run/a.sock").send(get("/d", method="DELETE"))
    harness.connect().send(get("/a?b=c"))
    for cycle in harness.runtime.cycles:
        cycle.started = 99.0 if cycle.target == b"/d" else 90.0
    assert describe_cycles(harness.runtime.cycles, 100.25) == [
        "GET /a?b=c for 10.2 s, from 192.0.2.7:50123",
        "DELETE /d for 1.2 s, from a unix socket",
    ]
    harness.close()


def test_a_websocket() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await receive()
        await receive()

    harness = Harness(app)
    harness.connect().send(handshake())
    (line,) = describe_cycles(harness.runtime.cycles, 0.0)
    assert line.startswith("WebSocket / for 0.0 s")
    harness.close()
