"""Chunked bodies (RFC 9112, 7.1): both parsers read the same, whole and byte by byte, and refuse the same."""

from __future__ import annotations

import random

import pytest

from tests.http1.apps import Recorder, echo
from tests.http1.conftest import Connect
from tests.http1.harness import Http1Harness
from tests.scripted import Harness
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.http1.chunked import ChunkedBody

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

# What both of them read, and the content.
GOOD = {
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "two chunks": (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    "nothing": (b"0\r\n\r\n", b""),
    "zeros in front": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "upper case": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "lower case": (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "an extension": (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello"),
    "an extension without a value": (b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello"),
    "several extensions": (b"5;a=b;c=d;e\r\nhello\r\n0\r\n\r\n", b"hello"),
    "a quoted value": (b'5;a="b"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "a quoted semicolon": (b'5;a="b;c"\r\nhello\r\n0\r\n\r\n', b"hello"),
    "blanks around an extension": (b"5 ; a\t=  b\r\nhello\r\n0; c\r\n\r\n", b"hello"),
    "a trailer field": (b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", b"hello"),
    "two trailer fields": (b"5\r\nhello\r\n0\r\na: 1\r\nb:\r\n\r\n", b"hello"),
}

# What neither takes.
BAD = {
    "a blank behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a blank before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a tab behind the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no size, but an extension": b";a=b\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "no hexadecimal digit": b"g\r\nhello\r\n0\r\n\r\n",
    "more digits than a number has": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "a bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "more data than the size": b"5\r\nhello!\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    "a bare CR in an extension": b"5;a=b\rc\r\nhello\r\n0\r\n\r\n",
    "a bare LF in an extension": b"5;a=b\nhello\r\n0\r\n\r\n",
    "a bare LF ends the trailers": b"5\r\nhello\r\n0\r\n\n",
    "a bare LF ends a trailer field": b"5\r\nhello\r\n0\r\na: b\n\r\n",
    "a folded trailer field": b"5\r\nhello\r\n0\r\na: b\r\n c\r\n\r\n",
    "a blank in a trailer's name": b"5\r\nhello\r\n0\r\na b: c\r\n\r\n",
    "a blank behind a trailer's name": b"5\r\nhello\r\n0\r\na : c\r\n\r\n",
    "no name": b"5\r\nhello\r\n0\r\n: c\r\n\r\n",
    "no colon": b"5\r\nhello\r\n0\r\nabc\r\n\r\n",
    "NUL in a trailer field": b"5\r\nhello\r\n0\r\na: \x00\r\n\r\n",
    "a bare CR in a trailer field": b"5\r\nhello\r\n0\r\na: b\rc\r\n\r\n",
}

EACH = [None, 1, 3]


def cut(data: bytes, each: int | None) -> list[bytes]:
    size = each or len(data)
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("each", EACH)
@pytest.mark.parametrize("name", GOOD)
def test_what_is_read(connect: Connect, name: str, each: int | None) -> None:
    body, content = GOOD[name]
    # A request behind it is read too.
    client = connect(echo).send(*cut(HEAD + body + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n", each))
    first, second = client.responses()
    assert (first.status, first.body) == (200, b"POST / " + content)
    assert (second.status, second.body) == (200, b"GET /next ")


@pytest.mark.parametrize("each", EACH)
@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(connect: Connect, name: str, each: int | None) -> None:
    app = Recorder(echo)
    client = connect(app).send(*cut(HEAD + BAD[name], each))
    assert client.response().status == 400
    assert client.closed
    assert app.done == 0 or app.raised


def outcome(harness: Harness, data: bytes, each: int | None) -> tuple[int, bytes] | None:
    """Status and body of the answer; None where the message has not ended."""
    client = harness.connect().send(*cut(data, each))
    if not client.transport.output:
        client.leave()
        return None
    response = client.responses()[0]
    client.leave()
    return response.status, response.body if response.status == 200 else b""


# Pieces of which chunked bodies are made, good ones more often than others.
SIZES = [b"1", b"1", b"1", b"01", b"", b"1 ", b"\t1", b"g", b"1\x00"]
EXTENSIONS = [
    b"",
    b"",
    b"",
    b";a",
    b";a=b",
    b';a="b"',
    b";",
    b";=",
    b";a=",
    b';a="',
    b";a\x00",
    b";a\x7f",
    b";a=b c",
    b";\r",
]
ENDS = [b"\r\n"] * 8 + [b"\n", b"\r", b"\n\r"]
TRAILERS = [b"", b"", b"", b"a: b\r\n", b"a:\r\n", b"a b: c\r\n", b" a: b\r\n", b"a: b\n", b"a\r\n", b"a: \x01\r\n"]


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 10))])
def test_both_agree(seed: int) -> None:
    """Over the grammar of chunk lines and trailers, with faults."""
    pytest.importorskip("httptools")
    harnesses = [Http1Harness(echo, parser=parser) for parser in ("httptools", "h11")]
    choose = random.Random(seed).choice
    for _ in range(30):
        body = b"".join(
            choose(SIZES) + choose(EXTENSIONS) + choose(ENDS) + b"x" + choose(ENDS) for _ in range(choose([0, 1, 2]))
        )
        body += b"0" + choose(EXTENSIONS) + choose(ENDS) + choose(TRAILERS) + choose(ENDS)
        for each in EACH:
            theirs, ours = (outcome(harness, HEAD + body, each) for harness in harnesses)
            assert ours == theirs, body
    for harness in harnesses:
        harness.close()


class TestAlone:
    def test_what_comes_behind_is_given_back(self) -> None:
        assert ChunkedBody().feed(b"1\r\na\r\n0\r\n\r\nGET") == ([b"a"], b"GET")

    @pytest.mark.parametrize("extension", [b"; a=b", b" ;a=b", b";\ta = b", b' ; a = "b c" ;d', b';a="\\""'])
    def test_blanks_around_an_extension(self, extension: bytes) -> None:
        """7.1.1: "a recipient MUST parse for such bad whitespace and remove it"."""
        assert ChunkedBody().feed(b"1" + extension + b"\r\na\r\n0\r\n\r\n") == ([b"a"], b"")

    def test_a_chunk_that_is_too_long_is_seen_at_once(self) -> None:
        body = ChunkedBody()
        assert body.feed(b"1\r\na") == ([b"a"], None)
        with pytest.raises(RequestRefused):
            body.feed(b"b")

    @pytest.mark.parametrize("seed", range(20))
    def test_many_small_ones(self, seed: int) -> None:
        """Runs of the same size, and others between them, are read as one by one, whole or cut anywhere."""
        rng = random.Random(seed)
        lines: list[tuple[bytes, bytes]] = []
        while len(lines) < 400:
            size = rng.choice((1, 2, 9, 15, 16, 32, 33, 255, 300, rng.randrange(1, 5000)))
            line = rng.choice((b"%x", b"%X", b"%x;a", b"0%x", b"%x ;a=b")) % size + b"\r\n"
            lines += [(line, rng.randbytes(size)) for _ in range(rng.choice((1, 3, 5, 6, 7, 20, 100)))]
        data = b"".join(line + content + b"\r\n" for line, content in lines) + b"0\r\nX: y\r\n\r\nGET"
        expected = b"".join(content for _, content in lines)
        for each in (None, 65536, 4096, 100, rng.randrange(1, 1000)):
            body = ChunkedBody()
            results = [body.feed(piece) for piece in cut(data, each)]
            found = next(number for number, (_, rest) in enumerate(results) if rest is not None)
            assert b"".join(piece for content, _ in results[: found + 1] for piece in content) == expected
            assert (results[found][1] or b"") + b"".join(cut(data, each)[found + 1 :]) == b"GET"

    @pytest.mark.parametrize("size", [1, 16, 40])
    @pytest.mark.parametrize("number", [1, 4, 6, 7, 30, 99])
    def test_a_fault_among_them(self, size: int, number: int) -> None:
        """Wherever it is in a run, and whichever byte of a line it changes."""
        chunk = b"%x\r\n" % size + b"x" * size + b"\r\n"
        for at in [*range(len(chunk) - size - 2), -2, -1]:
            faulty = bytearray(chunk)
            faulty[at] = ord("!")
            with pytest.raises(RequestRefused):
                ChunkedBody().feed(chunk * number + faulty + chunk * (100 - number) + b"0\r\n\r\n")

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        remembered: dict[bytes, int] = {}
        monkeypatch.setattr("uvicorn_worker.http1.chunked._plain", remembered)
        for size in range(1, 0x10000, 7):
            line = b"%x" % size
            assert ChunkedBody().feed(line + b"\r\nx") == ([b"x"], None)
            assert ChunkedBody().feed(line.upper() + b"\r\nx") == ([b"x"], None)
            assert ChunkedBody().feed(line + b";" + b"a" * size + b"\r\nx") == ([b"x"], None)
        assert len(remembered) == 4096
        assert max(map(len, remembered)) == 8
