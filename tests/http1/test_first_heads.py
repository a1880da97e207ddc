"""Clients that make a connection for each request: the fields of one are taken as those of another connection were.

What other clients have sent must never show: these tests compare with a server that looks at each first request.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import Recorder, echo
from tests.http1.conftest import Serve
from tests.scripted import Harness, get, post
from uvicorn_worker.http1 import known_heads
from uvicorn_worker.http1.known_heads import LONGEST_FIRST, MOST_FIRST, KnownHeads

FIELDS = ("Accept: */*", "User-Agent: test")
PROXY, CLIENT = ("127.0.0.1", 9), ("192.0.2.7", 9)

FIRST = {
    "plain": get("/1"),
    "fields": get("/1", *FIELDS),
    "close": get("/1", *FIELDS, "Connection: close"),
    "keep-alive": get("/1", *FIELDS, "Connection: keep-alive"),
    "another target": get("/2/%20?q=a%20b", *FIELDS),
    "a long target": get("/" + "x" * 300, *FIELDS),
    "head": get("/1", *FIELDS, method="HEAD"),
    "head, close": get("/1", "Connection: close", method="HEAD"),
    "delete": get("/1", "Content-Length: 0", method="DELETE"),
    "through a proxy": get("/1", *FIELDS, "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"),
    "with a prefix": get("/1", *FIELDS, "X-Forwarded-Prefix: /api"),
}
# What is looked at, also where another connection began so.
OTHER = {
    "a secret": get("/1", *FIELDS, "Cookie: a=b"),
    "post": post(b"a body", *FIELDS),
    "a body that is not whole": get("/1", *FIELDS, "Content-Length: 9", method="POST") + b"12345",
    "http10": get("/1", *FIELDS, version="1.0"),
    "http10 with the fields of one before": get("/1", *FIELDS, "Connection: close", version="1.0"),
    "http12": get("/1", *FIELDS, version="1.2"),
    "absolute": get("http://example.net/1", *FIELDS),
    "another method": get("/1", *FIELDS, method="PROPFIND"),
    "fragment": get("/1#x", *FIELDS),
    "not ascii": get("/\xe9", *FIELDS),
    "two hosts": get("/1", *FIELDS, "Host: example.org"),
    "upgrade": get("/1", "Connection: Upgrade", "Upgrade: x"),
    "expect": get("/1", *FIELDS, "Expect: 100-continue"),
    "pipelined": get("/1", *FIELDS) * 2,
    "junk behind": get("/1", *FIELDS, "Connection: close") + b"junk",
    "no line end": get("/1", *FIELDS).replace(b"\r\n", b"xx", 1),
    "half a line end": get("/1", *FIELDS).replace(b"\r\n", b" \n", 1),
    "an empty line first": b"\r\n" + get("/1", *FIELDS),
    "the beginning": get("/1", *FIELDS)[:-2],
    "a long head": get("/1", *FIELDS, f"X: {'x' * LONGEST_FIRST}"),
}
ALL = FIRST | OTHER


def outcome(harness: Harness, recorder: Recorder, *reads: bytes, peer: tuple[str, int] = CLIENT) -> Any:
    """Scopes, bytes, calls of the transport and whether it is over, of a connection that sends `reads`."""
    del recorder.scopes[:]
    client = harness.connect(peername=peer)
    for data in reads:
        client.send(data)
    client.eof()
    scopes = [{**scope, "state": None} for scope in recorder.scopes]
    return scopes, client.take(), client.transport.calls, client.closed


def compare(serve: Serve, monkeypatch: pytest.MonkeyPatch, connections: list[tuple[Any, ...]], **options: Any) -> None:
    """Serve reads and peer of each connection, with what is remembered of first requests and without."""
    results = []
    for takes in (True, False):
        with monkeypatch.context() as patched:
            if not takes:
                patched.setattr(KnownHeads, "_take_first", lambda self, data: False)
            recorder = Recorder(echo)
            harness = serve(recorder, date_header=False, **options)
            results.append([outcome(harness, recorder, *reads, peer=peer) for *reads, peer in connections])
    assert results[0] == results[1]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each first request was known."""
    seen: list[bool] = []
    take_first = KnownHeads._take_first

    def spy(self: KnownHeads, data: bytes) -> bool:
        seen.append(take_first(self, data))
        return seen[-1]

    monkeypatch.setattr(KnownHeads, "_take_first", spy)
    return seen


@pytest.mark.parametrize("peer", [PROXY, CLIENT], ids=["a proxy", "a client"])
@pytest.mark.parametrize("request_", ALL.values(), ids=ALL)
def test_it_is_served_as_if_it_was_looked_at(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, taken: list[bool], request_: bytes, peer: tuple[str, int]
) -> None:
    before = [(known, each) for _ in range(3) for known in FIRST.values() for each in (PROXY, CLIENT)]
    options = {"forwarded_allow_ips": PROXY[0], "forwarded_headers": "for,proto,prefix"}
    compare(serve, monkeypatch, [*before, (request_, peer), (request_, peer)], **options)
    assert taken[-1] == (request_ in FIRST.values())


@pytest.mark.one_of(3)
@pytest.mark.parametrize("second", ALL.values(), ids=ALL)
@pytest.mark.parametrize("first", ["plain", "fields", "close", "through a proxy"])
def test_what_comes_behind_it(serve: Serve, monkeypatch: pytest.MonkeyPatch, first: str, second: bytes) -> None:
    known = FIRST[first]
    reads = [(known, PROXY)] * 3 + [(known, second, known, second, PROXY), (known, PROXY)]
    compare(serve, monkeypatch, reads, forwarded_allow_ips="*")


@pytest.mark.parametrize(
    "options", [{"limit_request_fields": 2}, {"root_path": "/r\xe9"}, {"header_map": "refuse"}], ids=str
)
def test_whatever_the_options(serve: Serve, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    compare(serve, monkeypatch, [(request, CLIENT) for request in ALL.values() for _ in range(3)], **options)


def test_what_clients_make_up_does_not_add_up(serve: Serve, taken: list[bool]) -> None:
    harness = serve(Recorder(echo))
    shared = harness.connect().protocol.reader.shared  # type: ignore[attr-defined]
    for tick in range(3):
        for number in range(2 * MOST_FIRST):
            harness.connect().send(get("/", f"User-Agent: {tick}/{number}"))
        assert len(shared.first) <= MOST_FIRST
        harness.tick(0.5)
    # Others have had their turn.
    assert not any(b": 0/" in fields for fields in shared.first)
    assert any(b": 2/" in fields for fields in shared.first)
    assert not any(taken)


def test_what_an_application_does_to_its_headers_is_not_seen_by_others(serve: Serve) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(list(scope["headers"]))
        scope["headers"].clear()
        await echo(scope, receive, send)

    harness = serve(app)
    for _ in range(4):
        harness.connect().send(get("/", *FIELDS)).send(get("/", *FIELDS))
    assert len(seen) == 8
    assert all(headers == seen[0] for headers in seen)


def test_secrets_and_long_heads_are_not_remembered(serve: Serve) -> None:
    harness = serve(Recorder(echo))
    for _ in range(4):
        for field in ("Cookie: a", "Authorization: a", "Proxy-Authorization: a", f"X-Long: {'x' * LONGEST_FIRST}"):
            harness.connect().send(get("/", field))
    assert not harness.connect().protocol.reader.shared.first  # type: ignore[attr-defined]


@pytest.mark.parametrize("shorter", [0, 1])
def test_the_longest_that_is_remembered(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, taken: list[bool], shorter: int
) -> None:
    request = get("/1", *FIELDS)
    monkeypatch.setattr(known_heads, "LONGEST_FIRST", len(request) - len("GET /1 HTTP/1.1") - shorter)
    harness = serve(Recorder(echo))
    for _ in range(5):
        harness.connect().send(request)
    assert taken[-1] is not bool(shorter)
