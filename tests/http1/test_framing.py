"""`read_framing`: what the server's own fields say of a request's body."""

from __future__ import annotations

import pytest

from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.http1.framing import read_framing

Fields = list[tuple[bytes, bytes]]
HOST: Fields = [(b"host", b"a")]
CHUNKED: Fields = [(b"transfer-encoding", b"chunked")]
LENGTH: Fields = [(b"content-length", b"5")]
EXPECT: Fields = [(b"expect", b"100-continue")]


@pytest.mark.parametrize(
    ("version", "fields", "length", "expects"),
    [
        ("1.1", HOST, 0, False),
        ("1.0", [], 0, False),
        ("1.0", HOST, 0, False),
        ("1.1", HOST + LENGTH, 5, False),
        ("1.1", [(b"content-length", b"007"), *HOST], 7, False),
        ("1.1", [*HOST, (b"content-length", b"0")], 0, False),
        ("1.1", HOST + CHUNKED, None, False),
        ("1.1", [*HOST, (b"transfer-encoding", b" Chunked\t")], None, False),
        ("1.1", HOST + LENGTH + EXPECT, 5, True),
        ("1.1", HOST + CHUNKED + EXPECT, None, True),
        ("1.1", [*HOST, *LENGTH, (b"expect", b"100-Continue")], 5, True),
        ("1.1", HOST + EXPECT, 0, False),
        ("1.0", HOST + LENGTH + EXPECT, 5, False),
        ("1.0", [*HOST, (b"expect", b"anything")], 0, False),
    ],
)
def test_it_takes(version: str, fields: Fields, length: int | None, expects: bool) -> None:
    framing = read_framing(version, "POST", fields)
    assert (framing.length, framing.expects_continue) == (length, expects)


@pytest.mark.parametrize(
    ("version", "method", "fields", "status"),
    [
        ("0.9", "GET", [], 400),
        ("1.2", "GET", HOST, 505),
        ("2.0", "GET", HOST, 505),
        ("1.1", "CONNECT", HOST, 501),
        ("1.1", "GET", [], 400),
        ("1.1", "GET", LENGTH, 400),
        ("1.1", "GET", HOST + HOST, 400),
        ("1.0", "GET", HOST + HOST, 400),
        ("1.0", "POST", HOST + CHUNKED, 400),
        ("1.1", "POST", HOST + CHUNKED + LENGTH, 400),
        ("1.1", "POST", HOST + LENGTH + CHUNKED, 400),
        ("1.1", "POST", HOST + LENGTH + LENGTH, 400),
        ("1.1", "POST", [*HOST, (b"content-length", b"5, 5")], 400),
        ("1.1", "POST", [*HOST, (b"content-length", b"")], 400),
        ("1.1", "POST", [*HOST, (b"content-length", b"-5")], 400),
        ("1.1", "POST", [*HOST, (b"content-length", b"+5")], 400),
        ("1.1", "POST", [*HOST, (b"content-length", b"5_0")], 400),
        ("1.1", "POST", [*HOST, (b"content-length", b"\xb2")], 400),
        ("1.1", "POST", [*HOST, (b"content-length", b"0" * 5000)], 400),
        ("1.1", "POST", [*HOST, (b"transfer-encoding", b"gzip")], 501),
        ("1.1", "POST", [*HOST, (b"transfer-encoding", b"gzip, chunked")], 501),
        ("1.1", "POST", [*HOST, (b"transfer-encoding", b"xchunked")], 501),
        ("1.1", "POST", [*HOST, (b"transfer-encoding", b"")], 400),
        ("1.1", "POST", [*HOST, (b"transfer-encoding", b"chunked, gzip")], 400),
        ("1.1", "POST", [*HOST, (b"transfer-encoding", b"chunked, chunked")], 400),
        ("1.1", "POST", HOST + CHUNKED + CHUNKED, 400),
        ("1.1", "GET", [*HOST, (b"expect", b"200-ok")], 417),
        ("1.1", "GET", [*HOST, *EXPECT, (b"expect", b"200-ok")], 417),
    ],
)
def test_it_refuses(version: str, method: str, fields: Fields, status: int) -> None:
    with pytest.raises(RequestRefused) as caught:
        read_framing(version, method, fields)
    assert caught.value.status == status
