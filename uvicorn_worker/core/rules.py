"""What an option may be: how a value is checked, said in words, and read from text.

Text is what the environment holds; a configuration file may hold it too where its format has no better way
(TOML has no null, so `none` is written there as a string), and code where it took it from elsewhere. Values are also
taken as uvicorn's users spell them: `INFO`, 20, `wsproto`, 1.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, ItemsView, Iterable, Mapping
from types import MappingProxyType
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
    "WHERE",
    "Rule",
    "int_between",
    "list_of",
    "no_addresses",
    "one_of",
    "split_list",
]


def _same(value: Any) -> Any:
    return value


class Rule:
    """What one option may be.

    `allowed` says it in words, `check` decides it, and `parse` makes a value of text: a ValueError, or what
    `check` refuses, is the operator's mistake. `spell` turns what uvicorn calls by another name into our word for
    it; `stand_ins` are the names among these of what is served by something of ours in their place.
    """

    __slots__ = ("allowed", "check", "parse", "spell", "stand_ins")

    def __init__(
        self,
        allowed: str,
        check: Callable[[Any], bool],
        parse: Callable[[str], Any] = str,
        spell: Callable[[Any], Any] = _same,
        stand_ins: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.allowed = allowed
        self.check = check
        self.parse = parse
        self.spell = spell
        self.stand_ins = stand_ins

    def take(self, value: Any) -> Any:
        """`value` as the option holds it; text is read where it is no value itself. ValueError for what it can't be."""
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        taken = self.spell(value)
        if not self.check(taken) and isinstance(taken, str):
            taken = self.spell(self.parse(taken))
        if not self.check(taken):
            raise ValueError(value)
        return taken

    def read(self, text: str) -> Any:
        """The value that `text` means; ValueError for what it can't be."""
        return self.take(self.parse(text))

    def or_none(self) -> Rule:
        """The same, or None, which text spells `none`."""
        return Rule(
            f"None or {self.allowed}",
            lambda value: value is None or self.check(value),
            lambda text: None if text.strip().lower() == "none" else self.parse(text),
            lambda value: None if value is None else self.spell(value),
            self.stand_ins,
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


def one_of(*names: str, stand_ins: Mapping[str, str] | None = None) -> Rule:
    """One of these names, in letters of any case, or of those for which one of them stands in."""
    instead = dict(stand_ins or {})

    def spell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        word = value.strip().lower()
        return instead.get(word, word)

    return Rule(
        "one of " + ", ".join(names),
        lambda value: isinstance(value, str) and value in names,
        spell=spell,
        stand_ins=instead,
    )


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


def no_addresses(value: str | Iterable[str]) -> list[str]:
    """What a list of addresses holds that is none, nor a network, and so matches no peer: host names, mistakes."""
    return [item for item in split_list(value) if item not in ("*", "unix") and not _is_network(item)]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
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


def _spell_flag(value: Any) -> Any:
    """1 and 0 are what many write for True and False."""
    return bool(value) if is_int(value) and value in (0, 1) else value


# 1h30m, 90s, 1.5s, 250ms: each unit once, from the largest to the smallest.
_DURATION = r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?"
_UNITS = (86400, 3600, 60, 1, 0.001)


def _parse_seconds(text: str) -> float:
    """A number of seconds, or a duration such as 1h30m."""
    try:
        return int(text)
    except ValueError:
        pass
    match = re.fullmatch(_DURATION, text.strip().lower(), re.ASCII)
    if match is None or not match[0]:
        return float(text)
    seconds = sum(float(number) * unit for number, unit in zip(match.groups(), _UNITS, strict=True) if number)
    return int(seconds) if seconds == int(seconds) else seconds


def _parse_headers(text: str) -> list[tuple[str, str]]:
    pairs = []
    for line in text.replace(";;", "\n").splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(text)
        pairs.append((name.strip(), value.strip()))
    return pairs


def _spell_headers(value: Any) -> Any:
    """Fields as the command line has them, `name:value`; or what `items()` of a dictionary gives."""
    if isinstance(value, ItemsView):
        return list(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) and ":" in item for item in value):
        return [(name.strip(), text.strip()) for name, _, text in (item.partition(":") for item in value)]
    return value


FLAG = Rule("True or False", lambda value: isinstance(value, bool), _parse_flag, _spell_flag)
TEXT = Rule("a string", lambda value: isinstance(value, str))
OPTIONAL_TEXT = TEXT.or_none()
SECONDS = Rule(
    "a number of seconds, 0 or more, or a duration such as 1h30m",
    lambda value: is_number(value) and value >= 0,
    _parse_seconds,
)
OPTIONAL_SECONDS = SECONDS.or_none()
POSITIVE_SECONDS = Rule(
    "a number of seconds above 0, or a duration such as 1h30m",
    lambda value: is_number(value) and value > 0,
    _parse_seconds,
)
COUNT = Rule("a whole number, 0 or more", lambda value: is_int(value) and value >= 0, int)
OPTIONAL_COUNT = COUNT.or_none()
POSITIVE = Rule("a whole number, 1 or more", lambda value: is_int(value) and value >= 1, int)
OPTIONAL_POSITIVE = POSITIVE.or_none()
HEADERS = Rule(
    "a list of (name, value) pairs without control characters", _is_header_list, _parse_headers, _spell_headers
)
NAMES = Rule("a list of names, or a string with commas", _is_list)
ADDRESSES = Rule("a list, or a string with commas, of addresses, networks (CIDR), unix or *", _is_list)
_WHERE = r"unix:.+|(\[[0-9A-Fa-f:.]+\]|[^:\[\]/]*):(?P<port>[0-9]{1,5})"


def _is_where(value: Any) -> bool:
    found = re.fullmatch(_WHERE, value, re.DOTALL) if isinstance(value, str) else None
    return found is not None and int(found["port"] or 0) <= 65535


WHERE = Rule("host:port or unix:path", _is_where)
TEXT_TABLE = Rule("a table from strings to strings", _is_text_table, json.loads)
