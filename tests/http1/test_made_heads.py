"""Heads that are made once for equal responses: whoever gets one sees what he would see without."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.conftest import Connect
from tests.scripted import Client, get
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http1 import cycle

TYPE = (b"content-type", b"text/plain")


def length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size)


# Fields of the response and pieces of its body.
RESPONSES: dict[str, tuple[int, Any, list[bytes]]] = {
    "plain": (200, [TYPE, length(2)], [b"ok"]),
    "empty": (404, [length(0)], [b""]),
    "no length": (200, [TYPE], [b"ok"]),
    "pieces": (200, [TYPE, length(4)], [b"ab", b"cd"]),
    "its own date": (200, [TYPE, length(2), (b"date", b"now")], [b"ok"]),
    "close": (200, [TYPE, length(2), (b"connection", b"close")], [b"ok"]),
    "no content": (204, [TYPE], [b""]),
    "not modified": (304, [TYPE, length(2)], [b""]),
    "large": (200, [TYPE, length(20000)], [b"x" * 20000]),
    "too short": (200, [TYPE, length(3)], [b"ok"]),
    "a tuple": (200, (TYPE, length(2)), [b"ok"]),
    "lists": (200, [list(TYPE), list(length(2))], [b"ok"]),
    "unknown status": (299, [TYPE, length(2)], [b"ok"]),
    "many fields": (200, [(b"x-%d" % number, b"y" * 100) for number in range(20)] + [length(2)], [b"ok"]),
}
REQUESTS = {
    "get": get(),
    "head": get(method="HEAD"),
    "http/1.0": b"GET / HTTP/1.0\r\nhost: x\r\n\r\n",
    "http/1.0 that keeps": b"GET / HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n",
    "close": get("/", "Connection: close"),
    "with a body to come": get("/", "Content-Length: 5", method="POST"),
}


def application(status: int, fields: Any, pieces: list[bytes]) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": fields})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    return app


def answers(client: Client, request: bytes) -> tuple[bytes, list[str], bool]:
    client.send(request)
    return bytes(client.take()), client.transport.calls, client.closed


def next_fields(client: Client, path: str, name: str) -> list[str]:
    client.take()
    return client.send(get(path)).response().get_all(name)


@pytest.mark.parametrize("response_name", RESPONSES)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_the_second_response_is_the_first(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, response_name: str, request_name: str
) -> None:
    monkeypatch.setattr("uvicorn_worker.core.default_lines.date_line", lambda now: b"date: then\r\n")
    app = application(*RESPONSES[response_name])
    first = connect(app)
    # A plain request has the head made.
    first.harness.connect().send(get())
    again = answers(first, REQUESTS[request_name])
    monkeypatch.setattr(cycle, "MOST_HEADS", 0)
    assert again == answers(connect(app), REQUESTS[request_name])


def test_a_list_that_changes_is_another_head(connect: Connect) -> None:
    fields = [TYPE, length(2)]
    client = connect(application(200, fields, [b"ok"]))
    for number in range(3):
        fields.append((b"x-number", b"%d" % number))
        assert next_fields(client, "/", "x-number") == [str(each) for each in range(number + 1)]


def test_the_date_changes(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(application(*RESPONSES["plain"]))
    client.send(get(), get()).take()
    monkeypatch.setattr("uvicorn_worker.core.default_lines.date_line", lambda now: b"date: later\r\n")
    client.harness.runtime.defaults.refresh()
    for _ in range(2):
        assert next_fields(client, "/", "date") == ["later"]


def test_one_that_drains_says_so(connect: Connect) -> None:
    client = connect(application(*RESPONSES["plain"]))
    client.send(get(), get()).take()
    client.harness.runtime.draining = True
    assert next_fields(client, "/", "connection") == ["close"]


def test_no_more_are_made_than_there_is_room_for(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        fields = [length(2), (b"x-path", scope["raw_path"])]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"ok"})

    client = connect(app)
    for number in range(cycle.MOST_HEADS + 10):
        assert next_fields(client, f"/{number}", "x-path") == [f"/{number}"]
    assert len(client.harness.runtime.defaults.heads) == cycle.MOST_HEADS
