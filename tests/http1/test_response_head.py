"""The functions of response_head.py: status line and field lines of a response."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.http1.response_head import CLOSES, FieldMemo, encode_field, encode_fields, status_line

DEFAULTED = frozenset([b"date", b"server"])


def encode(headers: Any, memo: FieldMemo | None = None) -> tuple[bytes, int | None, int, set[bytes] | None]:
    lines: list[bytes] = []
    length, flags, present = encode_fields(headers, lines, {} if memo is None else memo, DEFAULTED)
    return b"".join(lines), length, flags, present


def test_status_lines() -> None:
    for status in HTTPStatus:
        assert status_line(status.value) == b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode())
    assert status_line(600) == status_line(600) == b"HTTP/1.1 600 \r\n"


@pytest.mark.parametrize("status", [99, 1000, -200, "200", None])
def test_status_line_refuses(status: Any) -> None:
    with pytest.raises(ApplicationError, match="integer from 100 to 999"):
        status_line(status)


def test_encode_field() -> None:
    assert encode_field(b"X-Name", b"a\tb \xe9") == b"X-Name: a\tb \xe9\r\n"
    assert encode_field(b"x", b"") == b"x: \r\n"


@pytest.mark.parametrize("code", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_a_control_character_is_refused_in_a_value(code: int) -> None:
    with pytest.raises(ApplicationError, match="control character"):
        encode_field(b"x-name", b"a" + bytes([code]) + b"b")


@pytest.mark.parametrize("code", [code for code in range(256) if not chr(code).isalnum() or code > 127])
def test_a_name_is_a_token(code: int) -> None:
    name = b"x" + bytes([code])
    if bytes([code]) in b"!#$%&'*+-.^_`|~":
        assert encode_field(name, b"v") == name + b": v\r\n"
    else:
        with pytest.raises(ApplicationError, match="not a token"):
            encode_field(name, b"v")


@pytest.mark.parametrize("repeat", [1, 3])
class TestEncodeFields:
    def test_lines(self, repeat: int) -> None:
        memo: FieldMemo = {}
        for _ in range(repeat):
            assert encode([(b"A", b"1"), [b"b", b"2"], (b"A", b"1")], memo) == (
                b"A: 1\r\nb: 2\r\nA: 1\r\n",
                None,
                0,
                None,
            )

    def test_the_length_is_told(self, repeat: int) -> None:
        memo: FieldMemo = {}
        for _ in range(repeat):
            assert encode([(b"content-length", b"12")], memo) == (b"", 12, 0, None)
            assert encode([(b"Content-Length", b"12"), (b"content-length", b"12")], memo) == (b"", 12, 0, None)

    def test_close_is_told(self, repeat: int) -> None:
        memo: FieldMemo = {}
        for _ in range(repeat):
            assert encode([(b"Connection", b"x, Close")], memo) == (b"", None, CLOSES, None)
            assert encode([(b"connection", b"keep-alive")], memo) == (b"", None, 0, None)

    def test_fields_of_the_connection_are_left_out(self, repeat: int) -> None:
        memo: FieldMemo = {}
        headers = [(b"Transfer-Encoding", b"chunked"), (b"Proxy-Connection", b"x")]
        for _ in range(repeat):
            assert encode(headers, memo) == (b"", None, 0, None)

    def test_defaulted_names_are_told(self, repeat: int) -> None:
        memo: FieldMemo = {}
        for _ in range(repeat):
            lines, _, _, present = encode([(b"Date", b"d"), (b"server", b"s"), (b"x", b"y")], memo)
            assert lines == b"Date: d\r\nserver: s\r\nx: y\r\n"
            assert present == {b"date", b"server"}

    @pytest.mark.parametrize(
        "field",
        [
            (b"x\n", b"y"),
            (b"x", b"y\n"),
            ("x\n", b"y"),
            (b"x", "y\n"),
            (b"x", "\u20ac"),
            (b"x", bytearray(b"y\n")),
            (b"x", 1),
            [b"x", "y\n"],
            [b"x", b"y\n"],
            (b"x",),
            (b"x", b"y", b"z"),
            7,
            None,
            (b"content-length", b"x"),
            (b"CONTENT-LENGTH", b"-1"),
            (b"content-length", b""),
        ],
        ids=repr,
    )
    def test_it_refuses(self, field: Any, repeat: int) -> None:
        memo: FieldMemo = {}
        for _ in range(repeat):
            with pytest.raises(ApplicationError):
                encode([(b"good", b"1"), field], memo)

    def test_text_is_as_bytes_are(self, repeat: int) -> None:
        memo: FieldMemo = {}
        headers = [("X", "y\xe9"), ("Content-Length", "12"), ("Server", b"s"), (b"connection", "close"), ["a", "b"]]
        for _ in range(repeat):
            assert encode(headers, memo) == (b"X: y\xe9\r\nServer: s\r\na: b\r\n", 12, CLOSES, {b"server"})
        assert all(type(part) is bytes for field in memo for part in field)

    @pytest.mark.parametrize("second", [b"content-length", b"Content-Length"])
    def test_it_refuses_two_lengths(self, second: bytes, repeat: int) -> None:
        for _ in range(repeat):
            with pytest.raises(ApplicationError):
                encode([(b"content-length", b"1"), (second, b"2")])


def test_the_memo_does_not_grow_without_end() -> None:
    memo: FieldMemo = {}
    for number in range(10_000):
        encode([(b"x", b"%d" % number), (b"long-%d" % number, b"y" * 1000)], memo)
    assert len(memo) <= 2048
    assert all(len(line) <= 200 for line in memo.values())
