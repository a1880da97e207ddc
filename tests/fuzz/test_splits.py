"""Requests that are mutated at random and cut into reads at random: the outcome does not depend on the reads."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.http1.apps import Recorder, answer
from tests.scripted import Client, Harness, get, parse_responses, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http1.parsers import OtherMethod

SEED = 20_240_607
# The first of them with each run, the others with the long tests.
ROUNDS = [range(50), pytest.param(range(50, 150), marks=pytest.mark.long)]

CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SEEDS = [
    get("/"),
    get("/a%20b?c=d", "Accept: */*", "User-Agent: fuzz"),
    get("/", "Connection: close"),
    get("/", "Connection: keep-alive", version="1.0"),
    get("/", version="1.0"),
    get("/", method="HEAD"),
    get("*", method="OPTIONS"),
    get("http://b.example/x"),
    get("/", "Connection: Upgrade", "Upgrade: foo"),
    post(b"0123456789"),
    post(b"x" * 300, "Expect: 100-continue"),
    post(b"hello", "Connection: Upgrade", "Upgrade: foo"),
    CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
    CHUNKED + b"a\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n",
]
# What is put where it does not belong.
TOKENS = [
    *(bytes([code]) for code in b'\0\t\n\r :;,/#?%*"\\\x7f\xe9\xff0159aZ'),
    *(b"\r\n", b"\r\n\r\n", b"\n\n", b" HTTP/1.1\r\n", b"Host: b\r\n", b"Content-Length: 3\r\n", b"0\r\n\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"ffffffffffffffffff", b"GET / HTTP/1.1\r\n"),
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked, once the body is there; says nothing to a client that is gone."""
    data = b""
    while (event := await receive())["type"] == "http.request":
        data += event["body"]
        if not event["more_body"]:
            asked = (scope["method"], scope["http_version"], scope["raw_path"], scope["query_string"], scope["headers"])
            await answer(send, repr((*asked, data)).encode())
            return


def mutate(rng: random.Random, data: bytes) -> bytes:
    """`data` with some of its bytes removed, doubled, replaced or moved."""
    for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice([0, 1, 1, 2, 8]))
        kind = rng.random()
        if kind < 0.5:
            data = data[:at] + rng.choice(TOKENS) + data[end:]
        elif kind < 0.7:
            data = data[:at] + data[end:]
        elif kind < 0.9:
            data = data[:end] + data[at:]
        else:
            data = data[:at]
    return data


def requests(rng: random.Random) -> bytes:
    """One to four requests behind each other, some of them harmed."""
    return b"".join(mutate(rng, rng.choice(SEEDS)) for _ in range(rng.choice([1, 1, 2, 4])))


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """The same bytes in reads of random sizes."""
    pieces = []
    while data:
        size = rng.choice([1, 2, 3, 7, 20, 60, 200, len(data)])
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def check_end(client: Client) -> None:
    """Whatever came, it is answered or closed, or it waits for more and ends in time."""
    client.harness.tick(20)
    client.eof()
    assert client.transport.lost
    runtime = client.harness.runtime
    assert (len(runtime.connections), len(runtime.cycles)) == (0, 0)


def outcome(parser: str, pieces: list[bytes]) -> tuple[list[tuple[int, bytes, bool]], bool]:
    """Status and body of each answer, whether it ends the connection, and whether that is so in the end."""
    recorder = Recorder(app)
    harness = Harness(recorder, parser=parser, timeout_keep_alive=5, timeout_request_head=5)
    client = harness.connect()
    for piece in pieces:
        client.send(piece)
    reader = getattr(client.protocol, "reader", None)
    if isinstance(getattr(reader, "parser", None), OtherMethod):
        # A word that is no method is refused when it has ended, or at once where other messages came in the same read.
        client.send(b" ")
    output, closed = client.transport.output, client.closed
    check_end(client)
    harness.close()
    responses = parse_responses(output, [scope["method"] for scope in recorder.scopes], ended=closed)
    # A 100 is sent or not, as the body is there or not. Where several things are wrong, a refusal names one of them.
    return [
        (each.status, each.body, each.closes) if each.status == 200 else (400, b"", each.closes)
        for each in responses
        if each.status != 100
    ], closed


def cases(rounds: range) -> Iterator[tuple[random.Random, bytes]]:
    for number in rounds:
        rng = random.Random(SEED + number)
        yield rng, requests(rng)


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_the_reads_do_not_matter(parser: str, rounds: range) -> None:
    for rng, data in cases(rounds):
        whole = outcome(parser, [data])
        for pieces in ([data[at : at + 1] for at in range(len(data))], cut(rng, data), cut(rng, data)):
            assert outcome(parser, pieces) == whole, pieces


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_noise_ends_in_an_answer_or_a_close(parser: str, rounds: range) -> None:
    for number in rounds:
        rng = random.Random(SEED + number)
        outcome(parser, cut(rng, rng.randbytes(rng.choice([1, 10, 300]))))


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("parser", ["httptools", "h11"])
def test_a_warm_connection_is_as_a_fresh_one(parser: str, rounds: range) -> None:
    warm = [get("/w", "X-Warm: 1")] * 2 + [get("/w")] * 2
    for rng, data in cases(rounds):
        pieces = cut(rng, data)
        responses, closed = outcome(parser, [*warm, *pieces])
        assert (responses[4:], closed) == outcome(parser, pieces), pieces
