"""Scopes and events are held to asgiref's own types, on HTTP/1.1 and HTTP/2, for HTTP and WebSocket.

ASGI, "Applications": "scope: the connection scope information, a dictionary that contains at least a type key"; each
protocol's keys are those of the types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref import typing as asgi

from tests.asgi_types import conforms
from tests.http1.apps import Recorder, answer, read_body
from tests.http2.conftest import ENGINES, Talk
from tests.http2.wire import Client as Wire
from tests.scripted import PARSERS, Harness, post
from tests.websocket.wire import binary, close, handshake, text
from uvicorn_worker.core.asgi import Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await read_body(receive)
        await answer(send)
        # "Sent to the application if receive is called after a response has been sent", once and again.
        assert await receive() == await receive() == {"type": "http.disconnect"}
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


Begin = Callable[..., tuple[Recorder, Harness]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """A recorder and a server for it: `begin(**options)`."""
    started: list[Harness] = []

    def begin(**options: Any) -> tuple[Recorder, Harness]:
        seen = Recorder(app)
        started.append(Harness(seen, **{"http2": "on", "asgi_spec_version": "2.5", **options}))
        return seen, started[-1]

    yield begin
    for harness in started:
        harness.close()


@pytest.mark.parametrize(
    ("version", "options"),
    [
        *(pytest.param(version, {"http": parser}) for version in ("1.0", "1.1") for parser in PARSERS),
        *(pytest.param("2", {"http2_engine": engine}) for engine in ENGINES),
    ],
    ids=str,
)
def test_http(begin: Begin, version: str, options: dict[str, str]) -> None:
    parser = options.get("http", PARSERS[0])
    seen, harness = begin(parser=parser, **{name: value for name, value in options.items() if name != "http"})
    client = harness.connect()
    if version == "2":
        wire = Wire()
        client.send(wire.preface() + wire.post(b"body", b"/a%20b?q"))
    else:
        client.send(post(b"body", target="/a%20b?q", version=version))
    conforms(seen.scope, asgi.HTTPScope, "scope")
    assert seen.scope["http_version"] == version
    assert seen.scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (seen.scope["path"], seen.scope["raw_path"], seen.scope["query_string"]) == ("/a b", b"/a%20b", b"q")
    body, *disconnects = seen.received
    conforms(body, asgi.HTTPRequestEvent, "http.request")
    assert len(disconnects) == 2
    for event in disconnects:
        conforms(event, asgi.HTTPDisconnectEvent, "http.disconnect")
    assert seen.raised == []


def test_a_client_that_leaves_in_its_body(begin: Begin) -> None:
    seen, harness = begin()
    seen.app = leaves
    harness.connect().send(post(b"12345")[:-1]).leave()
    first, *others = seen.received
    conforms(first, asgi.HTTPRequestEvent, "http.request")
    # Once and again.
    assert others == [{"type": "http.disconnect"}] * 2


async def leaves(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    await receive()


def held_to_the_types(seen: Recorder, version: str) -> None:
    """What an application has seen of a WebSocket over which a text and bytes came."""
    conforms(seen.scope, asgi.WebSocketScope, "scope")
    assert seen.scope["http_version"] == version
    assert seen.scope["subprotocols"] == ["a", "b"]
    assert set(seen.scope["extensions"]) == {"websocket.http.response"}
    assert seen.scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    connect, as_text, as_bytes, end = seen.received
    conforms(connect, asgi.WebSocketConnectEvent, "websocket.connect")
    # "bytes: Optional; if missing, it is equivalent to None", and so is text.
    conforms({"bytes": None, **as_text}, asgi.WebSocketReceiveEvent, "websocket.receive")
    conforms({"text": None, **as_bytes}, asgi.WebSocketReceiveEvent, "websocket.receive")
    conforms(end, asgi.WebSocketDisconnectEvent, "websocket.disconnect")
    assert (end["code"], end["reason"]) == (1000, "bye")
    assert seen.raised == []


@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_websocket(begin: Begin, parser: str) -> None:
    seen, harness = begin(parser=parser)
    fields = handshake("/", "Sec-WebSocket-Protocol: a, b")
    harness.connect().send(fields, text("hello"), binary(b"hello"), close(1000, "bye"))
    held_to_the_types(seen, "1.1")


@pytest.mark.parametrize("engine", ENGINES)
def test_websocket_over_http2(begin: Begin, engine: str) -> None:
    """RFC 8441; ASGI knows no other scope for it."""
    seen, harness = begin(http2_engine=engine)
    talk = Talk(harness)
    fields = ((b"sec-websocket-version", b"13"), (b"sec-websocket-protocol", b"a, b"))
    pseudo = talk.wire.request_fields(b"/", *fields, method=b"CONNECT")
    talk.send(talk.wire.headers(1, [(b":protocol", b"websocket"), *pseudo], end=False))
    talk.send(*(talk.wire.data(1, data) for data in (text("hello"), binary(b"hello"), close(1000, "bye"))))
    held_to_the_types(seen, "2")


def test_a_denied_websocket(begin: Begin) -> None:
    """The extension websocket.http.response: its messages "match the http.response.start and http.response.body"."""
    seen, harness = begin()

    async def deny(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"b")]})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    seen.app = deny
    client = harness.connect().send(handshake())
    assert (client.response().status, client.response().body) == (401, b"no")


def test_the_judge_sees_what_is_wrong() -> None:
    good: Any = {"type": "http.request", "body": b"", "more_body": False}
    conforms(good, asgi.HTTPRequestEvent, "")
    for wrong in ({**good, "body": ""}, {**good, "more": 1}, {"type": "http.request"}, {**good, "type": "http"}):
        with pytest.raises(AssertionError):
            conforms(wrong, asgi.HTTPRequestEvent, "")
