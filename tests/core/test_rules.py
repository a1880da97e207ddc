"""What an option may be, and how text becomes a value of it."""

from __future__ import annotations

from typing import Any

import pytest

from uvicorn_worker.core import rules

READ: list[tuple[rules.Rule, str, Any]] = [
    (rules.FLAG, "true", True),
    (rules.FLAG, " ON ", True),
    (rules.FLAG, "0", False),
    (rules.FLAG, "no", False),
    (rules.TEXT, " as it is ", " as it is "),
    (rules.OPTIONAL_TEXT, "none", None),
    (rules.OPTIONAL_TEXT, "nonesuch", "nonesuch"),
    (rules.SECONDS, "5", 5),
    (rules.SECONDS, "0.25", 0.25),
    (rules.OPTIONAL_SECONDS, "None", None),
    (rules.COUNT, "12", 12),
    (rules.OPTIONAL_POSITIVE, "none", None),
    (rules.one_of("a", "b"), " B ", "b"),
    (rules.SECONDS, "1d2h3m4.5s6ms", 93784.506),
    (rules.SECONDS, "90s", 90),
    (rules.HEADERS, "X-One: 1", [("X-One", "1")]),
    (rules.HEADERS, "X-One: 1;;x-two:a:b\nx-three:", [("X-One", "1"), ("x-two", "a:b"), ("x-three", "")]),
    (rules.ADDRESSES, "10.0.0.0/8,unix", "10.0.0.0/8,unix"),
    (rules.TEXT_TABLE, '{"X-FORWARDED-PROTO": "https"}', {"X-FORWARDED-PROTO": "https"}),
]
NOT_READ: list[tuple[rules.Rule, str]] = [
    (rules.FLAG, "perhaps"),
    (rules.FLAG, ""),
    (rules.SECONDS, "5 sec"),
    (rules.SECONDS, "5s5m"),
    (rules.SECONDS, "m"),
    (rules.SECONDS, "9" * 400 + "d"),
    (rules.COUNT, "1.5"),
    (rules.OPTIONAL_POSITIVE, "no"),
    (rules.HEADERS, "no colon"),
    (rules.TEXT_TABLE, "X=https"),
]


@pytest.mark.parametrize(("rule", "text", "value"), READ)
def test_text_is_read(rule: rules.Rule, text: str, value: Any) -> None:
    assert rule.read(text) == value
    assert rule.check(value)


@pytest.mark.parametrize(("rule", "text"), NOT_READ)
def test_text_that_means_nothing_is_a_value_error(rule: rules.Rule, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int() and json have words of their own
        rule.read(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-1"])
def test_a_number_that_is_no_time_is_read_and_refused(text: str) -> None:
    assert not rules.SECONDS.check(rules.SECONDS.parse(text))


def test_a_list_may_be_a_string() -> None:
    assert rules.split_list("a, b,,c ") == rules.split_list(["a", " b", "c"]) == ["a", "b", "c"]


def test_or_none_says_so() -> None:
    assert rules.COUNT.or_none().allowed == "None or a whole number, 0 or more"


def test_what_is_no_address_is_named() -> None:
    assert rules.no_addresses("*, unix, 10.0.0.1, 10.0.0.1/8, ::1, fe80::/10") == []
    assert rules.no_addresses("10.0.0.1, proxy.example, 10.0.0.300") == ["proxy.example", "10.0.0.300"]
    assert rules.no_addresses(["localhost", "127.0.0.1"]) == ["localhost"]
