"""A client that keeps a connection, and whose requests differ in the values of a few fields: a trace, a cookie, an id.

Which of them do is seen from two requests; what is known of the others must never show. These tests compare with a
connection each of whose requests is read by the parser.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Recorder, echo
from tests.http1.conftest import Serve
from tests.scripted import get, post
from uvicorn_worker.http1.known_heads import KNOWN_LENGTHS, MOST_VARIED, KnownHeads

FIELDS = ("Accept: */*", "User-Agent: test", "Connection: keep-alive")


def traced(number: int | str, *more: str, target: str | None = None, method: str = "GET") -> bytes:
    target = f"/{number}" if target is None else target
    return get(target, *FIELDS, f"Traceparent: 00-{number}", "X-Same: y", f"Cookie: a={number}", *more, method=method)


def sent(number: int | str, body: bytes = b"12345", *more: str) -> bytes:
    return post(body, *FIELDS, f"Traceparent: 00-{number}", *more, target=f"/{number}")


def same(body: bytes = b"12345", target: str = "/same") -> bytes:
    return post(body, *FIELDS, target=target)


HISTORIES: dict[str, Callable[[int], bytes]] = {
    "get": traced,
    "post": sent,
    "post with one more": lambda number: sent(number, b"12345", f"X: {number}"),
    "the same post": lambda number: same(),
    "the same post to other targets": lambda number: same(target=f"/{number}"),
    "other posts of one length": lambda number: same(b"%05d" % number),
    "post of one length, then of another": lambda number: same(b"x" * (4 + number // 3)),
    "large posts of one length": lambda number: same(b"%06d" % number * 2000),
    "post of other lengths": lambda number: sent(number, b"x" * (number + 1)),
    "one behind the other": lambda number: get("/", f"X-A: {number}", f"X-B: {number}", f"X-C: {number}"),
    "the only one": lambda number: get("/", f"X-A: {number}"),
    "no value at times": lambda number: get("/", "X-A: " + "x" * (number % 2), *FIELDS),
    "another target alone": lambda number: get(f"/{number}", *FIELDS),
    "two kinds in turns": lambda number: (sent if number % 2 else traced)(number),
    "many": lambda number: get("/", *(f"X-{at}: {number}" for at in range(MOST_VARIED + 1))),
    "one more each time": lambda number: get("/", *(f"X-{at}: y" for at in range(number))),
    "another host": lambda number: get("/", *FIELDS).replace(b"example.org", b"%d.example" % number),
    "another name": lambda number: get("/", f"X-{number}: y", *FIELDS),
    "a name of a proxy's": lambda number: get("/", f"X-Forwarded-For: 203.0.113.{number}", *FIELDS),
    "keep-alive in other cases": lambda number: get("/", "Connection: " + ("Keep-Alive", "keep-alive")[number % 2]),
}
VALUES = {
    "plain": "x",
    "two words": "a  b",
    "long": "x" * 3000,
    "too long": "x" * 9000,
    "none": "",
    "a space behind": "x ",
    "a space before": " x",
    "a tab within": "a\tb",
    "a tab behind": "x\t",
    "control": "a\x01",
    "zero": "a\0b",
    "delete": "a\x7f",
    "line feed": "a\nX: y",
    "return": "a\rb",
    "returns": "a\r\r",
    "a line": "a\r\nX: y",
    "the end of the head": "a\r\n\r\nGET / HTTP/1.1",
    "not ascii": "caf\xe9",
    "colons": "a: b: c",
}
LAST = {
    **{f"value: {name}": traced(value, target="/last") for name, value in VALUES.items()},
    **{f"value of a post: {name}": sent("1", b"12345", f"X: {value}") for name, value in VALUES.items()},
    "another target": traced(1, target="/a%20b?c=d"),
    "a strange target": traced(1, target='/"'),
    "absolute": traced(1, target="http://example.net/x"),
    "asterisk": traced(1, target="*", method="OPTIONS"),
    "head": traced(1, method="HEAD"),
    "an unknown method": traced(1, method="FOO"),
    "http10": traced(1).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "http12": traced(1).replace(b"HTTP/1.1", b"HTTP/1.2"),
    "one more field": traced(1, "X: y"),
    "close": traced(1, "Connection: close"),
    "a length": traced(1, "Content-Length: 3") + b"123",
    "chunked": traced(1, "Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n",
    "upgrade": traced(1, "Upgrade: x"),
    "expect": traced(1, "Expect: 100-continue"),
    "pipelined": traced(1) + traced(2),
    "behind it": traced(1) + b"GET",
    "line feeds": traced(1).replace(b"\r\n", b"\n"),
    "not whole": traced(1)[:-2],
    "without a space": traced(1).replace(b"Cookie: ", b"Cookie:"),
    "with two": traced(1).replace(b"Cookie: ", b"Cookie:  "),
    "the name in another case": traced(1).replace(b"Cookie: ", b"cookie: "),
    "an underscore": traced(1).replace(b"X-Same", b"X_Same"),
    "folded": traced(1).replace(b"X-Same: y", b" folded"),
    "a body": sent(1, b"other"),
    "a large body": sent(1, b"other" * 20_000),
    "no body": sent(1, b""),
    "a leading zero": sent(1).replace(b"Length: 5", b"Length: 05"),
    "a plus": sent(1).replace(b"Length: 5", b"Length: +5"),
    "a list": sent(1).replace(b"Length: 5", b"Length: 5, 5"),
    "a long length": sent(1).replace(b"Length: 5", b"Length: " + b"9" * 19),
    "too much": sent(1) + b"x",
    "not all": sent(1)[:-1],
    "a body that looks like it": sent(1, sent(1)),
    **{
        f"the same: {name}": request
        for name, request in {
            "again": same(),
            "another body": same(b"54321"),
            "shorter": same(b"1234"),
            "longer": same(b"123456"),
            "large": same(b"12345" * 20_000),
            "no body": same(b""),
            "another target": same(target="/a%20b?c=d"),
            "a strange target": same(target='/"'),
            "another method": same().replace(b"POST", b"PUT"),
            "an unknown method": same().replace(b"POST", b"FOO"),
            "http10": same().replace(b"HTTP/1.1", b"HTTP/1.0"),
            "http12": same().replace(b"HTTP/1.1", b"HTTP/1.2"),
            "line feeds": same().replace(b"\r\n", b"\n\n", 1),
            "no line end": same().replace(b"\r\n", b"xx", 1),
            "no request line": same().partition(b"\r\n")[2],
            "an empty request line": b"\r\n" + same().partition(b"\r\n")[2],
            "an empty line before": b"\r\n" + same(),
            "its fields alone": same().partition(b"/same HTTP/1.1")[2],
            "not all": same()[:-1],
            "no body yet": same()[:-5],
            "too much": same() + b"x",
            "pipelined": same() + same(),
            "a get with a body": same().replace(b"POST", b"GET"),
            "its head in its body": same(same()),
            "chunked": same(b"1\r\nx\r\n0\r\n\r\n").replace(b"Content-Length: 11", b"Transfer-Encoding: chunked"),
        }.items()
    },
}


def served(serve: Serve, *requests: bytes, **options: Any) -> tuple[Any, ...]:
    """The scopes of what is served, what is written, and whether the connection goes on."""
    recorder = Recorder(echo)
    client = serve(recorder, date_header=False, **options).connect(peername=("127.0.0.1", 9)).send(*requests)
    scopes = [{name: scope[name] for name in scope if name != "state"} for scope in recorder.scopes]
    return scopes, client.take(), client.closed, client.transport.calls


def compare(serve: Serve, monkeypatch: pytest.MonkeyPatch, *requests: bytes, **options: Any) -> None:
    here = served(serve, *requests, **options)
    with monkeypatch.context() as patched:
        patched.setattr(KnownHeads, "take_plain", lambda self, start, data: False)
        patched.setattr(KnownHeads, "take_repeated", lambda self, data, end: False)
        by_the_parser = served(serve, *requests, **options)
    assert here == by_the_parser


@pytest.mark.one_of(5)
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
def test_what_came_before_does_not_show(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, history: str, last: bytes
) -> None:
    requests = [HISTORIES[history](number) for number in range(8)]
    compare(serve, monkeypatch, *requests, last)
    # The server may know all lines, and the connection none.
    compare(serve, monkeypatch, *requests, last, *requests)


@pytest.mark.parametrize(
    "options",
    [
        {"forwarded_allow_ips": "*"},
        {"forwarded_allow_ips": ""},
        {"forwarded_allow_ips": "", "header_map": "dangerous"},
        {"header_map": "refuse", "root_path": "/r\xe9"},
        {"limit_request_fields": 5},
        {"limit_request_body": 3},
        {"limit_request_line": 20, "limit_request_field_size": 30},
        {"paths": {"/6": {"limit_request_body": 4}}},
    ],
    ids=str,
)
@pytest.mark.parametrize("history", HISTORIES)
def test_whatever_the_options(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, history: str, options: dict[str, Any]
) -> None:
    requests = [HISTORIES[history](number) for number in range(8)]
    compare(serve, monkeypatch, *requests, sent(6), traced(7), **options)


@pytest.mark.parametrize("seed", range(8))
def test_requests_that_are_changed_at_random(serve: Serve, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    for history in HISTORIES.values():
        request = bytearray(history(9))
        for _ in range(chance.randrange(1, 3)):
            at = chance.randrange(len(request))
            change = chance.choice([b"", b" ", b"\r", b"\n", b":", b"\x80", b"5", b"\t", b"\r\n"])
            request[at : at + chance.randrange(2)] = change
        compare(serve, monkeypatch, *map(history, range(chance.randrange(4, 7))), bytes(request))


TAKEN = [
    "get",
    "post",
    "the same post",
    "large posts of one length",
    "post of other lengths",
    "one behind the other",
    "the only one",
]


@pytest.mark.parametrize("history", TAKEN)
def test_requests_of_which_some_values_are_others_are_taken(serve: Serve, taken: list[bool], history: str) -> None:
    harness = serve(Recorder(echo))
    # What the server has not read before is the parser's.
    harness.connect().send(*map(HISTORIES[history], range(4)))
    taken.clear()
    harness.connect().send(*map(HISTORIES[history], range(10, 20)))
    assert taken[-7:] == [True] * 7


@pytest.mark.parametrize("history", ["many", "one more each time", "another host", "a name of a proxy's"])
def test_others_are_given_up(serve: Serve, taken: list[bool], history: str) -> None:
    harness = serve(Recorder(echo), forwarded_allow_ips="*")
    client = harness.connect(peername=("127.0.0.1", 9)).send(*map(HISTORIES[history], range(8)))
    assert not any(taken)
    reader = client.protocol.reader  # type: ignore[attr-defined]
    assert reader.pattern is reader.fields_before is None


def test_two_kinds_of_requests_on_one_connection(serve: Serve, taken: list[bool]) -> None:
    """The page's own and those of its scripts, of which the pattern is one's."""
    harness = serve(Recorder(echo))
    harness.connect().send(*map(traced, range(4)), *map(sent, range(4)))
    taken.clear()
    client = harness.connect().send(*map(traced, range(5)))
    assert taken[-2:] == [True, True]
    client.send(*map(sent, range(5)), *map(traced, range(2)))
    assert len(client.responses()) == 12


def test_what_the_application_changes_does_not_show(serve: Serve) -> None:
    recorder = Recorder(echo)
    client = serve(recorder).connect()
    for number in range(8):
        client.send(traced(number))
        headers = recorder.scopes[-1]["headers"]
        assert dict(headers)[b"cookie"] == b"a=%d" % number
        assert len(headers) == 7
        headers.clear()


@pytest.mark.parametrize("ticks", [1, 2, 3])
def test_an_idle_connection_forgets_it_and_learns_it_again(serve: Serve, taken: list[bool], ticks: int) -> None:
    harness = serve(Recorder(echo))
    client = harness.connect().send(*map(traced, range(6)))
    assert taken[-1]
    reader = client.protocol.reader  # type: ignore[attr-defined]
    for _ in range(ticks):
        client.protocol.on_tick(harness.runtime.tick)  # type: ignore[attr-defined]
    assert reader.pattern is reader.fields_before is None
    taken.clear()
    client.send(*map(traced, range(6)))
    assert taken[-2:] == [True, True]
    assert len(client.responses()) == 12


def test_what_proxies_say_of_a_client_stays_with_its_requests(serve: Serve) -> None:
    recorder = Recorder(echo)
    client = serve(recorder, forwarded_allow_ips="*").connect(peername=("127.0.0.1", 9))
    said = "7777887777"
    for number, last in enumerate(said):
        client.send(traced(number, f"X-Forwarded-For: 203.0.113.{last}"))
    assert "".join(scope["client"][0][-1] for scope in recorder.scopes) == said
    assert [scope["path"] for scope in recorder.scopes] == [f"/{number}" for number in range(len(said))]


def test_posts_that_are_the_same_are_compared_whole(serve: Serve) -> None:
    """Their fields are not read; where the length is another one they are, and of the second such one no more."""
    harness = serve(Recorder(echo))
    harness.connect().send(*[same()] * 4)
    client = harness.connect().send(*[same()] * 5)
    reader = client.protocol.reader  # type: ignore[attr-defined]
    fields = same().partition(b"/same HTTP/1.1")[2][:-5]
    assert reader.again == fields
    client.send(same(b"other"), same(target="/other"))
    assert reader.again == fields
    client.send(same(b"x"))
    assert reader.again is None
    client.send(same(b"y"))
    assert reader.again == fields.replace(b"Length: 5", b"Length: 1")
    bodies = [b"12345"] * 5 + [b"other", b"12345", b"x", b"y"]
    assert [response.body.split()[2] for response in client.responses()] == bodies


def test_only_small_lengths_are_remembered(serve: Serve) -> None:
    client = serve(Recorder(echo)).connect()
    asked = [*range(1, 9), *range(KNOWN_LENGTHS - 2, KNOWN_LENGTHS + 2)]
    client.send(*(same(b"x" * size) for size in asked))
    assert [len(response.body.split()[2]) for response in client.responses()] == asked
    lengths = client.protocol.shared.lengths  # type: ignore[attr-defined]
    assert lengths
    assert all(size < KNOWN_LENGTHS and digits == b"%d" % size for digits, size in lengths.items())
