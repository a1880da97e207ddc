"""A client that sends the same fields again: each request is served as the first one was, however it was read.

What is remembered from one request for the next must never show: these tests compare with a connection that has
seen nothing before.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, echo
from tests.http1.conftest import Serve
from tests.scripted import get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http1.known_heads import KnownHeads

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


@pytest.mark.one_of(5)
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


# Reads of several requests, behind reads of which something may be remembered.
SEVERAL = {
    "the same": get("/1") * 4,
    "other targets": get("/1") + get("/2") + get("/9%20%C3%A9") + get("/1?q"),
    "a head": get("/1") + get("/2", method="HEAD") + get("/3"),
    "one with more fields": get("/1") + get("/2", *FIELDS) + get("/3"),
    "more fields before": get("/1") + get("/2").replace(b"\r\n", b"\r\nX: y\r\n", 1),
    "a post": get("/1") + post(b"12345") + get("/3"),
    "a post that looks like a line": post(b"GET /x HTTP/1.1") + get("/3"),
    "a post that ends within a line": post(b"GET /x HTTP/1.1\r\n") + get("/3"),
    "a post that ends with a request": post(b"12345" + get("/1")),
    "an end": get("/1") + get("/2", "Connection: close") + get("/3"),
    "an end at last": get("/1") + get("/2", "Connection: close"),
    "http10": get("/1") + get("/2", version="1.0") + get("/3"),
    "http12": get("/1") + get("/2", version="1.2") + get("/3"),
    "absolute": get("/1") + get("http://other.example/6") + get("/3"),
    "a strange target": get("/1") + get('/"') + get("/3"),
    "upgrade": get("/1") + get("/8", "Connection: Upgrade", "Upgrade: foo") + get("/3"),
    "an unknown method": get("/1") + get("/2", method="FOO") + get("/3"),
    "not whole": get("/1") + get("/2") + get("/3")[:-1],
    "a letter behind": get("/1") + get("/2") + b"G",
    "an empty line between": get("/1") + b"\r\n" + get("/2"),
    "no line end": get("/1") + get("/2").replace(b"\r\n", b"xx", 1) + get("/3"),
    "line feeds": get("/1") + get("/2").replace(b"\r\n", b"\n\n", 1) + get("/3"),
    "the fields twice": get("/1") + b"Host: example.org\r\n\r\n",
    "the fields twice, with a line end": get("/1") + b"\r\nHost: example.org\r\n\r\n",
    "no request line": get("/1") + get("/2").partition(b" HTTP/1.1")[2],
    "other hosts": get("/1") + get("/2").replace(b"example.org", b"example.net") + get("/3"),
    "more than is read at once": get("/1") * 500,
}


def compare(serve: Serve, monkeypatch: pytest.MonkeyPatch, *reads: bytes, **options: Any) -> None:
    here = served(serve, *reads, **options)
    with monkeypatch.context() as patched:
        patched.setattr(KnownHeads, "take_plain", lambda self, start, data: False)
        patched.setattr(KnownHeads, "take_repeated", lambda self, data, end: False)
        by_the_parser = served(serve, *reads, **options)
    assert here == by_the_parser


@pytest.mark.parametrize(
    "before",
    ["the same", "other targets", "a head", "more fields before", "a post", "upgrade", "an empty line between"],
)
@pytest.mark.parametrize("last", SEVERAL)
def test_several_in_one_read(serve: Serve, monkeypatch: pytest.MonkeyPatch, before: str, last: str) -> None:
    first = SEVERAL[before]
    compare(serve, monkeypatch, first, first, first, SEVERAL[last], first)
    compare(serve, monkeypatch, *[get("/1")] * 3, SEVERAL[last], first)


@pytest.mark.parametrize("options", [{"forwarded_allow_ips": "*"}, {"limit_request_fields": 1}, {"root_path": "/r"}])
@pytest.mark.parametrize("seed", range(10))
def test_several_at_random(serve: Serve, monkeypatch: pytest.MonkeyPatch, seed: int, options: dict[str, Any]) -> None:
    chance = random.Random(seed)
    pool = [*REQUESTS.values(), get("/", "X-Forwarded-For: 203.0.113.5"), get("/", "X-Forwarded-For: 203.0.113.6")]
    for _ in range(20):
        each = chance.choices(pool, k=2)
        reads = [b"".join(chance.choices(each, k=chance.choice([1, 2, 3]))) for _ in range(6)]
        compare(serve, monkeypatch, *reads, **options)


@pytest.mark.parametrize("first", [get("/1"), get("/1") * 3, get("/2") + get("/3")])
def test_several_with_the_fields_of_one_before_need_no_parser(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    client = serve(echo).connect().send(first, first, first)
    monkeypatch.setattr(type(client.protocol.reader), "read", None)  # type: ignore[attr-defined]
    client.take()
    client.send(get("/1") + get("/2?q", method="DELETE") + get("/3"))
    assert [response.body for response in client.responses()] == [b"GET /1 ", b"DELETE /2 ", b"GET /3 "]


def test_a_request_that_runs_is_none_of_those_of_a_read(serve: Serve) -> None:
    """What is remembered of a read is what is in it, and not of the request before."""
    app = Gate(echo)
    recorder = Recorder(app)
    client = serve(recorder).connect().send(get("/1"), get("/2", *FIELDS) * 2)
    while app.waiting:
        app.open()
        client.harness.settle()
    client.send(get("/3", *FIELDS))
    assert [len(scope["headers"]) for scope in recorder.scopes] == [1, 4, 4, 4]


@pytest.mark.parametrize("fields", [(), FIELDS])
def test_where_another_request_of_a_read_came_from_is_not_remembered(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, fields: tuple[str, ...]
) -> None:
    plain = get("/1", *fields)
    forwarded = plain.replace(b"\r\n", b"\r\nX-Forwarded-For: 203.0.113.5\r\n", 1)
    for reads in ([plain + forwarded] * 3, [forwarded + plain] * 3):
        compare(serve, monkeypatch, *reads, plain, plain * 2, forwarded, forwarded * 2, forwarded_allow_ips="*")
