"""How a connection over TLS ends: it has no half-close, and is over when the client has answered close_notify."""

from __future__ import annotations

import pytest

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


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"no", 401)


SIZE = 1_000_000


@pytest.mark.parametrize("first", [0, 100, 50_000, SIZE - 1, SIZE], ids="{} with the head".format)
@pytest.mark.parametrize("options", [{}, {"limit_request_body": 1000}], ids=["401", "413"])
@pytest.mark.parametrize("before", [0, 3])
def test_a_body_that_nobody_wants_is_waited_for_and_no_longer(
    serve: Serve, first: int, options: dict[str, int], before: int
) -> None:
    """PHP's streams read to the end of the connection, and had to wait for some five seconds."""
    harness = serve(refusing, **options)
    for _ in range(before):
        harness.connect().send(get("/", "Content-Type: text/plain", "Content-Length: 0", method="POST"))
    client = harness.connect(sslcontext=object(), half_close=False)
    head = get("/", "Content-Type: text/plain", f"Content-Length: {SIZE}", "Connection: close", method="POST")
    client.send(head + b"x" * first)
    assert client.response().status == (413 if options else 401)
    sent = first
    while sent < SIZE:
        assert not client.transport.is_closing()
        size = min(250_000, SIZE - sent)
        client.send(b"x" * size)
        sent += size
    assert client.transport.lost
    assert "abort" not in client.transport.calls


@pytest.mark.parametrize("start", [b"\r\n\r\n", get("/1"), b"GET /1 HTTP/1.1\r\nHost: a\r\n"])
def test_it_is_not_counted_too_early(serve: Serve, start: bytes) -> None:
    """Where it is not sure where the body begins, the client has the time that others have."""
    client = serve(refusing, limit_request_body=1000).connect(sslcontext=object(), half_close=False)
    head = get("/", f"Content-Length: {SIZE}", method="POST")
    if start.endswith(b"a\r\n"):
        client.send(start)
        head = b"Content-Length: %d\r\n\r\n" % SIZE
        start = b""
    client.send(start + head + b"x" * (SIZE - 100))
    assert client.responses()[-1].status == 413
    assert not client.transport.is_closing()
    client.send(b"x" * 100)
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
