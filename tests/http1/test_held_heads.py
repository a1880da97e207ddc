"""The head of a response does not wait for its body longer than to the end of the loop's turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.http1.apps import Gate, body, respond, start
from tests.http1.conftest import Connect, Serve
from tests.scripted import Client, get, parse_responses
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send


def begun_with(*events: Any) -> tuple[ASGIApp, Gate]:
    """An application that sends a head, and the rest when the gate is opened."""
    gate = Gate(respond(*events))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/later":
            await asyncio.sleep(0)
        await send(start(200, scope["state"]["headers"]))
        await gate(scope, receive, send)

    return app, gate


def ask(serve: Serve, app: ASGIApp, request: bytes, headers: Any = ()) -> Client:
    harness = serve(app)
    harness.runtime.state["headers"] = list(headers)
    return harness.connect().send(request)


def go_on(client: Client, gate: Gate) -> None:
    client.harness.inside(gate.open)
    client.harness.settle()


@pytest.mark.parametrize("path", ["/", "/later"])
class TestAlone:
    def test_in_chunks(self, serve: Serve, path: str) -> None:
        app, gate = begun_with(body(b"hello"))
        client = ask(serve, app, get(path))
        (head,) = parse_responses(client.transport.output)
        assert (head.status, head.framing, head.complete) == (200, "chunked", False)
        go_on(client, gate)
        assert client.response().body == b"hello"
        assert client.open
        assert client.send(get(path)).open

    def test_with_a_length(self, serve: Serve, path: str) -> None:
        app, gate = begun_with(body(b"he", more=True), body(b"llo"))
        client = ask(serve, app, get(path), [(b"content-length", b"5")])
        (head,) = parse_responses(client.transport.output)
        assert (head.framing, head.complete) == ("length", False)
        go_on(client, gate)
        assert client.response().body == b"hello"

    def test_where_the_body_ends_with_the_connection(self, serve: Serve, path: str) -> None:
        app, gate = begun_with(body(b"hello"))
        client = ask(serve, app, get(path, version="1.0"))
        assert client.transport.output.startswith(b"HTTP/1.1 200 OK\r\n")
        go_on(client, gate)
        assert client.response().body == b"hello"
        assert client.closed

    def test_a_connection_of_http_1_0_is_not_given_up_for_it(self, serve: Serve, path: str) -> None:
        app, gate = begun_with(body(b"hello"))
        client = ask(serve, app, get(path, "Connection: keep-alive", version="1.0"))
        assert client.transport.output == b""
        go_on(client, gate)
        assert client.response().get("content-length") == "5"
        assert client.open

    def test_of_head(self, serve: Serve, path: str) -> None:
        app, gate = begun_with(body(b"hello"))
        client = ask(serve, app, get(path, method="HEAD"))
        assert client.transport.output.endswith(b"\r\n\r\n")
        go_on(client, gate)
        assert client.response("HEAD").body == b""
        assert client.open

    def test_an_application_that_fails_then_is_cut(self, serve: Serve, path: str) -> None:
        async def fails(scope: Scope, receive: Receive, send: Send) -> None:
            raise ValueError("a mistake")

        app, gate = begun_with()
        gate.app = fails
        client = ask(serve, app, get(path))
        go_on(client, gate)
        (response,) = parse_responses(client.transport.output, ended=True)
        assert (response.status, response.complete) == (200, False)
        assert client.closed


class TestTogether:
    @pytest.mark.parametrize("turns", [0, 1])
    def test_what_follows_in_the_same_turn_leaves_with_it(self, connect: Connect, turns: int) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await send(start())
            await send(body(b"hello"))

        client = connect(app).send(get())
        assert len(client.transport.writes) == 1
        assert client.response().get("content-length") == "5"

    def test_many_of_one_turn_have_one_callback(self, serve: Serve) -> None:
        app, _ = begun_with()
        harness = serve(app)
        harness.runtime.state["headers"] = []
        clients = [harness.connect() for _ in range(10)]
        calls: list[Any] = []
        call_soon = harness.loop.call_soon

        def watched(callback: Any, *args: Any, **kwargs: Any) -> asyncio.Handle:
            calls.append(getattr(callback, "__name__", ""))
            return call_soon(callback, *args, **kwargs)

        harness.loop.call_soon = watched  # type: ignore[method-assign,assignment]

        def all_at_once() -> None:
            for client in clients:
                client.transport.deliver(get())

        harness.inside(all_at_once)
        harness.settle()
        assert calls.count("flush_heads") == 1
        assert all(client.transport.output.startswith(b"HTTP/1.1 200 OK") for client in clients)

    def test_a_client_that_has_left_by_then(self, connect: Connect) -> None:
        gate = Gate()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await gate.wait()

        client = connect(app)
        client.push(get())
        client.transport.leave()
        client.harness.settle()
        assert client.transport.output == b""
