"""The two parsers take the same requests, and refuse the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.http1.apps import Recorder
from tests.http1.test_bad_requests import BODIES, CHUNKED, HEADS, TO_POST, patient
from tests.scripted import Harness, get, parse_responses, post

GOOD = {
    "a request": get(),
    "an empty value": get("/", "X:"),
    "white space around a value": get("/", "X: \t y \t "),
    "bytes above ASCII in a value": get("/", "X: \xe9\xff"),
    "a tab in a value": get("/", "X: a\tb"),
    "a colon in a value": get("/", "X: a:b::c"),
    "a name of every token character": get("/", "!#$%&'*+-.^_`|~09azAZ: x"),
    "a zero before the length": TO_POST + b"Content-Length: 05\r\n\r\n12345",
    "an empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "HTTP/1.0 without a Host": b"GET / HTTP/1.0\r\n\r\n",
    "empty lines before": b"\r\n\r\n" + get(),
    "an absolute target": get("http://a.example/x"),
    "odd characters in the target": get("/~!$&'()*+,;=:@<>[]^`{|}\\\""),
    "a chunk extension": CHUNKED + b'5;a;b=c;d="e"\r\nhello\r\n0\r\n\r\n',
    "an upper case size": CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n",
    "zeros before a size": CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n",
    "trailers": CHUNKED + b"0\r\nX: y\r\nZ:\r\n\r\n",
    "an upgrade": get("/", "Connection: upgrade", "Upgrade: x"),
    "an expectation": post(b"12345", "Expect: 100-continue"),
    "many fields": get("/", *[f"X-{number}: y" for number in range(99)]),
    "a long value": get("/", "X: " + "y" * 8000),
    "a query with anything": get("/?a=b&c=%zz#"[:-1] + "[]{}|"),
    "QUERY": get(method="QUERY"),
    "several spaces in the request line": b"GET   /   HTTP/1.1\r\nHost: a\r\n\r\n",
}
# What one of them would take, and the server's own checks refuse for both.
REFUSED = {
    "a method in lower case": get(method="get"),
    "a method of two characters": get(method="GO"),
    "the same length twice": TO_POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n12345",
    "a list of the same length": TO_POST + b"Content-Length: 5, 5\r\n\r\n12345",
    "a control character in a value": get("/", "X: a\x01b"),
    "DEL in a value": get("/", "X: a\x7fb"),
    "RTSP/1.0": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "a length of twenty digits": TO_POST + b"Content-Length: 99999999999999999999\r\n\r\n12345",
}


def is_taken(parser: str, request: bytes) -> bool:
    """Whether the request is served, or waits for more of its body; False: it is refused."""
    recorder = Recorder(patient)
    harness = Harness(recorder, parser=parser)
    client = harness.connect().send(request)
    output, closed = client.transport.output, client.closed
    client.leave()
    harness.close()
    statuses = [each.status for each in parse_responses(output, ended=closed) if each.status >= 200]
    assert statuses or recorder.scopes, "neither served nor refused"
    return statuses in ([], [200])


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("request_", GOOD.values(), ids=GOOD)
def test_both_take(parser: str, request_: bytes) -> None:
    assert is_taken(parser, request_)


def bad() -> list[Any]:
    requests = {name: request for name, (request, _) in HEADS.items()}
    requests |= {f"a body with {name}": CHUNKED + body for name, body in BODIES.items()}
    return [pytest.param(request, id=name) for name, request in requests.items()]


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("request_", bad())
def test_both_refuse(parser: str, request_: bytes) -> None:
    assert not is_taken(parser, request_)


@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
def test_both_refuse_what_one_would_take(parser: str, request_: bytes) -> None:
    assert not is_taken(parser, request_)


# Unlike `is_taken`, what follows is about the very answers, whichever way the bytes are cut.
SEEDS = [
    *GOOD.values(),
    *REFUSED.values(),
    *(head for head, _ in HEADS.values()),
    *(CHUNKED + b for b in BODIES.values()),
]
PIECES = [
    *(b"\r\n", b"\n", b"\r", b" ", b"  ", b"\t", b"\0", b":", b",", b";", b"=", b"#", b"*", b"\x7f", b"\x80", b"\x16"),
    *(
        b"0",
        b"5",
        b"F" * 16,
        b"7" + b"F" * 15,
        b"FOO / ",
        b"get",
        b"PRI * HTTP/2.0",
        b"HTTP/1.2",
        b"HTTP/1.0",
        b" RTSP/1.1",
        b"chunked",
    ),
    *(
        b"chunked",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Host: a\r\n",
    ),
]
MUTATED = 200
LONGEST = 600


def mutated(rng: random.Random) -> bytes:
    """A request, mostly with a fault or two."""
    data = bytearray(rng.choice([seed for seed in SEEDS if len(seed) < LONGEST]))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(4)] = rng.choice((b"", rng.choice(PIECES)))
    return bytes(data)


def answers(harness: Harness, data: bytes, each: int, first: int) -> tuple[list[int], bool]:
    """The final statuses, and whether the connection is closed behind them."""
    client = harness.connect()
    for at in (0, *range(first, len(data), each)):
        if not client.closed:
            client.transport.deliver(data[at : at + each] if at else data[:first])
            harness.settle()
    output, closed = client.transport.output, client.closed
    client.leave()
    return [response.status for response in parse_responses(output, ended=closed) if response.status >= 200], closed


def test_the_answers_are_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """With both parsers, alone and behind another request, whole, cut in two, and byte by byte."""
    caplog.set_level("CRITICAL")
    rng = random.Random(9112)
    harnesses = [Harness(Recorder(patient), parser=parser) for parser in ("httptools", "h11")]
    for _ in range(MUTATED):
        request = rng.choice((b"", get("/before"))) + mutated(rng) + get("/behind")
        size = len(request)
        expected: tuple[list[int], bool] | None = None
        for each, first in ((size, size), (size, rng.randrange(1, size)), (1, 1), (3, 1)):
            for harness in harnesses:
                seen = answers(harness, request, each, first)
                expected = expected or seen
                assert agree(expected, seen), (request, expected, seen)
    for harness in harnesses:
        harness.close()


def agree(one: tuple[list[int], bool], other: tuple[list[int], bool]) -> bool:
    """The same; or one waits for the rest of a message that the other has refused by its beginning."""
    if one == other:
        return True
    (shorter, still_open), (longer, _) = sorted((one, other), key=lambda seen: len(seen[0]))
    refused = longer[len(shorter) :]
    return not still_open and longer[: len(shorter)] == shorter and len(refused) == 1 and refused[0] >= 400
