"""Fields of HTTP/2 responses: checked, and put in the form that the engine sends.

As in HTTP/1.1, what an application sends again and again is checked once and remembered. What is remembered is in
the engine's own form, which is the same for all connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from uvicorn_worker.core.errors import ApplicationError
from uvicorn_worker.core.grammar import LENGTH_DIGITS
from uvicorn_worker.core.response_fields import HOP_BY_HOP, as_pair, check_field, read_length
from uvicorn_worker.core.runtime import Runtime

__all__ = ["PreparedFields"]

# RFC 9113, 8.2.2: what says something of an HTTP/1.1 connection has no place here.
_LEFT_OUT = HOP_BY_HOP | {b"keep-alive", b"upgrade"}

# As in http1/response_head.py: long values differ each time.
_MEMO_SIZE = 2048
_MEMO_LONGEST = 128

# As in http1/cycle.py: how many whole heads are kept between two changes of the Date line, and how long they may be.
_MOST_HEADS = 128
_LONGEST_HEAD = 1024

# Prepared Content-Length fields of so many lengths are kept.
_LENGTHS = 1024


class PreparedFields:
    """The fields of responses in the form that one kind of engine takes."""

    __slots__ = ("_default_lines", "_default_names", "_defaults", "_heads", "_lengths", "_memo", "_prepare", "_runtime")

    def __init__(self, runtime: Runtime, prepare: Callable[[bytes, bytes], Any]) -> None:
        self._runtime = runtime
        self._prepare = prepare
        self._memo: dict[tuple[bytes, bytes], Any] = {}
        self._lengths: dict[int, Any] = {}
        # What was made of whole lists of fields: those of the response, and its Content-Length.
        self._heads: dict[tuple[Any, ...], tuple[tuple[Any, ...], int | None]] = {}
        # The server's own fields, and the lines of the runtime that they were made of.
        self._default_lines = b""
        self._default_names: list[bytes] = []
        self._defaults: list[Any] = []

    def length(self, length: int) -> Any:
        """The prepared Content-Length."""
        prepared = self._lengths.get(length)
        if prepared is None:
            prepared = self._prepare(b"content-length", b"%d" % length)
            if len(self._lengths) < _LENGTHS:
                self._lengths[length] = prepared
        return prepared

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[Any], int | None]:
        """The prepared fields of a response, those of the server with them, and its Content-Length.

        That field is not among them, since it depends on the status whether it is sent. Raises `ApplicationError`
        for what must not reach the wire.
        """
        if self._default_lines is not self._runtime.defaults.lines:
            self._refresh()
        key: tuple[Any, ...] | None = None
        if type(headers) is list:
            key = tuple(headers)
            try:
                known = self._heads.get(key)
            except TypeError:
                # A field that is a list, which ASGI allows, has no hash.
                key = None
            else:
                if known is not None:
                    return [*known[0]], known[1]
        fields: list[Any] = []
        length, present = self._encode(headers, fields)
        if present is None:
            fields += self._defaults
        else:
            both = zip(self._default_names, self._defaults, strict=True)
            fields += [prepared for name, prepared in both if name not in present]
        if key is not None and len(self._heads) < _MOST_HEADS and sum(map(len, chain(*key))) <= _LONGEST_HEAD:
            self._heads[key] = tuple(fields), length
        return fields, length

    def _encode(
        self, headers: Iterable[tuple[bytes, bytes]], fields: list[Any]
    ) -> tuple[int | None, set[bytes] | None]:
        memo = self._memo
        length: int | None = None
        present: set[bytes] | None = None
        for field in headers:
            try:
                prepared = memo.get(field)
                if prepared is not None:
                    fields.append(prepared)
                    continue
                name, value = field
            except (TypeError, ValueError):
                # A list, which ASGI allows and which has no hash, or something that is no header at all.
                name, value = as_pair(field)
            if type(name) is not bytes or type(value) is not bytes:
                name, value = as_pair((name, value))
            if name == b"content-length" and length is None and value.isdigit() and len(value) <= LENGTH_DIGITS:
                length = int(value)
                continue
            check_field(name, value)
            lowered = name.lower()
            if lowered == b"content-length":
                length = read_length(value, length)
            elif lowered not in _LEFT_OUT:
                # 8.2.1: a value must not begin or end with white space.
                prepared = self._prepare(lowered, value.strip(b" \t"))
                fields.append(prepared)
                if lowered in self._runtime.defaults.names:
                    present = (present or set()) | {lowered}
                elif len(name) + len(value) <= _MEMO_LONGEST:
                    if len(memo) >= _MEMO_SIZE:
                        memo.clear()
                    memo[name, value] = prepared
        return length, present

    def informational(self, headers: Iterable[tuple[bytes, bytes]]) -> list[Any]:
        """The prepared fields of trailers, or of a response before the final one: the application's alone."""
        fields: list[Any] = []
        if self._encode(headers, fields)[0] is not None:
            raise ApplicationError("content-length is no field of trailers, nor of an informational response")
        return fields

    def _refresh(self) -> None:
        """Prepare the server's own fields anew, since the second has changed."""
        self._heads.clear()
        lines = self._default_lines = self._runtime.defaults.lines
        fields = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
        fields = [field for field in fields if field[0] not in _LEFT_OUT]
        self._default_names = [name for name, _, _ in fields]
        self._defaults = [self._prepare(name, value.strip(b" \t")) for name, _, value in fields]
