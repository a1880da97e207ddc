"""Names and values of fields: each octet against RFC 9113, 8.2.1."""

from __future__ import annotations

import string

import pytest

from uvicorn_worker.http2.engine.request_heads import is_lowercase_token, is_stripped_value

TCHARS = ("!#$%&'*+-.^_`|~" + string.digits + string.ascii_lowercase).encode()


@pytest.mark.parametrize("octet", range(256))
def test_each_octet(octet: int) -> None:
    one = bytes([octet])
    assert bool(is_lowercase_token(one)) == (one in [bytes([each]) for each in TCHARS])
    control = (octet < 32 and one != b"\t") or octet == 127
    assert bool(is_stripped_value(b"a" + one + b"b")) == (not control)
    assert bool(is_stripped_value(one)) == (not control and one not in b"\t ")


def test_the_empty_one() -> None:
    assert not is_lowercase_token(b"")
    assert is_stripped_value(b"")


def test_white_space_at_the_ends() -> None:
    assert is_stripped_value(b"a b")
    for value in (b" a", b"a ", b"\ta", b"a\t", b" "):
        assert not is_stripped_value(value)
