"""Requests that are taken without the parser, since their lines are known or plain: each is served as by the parser.

What a server has read before must never show: these tests compare it with one that asks the parser each time.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, echo
from tests.http1.conftest import Serve
from tests.scripted import Harness, get, post
from uvicorn_worker.core import scope as scope_module
from uvicorn_worker.http1 import shared as shared_module
from uvicorn_worker.http1.known_heads import LONGEST_LENGTH, LONGEST_LINE, KnownHeads
from uvicorn_worker.http1.parsers import UnmadeParser

FIELDS = ("Accept: */*", "User-Agent: test", "Cookie: a=b", "X-Forwarded-For: 203.0.113.7", "Connection: keep-alive")

# All that a server has read before.
BEFORE = [
    get("/1", *FIELDS),
    get("/2?q", *FIELDS),
    post(b"12345", *FIELDS, "Content-Type: text/plain"),
    get("/3", "Empty: x", "X_Y: z", "Te: trailers", "Keep-Alive: 5", "Proxy-Connection: close", "Upgrade: x"),
    get("/4", "Expect: 100-continue"),
    get("/5", "Connection: close"),
]
PLAIN = {
    "the same": get("/1", *FIELDS),
    "other values": get("/1", "Accept: text/html", "User-Agent: x y  z", "Cookie: c=d; e=f"),
    "another order": get("/1", *FIELDS[::-1]),
    "twice": get("/1", "Cookie: a=b", "Cookie: a=b", "Cookie: c=d"),
    "another target": get("/other%20path?x=%41&y", *FIELDS),
    "a long target": get("/" + "x" * 300, *FIELDS),
    "a long value": get("/1", "Cookie: " + "x" * LONGEST_LINE * 2),
    "no value": get("/1", "Empty: "),
    "head": get("/1", *FIELDS, method="HEAD"),
    "options": get("/1", *FIELDS, method="OPTIONS"),
    "delete": get("/1", "Content-Length: 0", method="DELETE"),
    "post": post(b"a body", *FIELDS),
    "the same post": post(b"12345", *FIELDS),
    "empty post": post(b"", *FIELDS),
    "post without a length": get("/1", method="POST"),
    "put": post(b"a body").replace(b"POST", b"PUT", 1),
    "a body that looks like a request": post(get("/1", *FIELDS), *FIELDS),
    "get with a body": post(b"12345").replace(b"POST", b"GET", 1),
    "host last": b"GET / HTTP/1.1\r\nAccept: */*\r\nHost: example.org\r\n\r\n",
    "fields for trailers": get("/1", "Te: trailers", "Keep-Alive: 5"),
    "close": get("/1", "Connection: close"),
    "close after all": get("/1", *FIELDS, "Connection: close"),
    "close first": get("/1", "connection: close", *FIELDS),
    "close means something to the connection alone": get("/1", "Empty: close", "Accept: close"),
    "close with a body": post(b"a body", "Connection: close"),
    "http10": get("/1", version="1.0"),
    "http10, close": get("/1", "Accept: */*", "Connection: close", version="1.0"),
    "http10, head": get("/1", "Connection: close", version="1.0", method="HEAD"),
    "http10 with a body": post(b"a body", "Connection: close").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a body that is not whole": get("/1", "Content-Length: 9", method="POST") + b"12345",
    "a body that comes later": get("/1", *FIELDS, "Content-Length: 9", method="POST"),
    "the last one, and not whole": get("/1", "Connection: close", "Content-Length: 9", method="POST") + b"12345",
    "a large length": get("/1", "Content-Length: " + "9" * (LONGEST_LENGTH - 1), method="POST") + b"12345",
}
LARGE = {
    "large post": post(b"a body" * 2000, *FIELDS),
    "64 KiB": post(b"x" * 65536),
    "larger": post(b"x" * 200_000),
    "large and not whole": post(b"a body" * 2000)[:-1],
}
NOT_PLAIN = {
    "unknown name": get("/1", "New: x"),
    "close in capitals": get("/1", "Connection: Close"),
    "two connections": get("/1", "Connection: keep-alive, close"),
    "proxy-connection": get("/1", "Proxy-Connection: close"),
    "upgrade": get("/1", "Connection: Upgrade", "Upgrade: x"),
    "expect": get("/1", "Expect: 100-continue"),
    "two hosts": get("/1", "Host: example.org"),
    "other host": get("/1").replace(b"example.org", b"example.net"),
    "bad host": get("/1").replace(b"example.org", b"exa mple"),
    "no host": b"GET /1 HTTP/1.1\r\nAccept: */*\r\n\r\n",
    "no fields": b"GET /1 HTTP/1.1\r\n\r\n",
    "http10 that persists": get("/1", *FIELDS, version="1.0"),
    "http10, close and more": get("/1", *FIELDS, "Connection: close", version="1.0"),
    "http10, upgrade": get("/1", "Connection: Upgrade", "Upgrade: x", version="1.0"),
    "http10 without a host": b"GET /1 HTTP/1.0\r\nAccept: */*\r\n\r\n",
    "http12": get("/1", *FIELDS, version="1.2"),
    "absolute": get("http://example.net/1", *FIELDS),
    "asterisk": get("*", *FIELDS, method="OPTIONS"),
    "fragment": get("/1#x", *FIELDS),
    "quote": get('/1"', *FIELDS),
    "space in the target": get("/1 2", *FIELDS),
    "not ascii": get("/\xe9", *FIELDS),
    "another method": get("/1", *FIELDS, method="PROPFIND"),
    "unknown method": get("/1", *FIELDS, method="FOO"),
    "no space": get("/1", "Accept:*/*"),
    "two spaces": get("/1", "Accept:  */*"),
    "a space behind": get("/1", "Accept: */* "),
    "a tab behind": get("/1", "Accept: */*\t"),
    "a tab": get("/1", "Accept: a\tb"),
    "space in the name": get("/1", "Accept : */*"),
    "a folded line": get("/1", "Accept: a", " b"),
    "a control character": get("/1", "Accept: a\x01"),
    "a zero": get("/1", "Accept: a\0b"),
    "a line feed": get("/1", "Accept: a\nCookie: b"),
    "a return": get("/1", "Accept: a\rb"),
    "a high byte": get("/1", "Accept: caf\xe9"),
    "delete character": get("/1", "Accept: \x7f"),
    "no colon": get("/1", "Accept"),
    "an underscore": get("/1", "X_Y: z"),
    "leading zero": get("/1", "Content-Length: 05", method="POST") + b"12345",
    "plus": get("/1", "Content-Length: +5", method="POST") + b"12345",
    "two lengths": get("/1", "Content-Length: 5", "Content-Length: 5", method="POST") + b"12345",
    "a length that is too long": get("/1", "Content-Length: " + "9" * LONGEST_LENGTH, method="POST") + b"12345",
    "no length": get("/1", "Content-Length: ", method="POST"),
    "too long": get("/1", "Content-Length: 2", method="POST") + b"12GET",
    "pipelined": get("/1", *FIELDS) * 2,
    "chunked": get("/1", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n0\r\n\r\n",
    "both": get("/1", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST") + b"12345",
    "bare line feeds": get("/1", *FIELDS).replace(b"\r\n", b"\n"),
    "an empty line first": b"\r\n" + get("/1", *FIELDS),
    "the beginning": get("/1", *FIELDS)[:-2],
}
LARGE_NOT_PLAIN = {
    "too long": post(b"a body" * 2000) + b"x",
    "pipelined": post(b"a body" * 2000) + get("/1", *FIELDS),
    "many pipelined": get("/1", *FIELDS) * 100,
    "a large head": get("/1", "Cookie: " + "x" * 4096),
    "a large head and a body": post(b"a body" * 2000, "Cookie: " + "x" * 4096),
    "chunked": get("/1", "Transfer-Encoding: chunked", method="POST") + b"1770\r\n" + b"x" * 6000 + b"\r\n0\r\n\r\n",
    "no length": get("/1", method="POST") + b"a body" * 2000,
}
CHANGES = [b"", b" ", b"\r", b"\n", b":", b"\x80", b"5", b"\t"]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each read was taken without the parser."""
    seen: list[bool] = []
    take_plain = KnownHeads.take_plain

    def spy(self: KnownHeads, start: bytes, data: bytes | memoryview) -> bool:
        seen.append(take_plain(self, start, data))
        return seen[-1]

    monkeypatch.setattr(KnownHeads, "take_plain", spy)
    return seen


def outcome(harness: Harness, recorder: Recorder, *requests: bytes, **transport: Any) -> Any:
    """Scopes, bytes, calls of the transport and whether it is over, of the last of the connections."""
    result: Any = None
    for request in requests:
        del recorder.scopes[:]
        client = harness.connect(**transport).send(request).eof()
        scopes = [{**scope, "state": None} for scope in recorder.scopes]
        result = scopes, client.take(), client.transport.calls, client.closed
    return result


def compare(serve: Serve, monkeypatch: pytest.MonkeyPatch, *requests: bytes, **options: Any) -> None:
    transport = options.pop("transport", {})
    results = []
    for parser_only in (False, True):
        with monkeypatch.context() as patched:
            if parser_only:
                patched.setattr(KnownHeads, "take_plain", lambda self, start, data: False)
            recorder = Recorder(echo)
            harness = serve(recorder, date_header=False, **options)
            outcome(harness, recorder, *BEFORE, *BEFORE, **transport)
            results.append([outcome(harness, recorder, request, **transport) for request in requests])
    assert results[0] == results[1]


@pytest.mark.parametrize("request_", (PLAIN | LARGE).values(), ids=PLAIN | LARGE)
def test_a_plain_request_is_as_the_parser_reads_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, request_: bytes, taken: list[bool]
) -> None:
    compare(serve, monkeypatch, request_, request_)
    assert taken[-1]


@pytest.mark.parametrize(
    "request_",
    [*NOT_PLAIN.values(), *LARGE_NOT_PLAIN.values()],
    ids=[*NOT_PLAIN, *map("large: {}".format, LARGE_NOT_PLAIN)],
)
def test_any_other_request_is_read_by_the_parser(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, request_: bytes, taken: list[bool]
) -> None:
    compare(serve, monkeypatch, request_)
    assert not any(taken[2 * len(BEFORE) :])
    compare(serve, monkeypatch, request_, request_)


def test_names_in_another_case(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [get("/1", "accept: */*", "COOKIE: a=b"), post(b"x").replace(b"Content", b"content")]
    compare(serve, monkeypatch, *requests, *requests)


@pytest.mark.parametrize(
    "options",
    [
        {"forwarded_allow_ips": "*"},
        {"forwarded_allow_ips": "", "header_map": "dangerous"},
        {"header_map": "refuse", "root_path": "/r\xe9"},
        {"limit_request_fields": 4},
        {"limit_request_body": 3},
        {"limit_request_line": 20, "limit_request_field_size": 30},
        {"paths": {"/1": {"limit_request_body": 4}}},
    ],
    ids=str,
)
def test_whatever_the_options(serve: Serve, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    requests = [*PLAIN.values(), *NOT_PLAIN.values(), *LARGE.values(), *LARGE_NOT_PLAIN.values()]
    compare(serve, monkeypatch, *requests, **options, transport={"peername": ("127.0.0.1", 9)})


def test_what_proxies_say_that_contradicts_itself_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off", "Forwarded: for=;;;"]
    requests = [get("/1", *lines[:number], *FIELDS) for number in range(1, 5)]
    compare(serve, monkeypatch, *requests, *requests, forwarded_allow_ips="*")


@pytest.mark.parametrize("seed", range(8))
def test_requests_that_are_changed_at_random(serve: Serve, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    requests = []
    for _ in range(20):
        request = bytearray(chance.choice([*PLAIN.values()]))
        for _ in range(chance.randrange(1, 3)):
            at = chance.randrange(len(request))
            request[at : at + chance.randrange(2)] = chance.choice(
                [b"", b" ", b"\r", b"\n", b":", b"\x80", b"5", b"\t"]
            )
        requests.append(bytes(request))
    compare(serve, monkeypatch, *requests)


def test_what_clients_make_up_does_not_add_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_module, "MOST_LINES", 20)
    monkeypatch.setattr(scope_module, "MOST_TARGETS", 20)
    harness = serve(Recorder(echo))
    shared = harness.connect().protocol.reader.shared  # type: ignore[attr-defined]
    sizes = set()
    for tick in range(3):
        for number in range(50):
            harness.connect().send(get(f"/{tick}/{number}", f"Accept: {tick}/{number}"))
        sizes |= {len(shared.lines), len(harness.runtime.scopes.targets)}
        harness.tick(0.5)
    assert max(sizes) == 20
    # Others have had their turn.
    assert not any(b"0/" in line for line in shared.lines)
    assert b"/0/1" not in harness.runtime.scopes.targets


def test_secrets_are_not_remembered(serve: Serve) -> None:
    harness = serve(Recorder(echo))
    client = harness.connect()
    for _ in range(4):
        client.send(get("/", "Cookie: secret", "Authorization: secret", "Proxy-Authorization: secret", "Accept: */*"))
    assert not any(b"secret" in line for line in client.protocol.reader.shared.lines)  # type: ignore[attr-defined]


def test_a_connection_with_one_plain_request_has_no_parser(serve: Serve) -> None:
    harness = serve(Recorder(echo))
    for _ in range(4):
        harness.connect().send(get("/", *FIELDS))
    client = harness.connect().send(get("/", *FIELDS))
    assert type(client.protocol.reader.parser) is UnmadeParser  # type: ignore[attr-defined]


@pytest.mark.parametrize("behind", [b"junk\r\n\r\n", get("/2", *FIELDS), get("/2", "Never-seen: x"), b"GET"])
def test_what_comes_behind_a_last_request_is_not_looked_at(serve: Serve, taken: list[bool], behind: bytes) -> None:
    recorder = Recorder(echo)
    harness = serve(recorder)
    for request in BEFORE:
        harness.connect().send(request).eof()
    gate = recorder.app = Gate(echo)
    client = harness.connect().send(get("/1", "Connection: close"))
    assert taken[-1]
    client.send(behind)
    gate.open()
    harness.settle()
    assert recorder.paths[-1] == "/1"
    assert [line[9:12] for line in client.take().split(b"\r\n") if line.startswith(b"HTTP/")] == [b"200"]
    assert client.transport.is_closing() or client.closed


def test_a_name_whose_values_are_others_each_time_leaves_the_room_to_others(serve: Serve) -> None:
    harness = serve(Recorder(echo))
    lines = harness.connect().protocol.reader.shared.lines  # type: ignore[attr-defined]
    for tick in range(3):
        for number in range(shared_module.MOST_LINES * 2):
            # On one connection only the first few are looked at line by line.
            harness.connect().send(
                get("/", f"X-Request-Id: {tick}-{number}", "User-Agent: test", *(["Accept: */*"] * (number % 200 == 9)))
            )
        # All of what comes again is there, and of the other no more than some.
        assert b"User-Agent: test" in lines
        assert b"Accept: */*" in lines
        assert len(lines) <= shared_module.MOST_VALUES + 2
        harness.tick(0.5)
    # Others have had their turn.
    assert any(line.startswith(b"X-Request-Id: 2-") for line in lines)
    assert not any(line.startswith(b"X-Request-Id: 0-") for line in lines)


@pytest.mark.parametrize("prefix", [(), ("X-Forwarded-Prefix: /api",)], ids=["plain", "with a prefix"])
def test_the_name_of_a_task_is_that_of_its_request_also_where_the_line_is_known(
    serve: Serve, prefix: tuple[str, ...]
) -> None:
    names = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        names.append((task.get_name(), f"{scope['method']} {scope['path']}"[:64]))
        await echo(scope, receive, send)

    harness = serve(app, forwarded_allow_ips="*", forwarded_headers="for,prefix")
    client = harness.connect(peername=("127.0.0.1", 9))
    for fields in ((), prefix, (), prefix):
        for target in ("/1?q", "/a%20b", "/" + "x" * 90):
            for method in ("GET", "HEAD", "GET"):
                client.send(get(target, *FIELDS, *fields, method=method))
    assert len(names) == 36
    assert all(name == expected for name, expected in names), names
    assert ("GET /api/1" in dict(names)) == bool(prefix)


def test_request_lines_are_forgotten_with_their_targets(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope_module, "MOST_TARGETS", 5)
    harness = serve(Recorder(echo))
    client, scopes = harness.connect(), harness.runtime.scopes
    sizes = set()
    for tick in range(3):
        for number in range(20):
            for method in ("GET", "DELETE"):
                client.send(get(f"/{tick}/{number}", *FIELDS, method=method))
        sizes.add(len(scopes.request_lines))
        assert len(scopes.targets) == 5
        harness.tick(0.5)
        assert not scopes.request_lines
    assert max(sizes) == 10
