"""Scopes and events are held to asgiref's own types, on HTTP/1.1 and HTTP/2, for HTTP and WebSocket.

ASGI, "Applications": "scope: the connection scope information, a dictionary that contains at least a type key"; each
protocol's keys are those of the types.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref import typing as asgi

from tests.http1.apps import Recorder, answer, read_body
from tests.http2.wire import Client as Wire
from tests.scripted import Harness, post
from tests.websocket.wire import close, handshake, text
from uvicorn_worker.core.asgi import Receive, Scope, Send


def conforms(value: Any, kind: Any, where: str) -> None:
    """Fail where a value is not of the type; it has no key that the type does not know."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if typing.is_typeddict(kind):
        assert type(value) is dict, where
        known = typing.get_type_hints(kind)
        # Only `state` may be left out, where a server does not know it.
        assert set(value) == set(known), f"{where}: {set(value) ^ set(known)}"
        for name, inner in known.items():
            conforms(value[name], inner, f"{where}.{name}")
    elif origin is typing.Literal:
        assert value in arguments, where
    elif origin in (typing.Union, types.UnionType):
        for each in arguments:
            try:
                conforms(value, each, where)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{where} = {value!r} is none of {kind}")
    elif origin is tuple:
        assert isinstance(value, tuple), where
        assert len(value) == len(arguments), where
        for part, inner in zip(value, arguments, strict=True):
            conforms(part, inner, where)
    elif origin is dict:
        assert type(value) is dict, where
        for key, inner in value.items():
            conforms(key, arguments[0], where)
            conforms(inner, arguments[1], f"{where}[{key!r}]")
    elif origin is collections.abc.Iterable:
        for part in value:
            conforms(part, arguments[0], where)
    elif kind not in (Any, object):
        assert isinstance(value, type(None) if kind is None else kind), f"{where} = {value!r}"


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


@pytest.fixture(params=["1.0", "1.1", "2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recorder() -> Iterator[tuple[Recorder, Harness]]:
    seen = Recorder(app)
    harness = Harness(seen, http2="on", asgi_spec_version="2.5")
    yield seen, harness
    harness.close()


def test_http(recorder: tuple[Recorder, Harness], version: str) -> None:
    seen, harness = recorder
    client = harness.connect()
    if version == "2":
        wire = Wire()
        client.send(wire.preface() + wire.post(b"body", b"/a%20b?q"))
    else:
        client.send(post(b"body", target="/a%20b?q", version=version))
    conforms(seen.scope, asgi.HTTPScope, "scope")
    assert seen.scope["http_version"] == version
    assert seen.scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    body, *disconnects = seen.received
    conforms(body, asgi.HTTPRequestEvent, "http.request")
    assert len(disconnects) == 2
    for event in disconnects:
        conforms(event, asgi.HTTPDisconnectEvent, "http.disconnect")
    assert seen.raised == []


def test_websocket(recorder: tuple[Recorder, Harness]) -> None:
    seen, harness = recorder
    harness.connect().send(handshake("/", "Sec-WebSocket-Protocol: a, b"), text("hello"), close(1000, "bye"))
    conforms(seen.scope, asgi.WebSocketScope, "scope")
    assert set(seen.scope["extensions"]) == {"websocket.http.response"}
    assert seen.scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    connect, message, end = seen.received
    conforms(connect, asgi.WebSocketConnectEvent, "websocket.connect")
    # "bytes: Optional; if missing, it is equivalent to None".
    conforms({"bytes": None, **message}, asgi.WebSocketReceiveEvent, "websocket.receive")
    conforms(end, asgi.WebSocketDisconnectEvent, "websocket.disconnect")


def test_a_denied_websocket(recorder: tuple[Recorder, Harness]) -> None:
    """The extension websocket.http.response: its messages "match the http.response.start and http.response.body"."""
    seen, harness = recorder

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
