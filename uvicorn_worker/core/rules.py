"""What an option may be: how a value is checked, said in words, and read from text.

Text is what the environment holds; a configuration file may hold it too where its format has no better way
(TOML has no null, so `none` is written there as a string).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ADDRESSES",
    "COUNT",
    "FLAG",
    "HEADERS",
    "NAMES",
    "OPTIONAL_COUNT",
    "OPTIONAL_POSITIVE",
    "OPTIONAL_SECONDS",
    "OPTIONAL_TEXT",
    "POSITIVE",
    "POSITIVE_SECONDS",
    "SECONDS",
    "TEXT",
    "TEXT_TABLE",
    "Rule",
    "int_between",
    "list_of",
    "one_of",
    "split_list",
]


@dataclass(frozen=True)
class Rule:
    """What one option may be.

    `allowed` says it in words, `check` decides it, and `parse` makes a value of text: a ValueError, or what
    `check` refuses, is the operator's mistake.
    """

    allowed: str
    check: Callable[[Any], bool]
    parse: Callable[[str], Any] = str

    def or_none(self) -> Rule:
        """The same, or None, which text spells `none`."""
        return Rule(
            f"None or {self.allowed}",
            lambda value: value is None or self.check(value),
            lambda text: None if text.strip().lower() == "none" else self.parse(text),
        )


def is_int(value: Any) -> bool:
    """Whether it is a whole number; bool is an int to Python, but `backlog = True` is a mistake."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a number that is neither bool nor NaN nor infinite."""
    return is_int(value) or (isinstance(value, float) and value - value == 0)


def split_list(value: str | Iterable[str]) -> list[str]:
    """The names in a list, or in a string where commas are between them."""
    items = value.split(",") if isinstance(value, str) else value
    return [item.strip() for item in items if item.strip()]


def one_of(*names: str) -> Rule:
    """One of these names."""
    return Rule("one of " + ", ".join(names), lambda value: isinstance(value, str) and value in names, str.strip)


def int_between(least: int, most: int) -> Rule:
    """A whole number of a range."""
    return Rule(f"a whole number from {least} to {most}", lambda value: is_int(value) and least <= value <= most, int)


def list_of(*names: str) -> Rule:
    """Some of these names."""
    return Rule(
        "a list, or a string with commas, of some of " + ", ".join(names),
        lambda value: _is_list(value) and all(item in names for item in split_list(value)),
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value))


def _is_header_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and all(_is_header_part(part) for part in pair)
        for pair in value
    )


def _is_header_part(part: Any) -> bool:
    # RFC 9110, 5.5: no control characters; and only what one byte can hold.
    text = part.decode("latin-1") if isinstance(part, bytes) else part
    return isinstance(text, str) and not re.search(r"[^\t\x20-\x7e\x80-\xff]", text)


def _is_addresses(value: Any) -> bool:
    if not _is_list(value):
        return False
    for item in split_list(value):
        if item not in ("*", "unix"):
            try:
                ipaddress.ip_network(item, strict=False)
            except ValueError:
                return False
    return True


def _is_text_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(part, str) for pair in value.items() for part in pair)


def _parse_flag(text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


def _parse_number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _parse_headers(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in text.replace(";;", "\n").splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(text)
        pairs.append((name.strip(), value.strip()))
    return pairs


FLAG = Rule("True or False", lambda value: isinstance(value, bool), _parse_flag)
TEXT = Rule("a string", lambda value: isinstance(value, str))
OPTIONAL_TEXT = TEXT.or_none()
SECONDS = Rule("a number of seconds, 0 or more", lambda value: is_number(value) and value >= 0, _parse_number)
OPTIONAL_SECONDS = SECONDS.or_none()
POSITIVE_SECONDS = Rule("a number of seconds above 0", lambda value: is_number(value) and value > 0, _parse_number)
COUNT = Rule("a whole number, 0 or more", lambda value: is_int(value) and value >= 0, int)
OPTIONAL_COUNT = COUNT.or_none()
POSITIVE = Rule("a whole number, 1 or more", lambda value: is_int(value) and value >= 1, int)
OPTIONAL_POSITIVE = POSITIVE.or_none()
HEADERS = Rule("a list of (name, value) pairs without control characters", _is_header_list, _parse_headers)
NAMES = Rule("a list of names, or a string with commas", _is_list)
ADDRESSES = Rule("a list, or a string with commas, of addresses, networks (CIDR), unix or *", _is_addresses)
TEXT_TABLE = Rule("a table from strings to strings", _is_text_table, json.loads)
