"""Lists in the fields of a handshake: tokens, protocols, extensions (RFC 9110, 5.6; RFC 6455, 9.1).

Each is read in one walk from left to right, and the first fault ends it. The patterns are compiled by the first
handshake.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from uvicorn_worker.core.grammar import TCHAR

__all__ = ["InvalidField", "extensions", "protocols", "tokens"]

T = TypeVar("T")
# Reads one item of a field's value: its name, its value, where; gives it, and where it ends.
_Reader = Callable[[str, str, int], tuple[T, int]]
_Parameters = list[tuple[str, "str | None"]]

_pattern = functools.cache(re.compile)

_SPACE = r"[\t ]*"
_TOKEN = rf"[{TCHAR}]+"
_PROTOCOL = rf"{_TOKEN}(?:/{_TOKEN})?"
# RFC 9110, 5.6.1.2: empty items are let by.
_COMMAS = r"(?:,[\t ]*)*"
# Narrower than that of core/grammar.py, as the websockets library has it: the words of a refusal are the same. What is
# left out here would be no token without its quotes, so either refuses it.
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e\x80-\xff])*"'


class InvalidField(Exception):
    """A field is missing (None), empty, or not what it has to be."""

    def __init__(self, name: str, value: str | None) -> None:
        if value:
            message = f"invalid {name} header: {value}"
        else:
            message = f"{'missing' if value is None else 'empty'} {name} header"
        super().__init__(message)


def tokens(name: str, values: Iterable[str]) -> list[str]:
    """The tokens of all values of a field."""
    return _read_lists(_token, name, values)


def protocols(name: str, values: Iterable[str]) -> list[str]:
    """The protocols of all values of Upgrade (RFC 9110, 7.8)."""
    return _read_lists(_protocol, name, values)


def extensions(name: str, values: Iterable[str]) -> list[tuple[str, _Parameters]]:
    """The extensions of all values of a field, each with its parameters and their values."""
    return _read_lists(_extension, name, values)


def _read_lists(read: _Reader[T], name: str, values: Iterable[str]) -> list[T]:
    items: list[T] = []
    for value in values:
        at, end = _skip(_COMMAS, value, 0), len(value)
        while True:
            item, at = read(name, value, at)
            items.append(item)
            at = _skip(_SPACE, value, at)
            if at == end:
                break
            behind = _skip(_COMMAS, value, at)
            if behind == at:
                raise _fault(name, "expected comma", value, at)
            at = behind
            if at == end:
                break
    return items


def _token(name: str, value: str, at: int) -> tuple[str, int]:
    return _match(_TOKEN, "token", name, value, at)


def _protocol(name: str, value: str, at: int) -> tuple[str, int]:
    return _match(_PROTOCOL, "protocol", name, value, at)


def _extension(name: str, value: str, at: int) -> tuple[tuple[str, _Parameters], int]:
    extension, at = _token(name, value, at)
    parameters: _Parameters = []
    at = _skip(_SPACE, value, at)
    while value.startswith(";", at):
        parameter, at = _token(name, value, _skip(_SPACE, value, at + 1))
        given = None
        at = _skip(_SPACE, value, at)
        if value.startswith("=", at):
            given, at = _parameter_value(name, value, _skip(_SPACE, value, at + 1))
            at = _skip(_SPACE, value, at)
        parameters.append((parameter, given))
    return (extension, parameters), at


def _parameter_value(name: str, value: str, at: int) -> tuple[str, int]:
    """A token, or one in quotes."""
    if not value.startswith('"', at):
        return _token(name, value, at)
    quoted, end = _match(_QUOTED, "quoted string", name, value, at)
    given = re.sub(r"\\(.)", r"\1", quoted[1:-1])
    if _pattern(_TOKEN).fullmatch(given) is None:
        # RFC 6455, 9.1: without its quotes it has to be a token as well.
        raise _fault(name, "invalid quoted header content", value, at)
    return given, end


def _match(pattern: str, what: str, name: str, value: str, at: int) -> tuple[str, int]:
    match = _pattern(pattern).match(value, at)
    if match is None:
        raise _fault(name, f"expected {what}", value, at)
    return match.group(), match.end()


def _skip(pattern: str, value: str, at: int) -> int:
    match = _pattern(pattern).match(value, at)
    return at if match is None else match.end()


def _fault(name: str, what: str, value: str, at: int) -> InvalidField:
    return InvalidField(name, f"{what} at {at} in {value}")
