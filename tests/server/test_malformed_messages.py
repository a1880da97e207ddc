"""ASGI messages that are none: one error says which message, and which key of it, and the client has a 500."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.http2.wire import Client as Http2Client
from tests.scripted import get
from tests.server.running import App, Running
from tests.sockets import Run
from tests.websocket.wire import handshake
from uvicorn_worker.core.asgi import Receive, Scope, Send

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"ok"}
ACCEPT: dict[str, Any] = {"type": "websocket.accept"}
Errors = Callable[[], list[str]]


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Errors:
    """What the log says that the application has raised."""
    return lambda: [
        str(record.exc_info[1])
        for record in caplog.records
        if record.name == "uvicorn.error" and record.levelno >= logging.ERROR and record.exc_info
    ]


def sends(*messages: Any) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)

    return App(app)


async def status_of(app: App, http: str) -> int:
    options: dict[str, Any] = {"http2": "on"} if http == "2" else {"http": http}
    async with Running(app, **options) as running:
        if http != "2":
            return (await (await running.ask(get("/", "Connection: close"))).response()).status
        client = Http2Client()
        peer = await running.ask(client.preface() + client.request(b"/"))
        while 1 not in client.streams or not client.streams[1].ended:
            client.receive(await peer.reader.read(65536))
        return client.streams[1].status


HTTP = [
    ([{"type": "http.response.start", "headers": []}], "the ASGI message 'http.response.start' has no status"),
    ([{**START, "status": "200"}], "status of http.response.start must be an integer from 100 to 999, not '200'"),
    ([{**START, "status": 200.5}], "status of http.response.start must be an integer from 100 to 999, not 200.5"),
    ([{**START, "headers": None}], "response headers must be pairs of bytes, not None"),
    ([{**START, "headers": 5}], "response headers must be pairs of bytes, not 5"),
    ([{**START, "headers": [(b"a", None)]}], "response headers must be pairs of bytes, not (b'a', None)"),
    ([{"status": 200}], "an ASGI message has no type"),
    ([None], "an ASGI message must be a dictionary, not None"),
    (["http.response.start"], "an ASGI message must be a dictionary, not 'http.response.start'"),
    ([START, {**BODY, "body": "ok"}], "body of http.response.body must be bytes, not str"),
    ([{"type": "http.response.early_hint"}], "the ASGI message 'http.response.early_hint' has no links"),
    (
        [{"type": "http.response.early_hint", "links": ["a"]}],
        "links of http.response.early_hint must be bytes, not ['a']",
    ),
    ([{"type": "http.response.informational"}], "the ASGI message 'http.response.informational' has no status"),
    (
        [{"type": "http.response.informational", "status": 200}],
        "status of http.response.informational must be 100 or from 102 to 199, not 200",
    ),
    ([START, {"type": "http.response.pathsend"}], "the file None of http.response.pathsend can't be opened: "),
    ([START, {"type": "http.response.zerocopysend"}], "the file of http.response.zerocopysend has no open descriptor"),
]


@pytest.mark.parametrize("http", ["httptools", "h11", "2"])
@pytest.mark.parametrize(("messages", "says"), HTTP)
def test_of_a_response(run: Run, errors: Errors, http: str, messages: list[Any], says: str) -> None:
    if http == "httptools":
        pytest.importorskip("httptools")
    assert run(status_of(sends(*messages), http)) == 500
    (said,) = errors()
    assert said.startswith(says)


@pytest.mark.parametrize("http", ["httptools", "h11", "2"])
@pytest.mark.parametrize("messages", [[{**START, "status": 200.0}, BODY], [START, {**BODY, "body": None}]])
def test_what_uvicorn_takes(run: Run, errors: Errors, http: str, messages: list[Any]) -> None:
    if http == "httptools":
        pytest.importorskip("httptools")
    assert run(status_of(sends(*messages), http)) == 200
    assert errors() == []


WEBSOCKET = [
    ([{**ACCEPT, "subprotocol": b"chat"}], 500, "subprotocol of websocket.accept must be text, not b'chat'"),
    ([{**ACCEPT, "headers": 5}], 500, "response headers must be pairs of bytes, not 5"),
    ([{"text": "a"}], 500, "an ASGI message has no type"),
    ([{"type": "websocket.http.response.start"}], 500, "the ASGI message 'http.response.start' has no status"),
    ([ACCEPT, None], 101, "an ASGI message must be a dictionary, not None"),
    ([ACCEPT, {"type": "websocket.send", "text": 5}], 101, "websocket.send must have text, or bytes"),
    (
        [ACCEPT, {"type": "websocket.close", "code": "1000"}],
        101,
        "code and reason of websocket.close must be a number and text, not '1000' and ''",
    ),
    (
        [ACCEPT, {"type": "websocket.close", "reason": b"bye"}],
        101,
        "code and reason of websocket.close must be a number and text, not 1000 and b'bye'",
    ),
    # Nothing is sent, as with uvicorn.
    ([ACCEPT, {"type": "websocket.send", "text": None}, {"type": "websocket.close", "code": None}], 101, None),
]


@pytest.mark.parametrize(("messages", "status", "says"), WEBSOCKET)
def test_of_a_websocket(run: Run, errors: Errors, messages: list[Any], status: int, says: str | None) -> None:
    async def main() -> None:
        async with Running(sends(*messages), ws_close_timeout=0) as running:
            peer = await running.ask(handshake())
            assert (await peer.reader.readline()).split()[1] == b"%d" % status
            if status == 101:
                await peer.reader.readuntil(b"\r\n\r\n")
                # A close frame, and nothing before it.
                frame = await peer.reader.readexactly(2)
                assert frame[0] == 0x88
                if says is not None:
                    assert int.from_bytes(await peer.reader.readexactly(2), "big") == 1011

    run(main())
    assert errors() == ([] if says is None else [says])


def test_of_a_lifespan(run: Run, errors: Errors) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"message": "none"})

    async def main() -> None:
        async with Running(app):
            pass

    run(main())
