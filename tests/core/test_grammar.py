"""The grammar of fields: each rule against the text of RFC 9110 (5.5, 5.6.2, 8.6)."""

from __future__ import annotations

import re
import string

import pytest

from uvicorn_worker.core.grammar import (
    QUOTED,
    expectations,
    find_control,
    is_host,
    is_token,
    parse_length,
)

TCHARS = ("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters).encode()


@pytest.mark.parametrize("octet", range(256))
def test_each_octet(octet: int) -> None:
    one = bytes([octet])
    assert bool(is_token(one)) == (one in [bytes([each]) for each in TCHARS])
    control = (octet < 32 and one != b"\t") or octet == 127
    assert bool(find_control(b"a" + one + b"b")) == control
    quoted = re.compile(QUOTED.encode()).fullmatch
    assert bool(quoted(b'"' + one + b'"')) == (not control and one not in b'"\\')
    assert bool(quoted(b'"\\' + one + b'"')) == (not control)
    assert bool(re.fullmatch(QUOTED, f'"{chr(octet)}"')) == (not control and one not in b'"\\')


def test_the_empty_one() -> None:
    assert not is_token(b"")


def test_quoted_strings() -> None:
    for text in ('""', r'"a \" \\ b"'):
        assert re.fullmatch(QUOTED, text)
    for text in ('"', '"a', 'a"', '"\\"', '"a"b"', ""):
        assert not re.fullmatch(QUOTED, text)


@pytest.mark.parametrize(
    ("value", "length"),
    [(b"0", 0), (b"007", 7), (b"9" * 19, 10**19 - 1), (b"9" * 20, None), (b"", None), (b"-1", None), (b"+1", None)],
)
def test_lengths(value: bytes, length: int | None) -> None:
    assert parse_length(value) == length


@pytest.mark.parametrize("value", [b"1 ", b" 1", b"1,1", b"1_0", b"0x1", b"\xb2", b"1\n"])
def test_what_is_no_length(value: bytes) -> None:
    assert parse_length(value) is None


@pytest.mark.parametrize(
    "value", [b"::1", b"::1:8000", b"fe80::1", b"2001:db8:0:0:0:0:0:1", b"2001:db8:1:2:3:4:5:6:80"]
)
def test_an_address_without_brackets_is_a_host(value: bytes) -> None:
    assert is_host(value)


@pytest.mark.parametrize("value", [b"a:1:2", b"::g", b"::1 ", b"::1/", b"1:2:3:4:5:6:7", b":" * 99])
def test_what_is_no_host(value: bytes) -> None:
    assert not is_host(value)


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"100-continue", {b"100-continue"}),
        (b"100-Continue,\t100-continue ,", {b"100-continue"}),
        (b"100-continue, a-pony", {b"100-continue", b"a-pony"}),
        (b"", set()),
        (b" , ", set()),
    ],
)
def test_expectations(value: bytes, members: set[bytes]) -> None:
    assert expectations(value) == members
