"""The checks of limits.py, for heads that are whole and heads that are not yet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http1.apps import hello
from tests.http1.conftest import Connect
from tests.scripted import get
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.http1.limits import PartialHead, PartialLines, check_head, too_many_fields

Fields = list[tuple[bytes, bytes]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


SMALL = Config(app=app, limit_request_line=100, limit_request_fields=3, limit_request_field_size=50)
NONE = Config(app=app, limit_request_line=0, limit_request_field_size=0)


def status_of(check: Any, *args: Any) -> int:
    """The status of the refusal; 0 where there is none."""
    try:
        check(*args)
    except RequestRefused as exc:
        return exc.status
    return 0


@pytest.mark.parametrize(
    ("url", "fields", "status"),
    [
        (b"/", [], 0),
        (b"/" * 87, [], 0),
        (b"/" * 88, [], 414),
        (b"/", [(b"a", b"b" * 49)], 0),
        (b"/", [(b"a", b"b" * 50)], 431),
        (b"/", [(b"ok", b""), (b"a" * 51, b"")], 431),
    ],
)
def test_check_head(url: bytes, fields: Fields, status: int) -> None:
    assert status_of(check_head, SMALL, b"GET", url, fields) == status
    assert status_of(check_head, NONE, b"GET", url * 1000, fields) == 0


@pytest.mark.parametrize(
    ("size", "url", "fields", "status"),
    [
        (10, None, [], 0),
        (101, None, [], 400),
        (20, b"/", [], 0),
        (120, b"/" * 100, [], 0),
        (121, b"/" * 101, [], 414),
        (100, b"/", [(b"a", b"b")] * 3, 0),
        (200, b"/", [(b"a", b"b")] * 4, 431),
        (80, b"/", [(b"a", b"b" * 50)], 431),
        (100, b"/", [(b"a", b"b")], 0),
        (300, b"/", [(b"a", b"b")], 431),
        (1000, b"/", [], 431),
    ],
)
def test_partial_head(size: int, url: bytes | None, fields: Fields, status: int) -> None:
    assert status_of(PartialHead().check, SMALL, size, url, fields) == status


def test_partial_head_without_limits() -> None:
    assert status_of(PartialHead().check, NONE, 10_000_000, b"/" * 9_000_000, [(b"a", b"b" * 900_000)]) == 0


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 0),
        (b"GET /", 0),
        (b"G" * 101, 0),
        (b"G" * 102, 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3, 0),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5, 431),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 40, 0),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 60, 431),
    ],
)
@pytest.mark.parametrize("each", [1, 7, None])
def test_partial_lines(head: bytes, status: int, each: int | None) -> None:
    def check(config: Config) -> None:
        lines = PartialLines(config)
        for at in range(0, len(head), each or len(head) or 1):
            lines.add(head[at : at + (each or len(head))])

    assert status_of(check, SMALL) == status


def test_partial_lines_without_limits() -> None:
    def check(config: Config) -> None:
        PartialLines(config).add(b"G" * 1_000_000 + b"\r\na: " + b"b" * 1_000_000)

    assert status_of(check, NONE) == 0


def test_the_limit_is_named() -> None:
    refusal = too_many_fields(SMALL)
    assert (refusal.status, refusal.reason) == (431, "the head has more than 3 fields")


def test_a_target_of_8000_bytes_is_served(connect: Connect) -> None:
    """RFC 9112, 3 recommends it."""
    assert connect(hello).send(get("/" + "x" * 7999)).response().status == 200


@pytest.mark.parametrize("each", [None, 1])
def test_a_coding_after_chunked_is_a_bad_request(connect: Connect, each: int | None) -> None:
    request = get("/", "Transfer-Encoding: chunked, gzip", method="POST")
    assert connect(hello).send(request, each=each).response().status == 400
