"""A client that sends the same fields again: each request is served as the first one was, however it was read.

What is remembered from one request for the next must never show: these tests compare with a connection that has
seen nothing before.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import Recorder, answer, echo
from tests.http1.conftest import Serve
from tests.scripted import get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

FIELDS = ("Accept: */*", "User-Agent: test", "Cookie: a=b")

# Requests of which each may come before each.
REQUESTS = {
    "plain": get("/1"),
    "fields": get("/2?q", *FIELDS),
    "head": get("/3", method="HEAD"),
    "delete": get("/4", method="DELETE"),
    "post": post(b"12345"),
    "empty post": post(b""),
    "absolute": get("http://other.example/6"),
    "asterisk": get("*", method="OPTIONS"),
    "http10": get("/7", "Connection: keep-alive", version="1.0"),
    "upgrade": get("/8", "Connection: Upgrade", "Upgrade: foo"),
    "encoded": get("/9%20%C3%A9"),
    "expect": get("/10", "Expect: 100-continue"),
    "other host": get("/11").replace(b"example.org", b"example.net"),
    "options": get("/12", "Origin: http://x", method="OPTIONS"),
}
LAST = {
    **REQUESTS,
    "close": get("/20", "Connection: close"),
    "fragment": get("/#x"),
    "two hosts": get("/", "Host: example.org"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "connect": get("example.org:443", method="CONNECT"),
    "control": get("/\x01"),
    "not ascii": get("/\xe9"),
    "space": get("/a b"),
    "quote": get('/"'),
    "version": get(version="1.2"),
    "lower case": get(method="get"),
    "bare LF": b"GET /x HTTP/1.1\nHost: example.org\r\n\r\n",
    # The line and the fields of one before, with anything but a line end between them.
    "two bare LFs": get("/1").replace(b"\r\n", b"\n\n", 1),
    "no line end": get("/1").replace(b"\r\n", b"xx", 1),
    "half a line end": get("/1").replace(b"\r\n", b" \n", 1),
}


def served(serve: Serve, *pieces: bytes, **options: Any) -> tuple[Any, bytes]:
    """The scopes of what is served, and what is written."""
    recorder = Recorder(echo)
    client = serve(recorder, date_header=False, **options).connect().send(*pieces)
    scopes = [{name: scope[name] for name in scope if name != "state"} for scope in recorder.scopes]
    return scopes, client.take()


def answers(serve: Serve, *pieces: bytes) -> list[bytes | None]:
    """The bodies of the answers, in which the application shows what it was asked; None for a refusal."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        event = await receive()
        while event.get("more_body"):
            event = await receive()
        if event["type"] == "http.request":
            await answer(send, repr((scope["method"], scope["path"], scope["headers"])).encode())

    client = serve(app).connect().send(*pieces)
    return [response.body if response.status == 200 else None for response in client.responses()]


@pytest.mark.parametrize("before", REQUESTS)
@pytest.mark.parametrize("last", LAST)
def test_what_came_before_does_not_show(serve: Serve, before: str, last: str) -> None:
    first, request = REQUESTS[before], LAST[last]
    # Of the second request something is remembered, and the third is taken by it.
    before_alone, before_written = served(serve, first, first, first)
    alone, written = served(serve, request)
    assert served(serve, first, first, first, request) == (before_alone + alone, before_written + written)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_each_time_is_as_the_first(serve: Serve, request_: bytes) -> None:
    scopes, written = served(serve, request_)
    assert served(serve, *[request_] * 5) == (scopes * 5, written * 5)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_also_behind_a_root_path(serve: Serve, request_: bytes) -> None:
    scopes, written = served(serve, request_, root_path="/r\xe9")
    assert served(serve, *[request_] * 3, root_path="/r\xe9") == (scopes * 3, written * 3)


def test_a_scope_that_the_application_changes_does_not_show_in_the_next(serve: Serve) -> None:
    recorder = Recorder()
    client = serve(recorder).connect()
    for _ in range(4):
        client.send(get("/", *FIELDS))
        assert len(recorder.scopes[-1]["headers"]) == 4
        recorder.scopes[-1]["headers"].clear()
        recorder.scopes[-1].clear()


def test_each_request_has_a_state_of_its_own(serve: Serve) -> None:
    recorder = Recorder()
    harness = serve(recorder)
    harness.runtime.state = {"a": 1}
    client = harness.connect()
    for _ in range(4):
        client.send(get())
        assert recorder.scopes[-1]["state"] == {"a": 1}
        recorder.scopes[-1]["state"]["b"] = 2


# What a read may end with that is not the end of a request.
BEGINNINGS = {
    "a letter": b"G",
    "a method": b"GET ",
    "a target": b"GET /x",
    "a line": b"GET /x HTTP/1.1\r\n",
    "a field": b"GET /x HTTP/1.1\r\nX: ",
    "fields": b"GET /x HTTP/1.1\r\nHost: a\r\n",
    "a length": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n",
    "chunks": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a chunk": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("history", range(6))
@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
@pytest.mark.parametrize("behind", [b"", get("/1")], ids=["alone", "behind another"])
def test_a_read_that_looks_like_a_request_belongs_to_what_began_before(
    serve: Serve, beginning: bytes, behind: bytes, history: int
) -> None:
    before = [get(f"/{number}", f"X-{number}: y") for number in range(history)] + [get("/last")]
    pieces = [*before, behind + beginning, get("/2")]
    assert answers(serve, *pieces) == answers(serve, b"".join(pieces))


@pytest.mark.parametrize("request_", LAST.values(), ids=LAST)
def test_nothing_shows_of_a_time_of_idleness(serve: Serve, request_: bytes) -> None:
    def served_after(idle: bool) -> tuple[Any, bytes]:
        recorder = Recorder(echo)
        harness = serve(recorder, date_header=False)
        client = harness.connect().send(get("/1", *FIELDS), get("/2", *FIELDS))
        reader = client.protocol.reader  # type: ignore[attr-defined]
        parser = reader.parser
        if idle:
            # Half a second before the connection is too old for it.
            client.protocol.on_tick(harness.runtime.tick)  # type: ignore[attr-defined]
            assert reader.parser is not parser
            assert reader.repeated is None
        client.send(request_)
        return [{name: scope[name] for name in scope if name != "state"} for scope in recorder.scopes], client.take()

    assert served_after(True) == served_after(False)


@pytest.mark.parametrize("begun", [b"G", b"FOO", b"GET /half", b"\r\n"])
def test_what_has_begun_is_no_idleness(serve: Serve, begun: bytes) -> None:
    harness = serve(Recorder(echo))
    client = harness.connect().send(get(), begun)
    parser = client.protocol.reader.parser  # type: ignore[attr-defined]
    client.protocol.on_tick(harness.runtime.tick)  # type: ignore[attr-defined]
    assert client.protocol.reader.parser is parser  # type: ignore[attr-defined]
