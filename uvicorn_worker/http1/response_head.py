"""The head of an HTTP/1.1 response, encoded and checked.

What an application sends again and again (its header fields mostly are the same ones) is checked
and encoded once and remembered: a field that is remembered costs one look-up. Nothing gets into the
memo, nor onto the wire, that has not been checked against RFC 9110, 5.1 and 5.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.core.grammar import LENGTH_DIGITS
from uvicorn_worker.core.response_fields import (
    HOP_BY_HOP,
    as_pair,
    check_field,
    check_status,
    read_length,
)

__all__ = ["CLOSES", "STATUS_LINES", "FieldMemo", "encode_field", "encode_fields", "status_line"]

STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

CLOSES = 1
"""Flag of `encode_fields`: the application sent `Connection: close`."""

# Values that differ each time would fill the memo of encoded lines, so long ones are not kept in it, and it
# starts anew when it is full.
_MEMO_SIZE = 2048
_MEMO_LONGEST = 128

FieldMemo = dict[tuple[bytes, bytes], bytes]


def status_line(status: Any) -> bytes:
    """The status line of `status`; the reason phrase is empty for a code without a registered one."""
    code = check_status(status)
    return STATUS_LINES.setdefault(code, b"HTTP/1.1 %d \r\n" % code)


def encode_field(name: Any, value: Any) -> bytes:
    """One field line with its line end; raises `ApplicationError` for a name or a value that is not allowed."""
    check_field(name, value)
    line: bytes = name + b": " + value + b"\r\n"
    return line


def encode_fields(
    headers: Iterable[tuple[bytes, bytes]], lines: list[bytes], memo: FieldMemo, defaulted: frozenset[bytes]
) -> tuple[int | None, int, set[bytes] | None]:
    """Append the field lines of `headers` to `lines`.

    Gives the Content-Length (None without one; its line is not appended, since it depends on the status
    whether it is sent), the flags (`CLOSES`), and which of the `defaulted` names the application has set.
    Raises `ApplicationError` for what must not reach the wire.
    """
    length: int | None = None
    flags = 0
    present: set[bytes] | None = None
    for field in headers:
        try:
            line = memo.get(field)
            if line is not None:
                lines.append(line)
                continue
            name, value = field
        except (TypeError, ValueError):
            # A list, which ASGI allows and which has no hash, or something that is no header at all.
            name, value = as_pair(field)
        if type(name) is not bytes or type(value) is not bytes:
            name, value = as_pair((name, value))
        if name == b"content-length" and value.isdigit() and len(value) <= LENGTH_DIGITS:
            if length is not None and length != int(value):
                raise ApplicationError("the response has two different content-length headers")
            length = int(value)
            continue
        line = encode_field(name, value)
        lowered = name.lower()
        if lowered == b"content-length":
            length = read_length(value, length)
        elif lowered in HOP_BY_HOP:
            if lowered == b"connection" and b"close" in value.lower():
                flags |= CLOSES
        else:
            lines.append(line)
            if lowered in defaulted:
                if present is None:
                    present = set()
                present.add(lowered)
            elif len(line) <= _MEMO_LONGEST:
                if len(memo) >= _MEMO_SIZE:
                    memo.clear()
                memo[name, value] = line
    return length, flags, present
