"""What an application may put into the fields of a response."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.core.response_fields import (
    HOP_BY_HOP,
    as_fields,
    as_pair,
    check_field,
    check_status,
    check_trailers,
    informational_of,
    links_of,
    missing,
    read_length,
)


@pytest.mark.parametrize("status", [100, 200, 404, 999, True + 199, 200.0, HTTPStatus.CREATED])
def test_statuses(status: Any) -> None:
    assert check_status(status) == status
    assert type(check_status(status)) is int


@pytest.mark.parametrize("status", [99, 1000, "200", 200.5, float("nan"), None])
def test_what_is_no_status(status: Any) -> None:
    with pytest.raises(ApplicationError, match="must be an integer from 100 to 999"):
        check_status(status)


@pytest.mark.parametrize(("name", "value"), [(b"x-a", b""), (b"X-A", b"a b\t\xff"), (b"!#$%&'*+-.^_`|~9", b'"')])
def test_fields(name: bytes, value: bytes) -> None:
    check_field(name, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x-a", b"", "must be pairs of bytes"),
        (b"x-a", "", "must be pairs of bytes"),
        (b"x-a", None, "must be pairs of bytes"),
        (b"", b"", "is not a token"),
        (b"x a", b"", "is not a token"),
        (b"x-a:", b"", "is not a token"),
        (b"x-a\n", b"", "is not a token"),
        (b"x-a", b"a\r\nx-b: c", "x-a has a control character"),
        (b"x-a", b"\0", "x-a has a control character"),
    ],
)
def test_what_is_no_field(name: Any, value: Any, message: str) -> None:
    with pytest.raises(ApplicationError, match=message):
        check_field(name, value)


@pytest.mark.parametrize(("value", "before", "length"), [(b"0", None, 0), (b"12", None, 12), (b"12", 12, 12)])
def test_lengths(value: bytes, before: int | None, length: int) -> None:
    assert read_length(value, before) == length


@pytest.mark.parametrize(("value", "before"), [(b"", None), (b"-1", None), (b"1, 1", None), (b"+1", None), (b"12", 13)])
def test_what_is_no_length(value: bytes, before: int | None) -> None:
    with pytest.raises(ApplicationError, match="content-length is not one number"):
        read_length(value, before)


def test_pairs_that_are_no_tuples() -> None:
    assert as_pair([b"a", b"b"]) == (b"a", b"b")


@pytest.mark.parametrize(
    "field",
    [("a", "b\xe9"), (b"a", "b\xe9"), ["a", b"b\xe9"], (bytearray(b"a"), memoryview(b"b\xe9"))],
    ids=["text", "one of them text", "list", "buffers"],
)
def test_text_and_other_buffers(field: Any) -> None:
    assert as_pair(field) == (b"a", b"b\xe9")


@pytest.mark.parametrize(
    "field", [None, 1, (), (b"a",), (b"a", b"b", b"c"), (b"a", "\u20ac"), (b"a", 1), [b"a", [b"b"]]]
)
def test_what_is_no_pair(field: Any) -> None:
    with pytest.raises(ApplicationError, match="must be pairs of bytes"):
        as_pair(field)


def test_the_framing_is_the_servers() -> None:
    assert {b"connection", b"transfer-encoding"} <= HOP_BY_HOP


def test_trailers() -> None:
    check_trailers([(b"x-checksum", b"1"), (b"Server-Timing", b"a")])
    check_trailers([])


@pytest.mark.parametrize("name", [b"Content-Length", b"host", b"TE", b"trailer", b"content-type"])
def test_what_does_not_come_last(name: bytes) -> None:
    with pytest.raises(ApplicationError, match=f"{name.decode()} is no field of trailers"):
        check_trailers([(b"x-a", b"1"), (name, b"1")])


def test_headers_of_any_kind() -> None:
    pairs = [(b"a", b"1"), (b"b", b"2")]
    assert as_fields(pairs) == as_fields(tuple(pairs)) == as_fields(dict(pairs).items()) == pairs
    for wrong in (None, 5):
        with pytest.raises(ApplicationError, match="must be pairs of bytes, not "):
            as_fields(wrong)


def test_links() -> None:
    kind = "http.response.early_hint"
    assert links_of({"type": kind, "links": [b"a", bytearray(b"b")]}) == [b"a", b"b"]
    for message in ({"type": kind}, {"type": kind, "links": None}, {"type": kind, "links": ["a"]}):
        with pytest.raises(ApplicationError, match="links"):
            links_of(message)


def test_heads_before_that_of_the_response() -> None:
    kind = "http.response.informational"
    assert informational_of({"type": "http.response.early_hint", "links": [b"a"]}) == (103, [(b"link", b"a")])
    assert informational_of({"type": kind, "status": HTTPStatus.PROCESSING}) == (102, [])
    assert informational_of({"type": kind, "status": 103, "headers": iter([(b"a", b"b")])}) == (103, [(b"a", b"b")])
    for message in ({"type": kind}, *({"type": kind, "status": status} for status in (99, 101, 200, None, "103"))):
        with pytest.raises(ApplicationError, match="status"):
            informational_of(message)


def test_what_is_missing_is_named() -> None:
    assert str(missing({"type": "a"}, "status")) == "the ASGI message 'a' has no status"
    assert str(missing({}, "type")) == "an ASGI message has no type"
    assert str(missing([], "type")) == "an ASGI message must be a dictionary, not []"
