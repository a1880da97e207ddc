"""Lists in fields are read once: what is found of a value is all of its bytes, each of them once, however it is made.

A pattern that has to try again where it does not match leaves bytes out, or finds them at a second try.
"""

from __future__ import annotations

import re

import pytest

from uvicorn_worker.http2 import scheduler
from uvicorn_worker.switching import h2c

SIZE = 100_000


@pytest.mark.parametrize("piece", [b'"', b'"\\', b"a", b'"a', b'a"', b" ", b"\\", b',"', b","])
def test_pieces_of_priority(piece: bytes) -> None:
    value = piece * SIZE
    assert b"".join(scheduler._find_pieces(value)) == value


@pytest.mark.parametrize("piece", [b'"', b'"\\', b"a", b'"a', b" ", b'\\"', b',"', b","])
def test_no_piece_of_priority_is_tried_in_vain(piece: bytes) -> None:
    """At each place where a piece may begin one does, so nothing is looked at again from the next byte on."""
    pattern = re.compile(scheduler._PIECE, re.DOTALL)
    value, at = piece * 100, 0
    while at < len(value):
        found = pattern.match(value, at)
        assert found is not None
        at = found.end()


@pytest.mark.parametrize("piece", [b" ", b"\t", b" ,", b"a ", b", "])
def test_tokens_of_upgrade(piece: bytes) -> None:
    """Cut at commas, then bare of blanks: no expression is tried at each of these."""
    value = b"x" + piece * SIZE + b",h2c"
    settings = (b"http2-settings", b"AAMAAABk")
    headers = [(b"upgrade", value), (b"connection", b"upgrade" + piece * SIZE + b",http2-settings"), settings]
    assert h2c._settings_of(headers) == b"\x00\x03\x00\x00\x00d"
