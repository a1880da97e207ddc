"""Fields of responses that are kept for equal ones: whoever gets them sees what he would see without."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import body, respond, start
from tests.http2.conftest import Converse
from uvicorn_worker.core.asgi import Receive, Scope, Send

FIELDS: dict[str, Any] = {
    "none": [],
    "plain": [(b"content-type", b"text/plain"), (b"content-length", b"2")],
    "no length": [(b"content-type", b"text/plain")],
    "another length": [(b"content-type", b"text/plain"), (b"content-length", b"2"), (b"Content-Length", b"02")],
    "its own date": [(b"date", b"now"), (b"Server", b"own")],
    "of a connection": [(b"connection", b"close"), (b"x", b"y")],
    "lists": [[b"a", b"b"], [b"content-length", b"2"]],
    "a tuple": ((b"a", b"b"),),
    "spaces": [(b"X-Own", b" v ")],
    "text": [("Content-Type", "text/plain"), (b"content-length", "2"), ["Server", b"own"]],
    "long": [(b"x-%d" % number, b"y" * 100) for number in range(20)],
}


def application(status: int, headers: Any) -> Any:
    return respond(start(status, headers), body(b"ok"))


@pytest.mark.parametrize("before", FIELDS)
@pytest.mark.parametrize("name", FIELDS)
def test_what_came_before_does_not_show(talk: Converse, before: str, name: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await application(200, FIELDS[scope["path"][1:].replace("_", " ")])(scope, receive, send)

    def path(which: str) -> bytes:
        return b"/" + which.replace(" ", "_").encode()

    alone = talk(app, date_header=False).get(path(name))
    connection = talk(app, date_header=False)
    for _ in range(2):
        connection.get(path(before))
    for _ in range(2):
        got = connection.get(path(name))
        assert (got.fields, got.body) == (alone.fields, alone.body)


def test_text_is_as_bytes_are(talk: Converse) -> None:
    headers = [("Content-Type", "text/plain"), ("Content-Length", "2"), (b"X-Own", bytearray(b"v")), ("Server", "own")]
    in_bytes = [(b"content-type", b"text/plain"), (b"content-length", b"2"), (b"x-own", b"v"), (b"server", b"own")]
    got = [talk(application(200, each), date_header=False).get() for each in (headers, in_bytes)]
    assert got[0].fields == got[1].fields
    assert got[0].body == b"ok"


@pytest.mark.parametrize("headers", [[("x-a", "b\r\nx-b: c")], [("x-a", "\u20ac")], [("x-a", 1)]])
def test_what_is_none_is_refused(talk: Converse, headers: Any) -> None:
    assert talk(application(200, headers)).get().status == 500


@pytest.mark.parametrize("status", [200, 204, 304, 404])
def test_whatever_the_status(talk: Converse, status: int) -> None:
    first = talk(application(status, FIELDS["plain"]), date_header=False)
    seen = [first.get().fields for _ in range(3)]
    assert seen == [seen[0]] * 3
    assert (b"content-length", b"2") in seen[0] or status == 204


def test_a_list_that_the_application_changes_is_another_one(talk: Converse) -> None:
    headers = [(b"a", b"1")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=headers))
        headers[0] = (b"a", b"%d" % (int(headers[0][1]) + 1))
        await send(body(b"x"))

    connection = talk(app)
    assert [connection.get().get(b"a") for _ in range(4)] == [b"1", b"2", b"3", b"4"]


def test_what_applications_make_up_does_not_add_up(talk: Converse) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(headers=[(b"x-id", scope["raw_path"])]))
        await send(body(b"x"))

    connection = talk(app)
    for number in range(300):
        assert connection.get(b"/%d" % number).get(b"x-id") == b"/%d" % number
    prepared = connection.connection.protocol.prepared  # type: ignore[attr-defined]
    assert len(prepared._heads) == 128
    connection.harness.runtime.defaults.lines = b"x-b: 2\r\n"
    assert connection.get(b"/1").get(b"x-b") == b"2"
    assert len(prepared._heads) == 1
