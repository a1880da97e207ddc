"""How a connection over TLS ends: it has no half-close, and is over when the client has answered close_notify."""

from __future__ import annotations

from tests.http1.apps import answer
from tests.http1.conftest import Serve
from tests.scripted import Client, get
from uvicorn_worker.core.asgi import Receive, Scope, Send


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"x" * 100_000)


def connect(serve: Serve) -> Client:
    return serve(large).connect(sslcontext=object(), half_close=False)


def test_an_answer_that_closes_the_connection_ends_with_a_close(serve: Serve) -> None:
    client = connect(serve).send(get("/", "Host: twice"))
    assert client.response().status == 400
    # What the client still sends is read for a while.
    assert not client.transport.is_closing()
    client.harness.tick(10)
    assert client.transport.lost
    assert "abort" not in client.transport.calls


def test_a_slow_client_is_waited_for(serve: Serve) -> None:
    client = connect(serve).stall().send(get("/", "Connection: close"))
    assert client.transport.is_closing()
    client.harness.tick(10)
    assert not client.transport.lost
    client.drain()
    assert client.transport.lost
    assert "abort" not in client.transport.calls


def test_a_client_that_takes_nothing_is_cut(serve: Serve) -> None:
    client = connect(serve).stall().send(get("/", "Connection: close"))
    client.harness.tick(120)
    assert client.transport.lost
    assert "abort" in client.transport.calls
