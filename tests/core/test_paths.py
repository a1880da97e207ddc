"""The option `paths`: which values a request has."""

from __future__ import annotations

import sys

import pytest

from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.figures import PATH_COUNTERS
from uvicorn_worker.core.paths import Paths


def paths(**options: object) -> Paths:
    return Paths(Config("main:app", **options))  # type: ignore[arg-type]


TABLE = {
    "/": {"timeout_request": 5},
    "/up": {"limit_request_body": 10, "timeout_request": None, "timeout_request_body": 2},
    "/upload/big": {"limit_request_body": None, "access_log": False},
}


@pytest.mark.parametrize(
    ("target", "limit", "timeout", "access"),
    [
        (b"/", 100, 5, True),
        (b"/other?x=/up", 100, 5, True),
        (b"/upload", 10, None, True),
        (b"/upload/big/1", None, 30, False),
        (b"http://example.org/upload/big", None, 30, False),
        (b"*", 100, 5, True),
    ],
)
def test_the_longest_prefix_wins(target: bytes, limit: int | None, timeout: float | None, access: bool) -> None:
    found = paths(paths=TABLE, limit_request_body=100, timeout_request=30)
    assert found.of(target, "limit_request_body") == limit
    assert found.of(target, "timeout_request") == timeout
    assert found.of(target, "access_log") is access
    assert found.body_limit(target) == (sys.maxsize if limit is None else limit)


def test_what_none_fits_has_what_all_others_have() -> None:
    found = paths(paths={"/a": {"timeout_request_body": None}}, timeout_request_body=7)
    assert found.body_ticks(b"/b") == ticks(7)
    assert found.body_ticks(b"/a") == 0


def test_the_lowest_limit_is_known() -> None:
    assert paths(paths=TABLE).least_body == 10
    assert paths(paths={"/a": {"access_log": True}}).least_body == sys.maxsize
    assert paths(paths={}).least_body == sys.maxsize
    assert paths(paths=TABLE).any("log_slow_requests") is None
    assert paths(paths={"/a": {"log_slow_requests": 3}}, log_slow_requests=9).any("log_slow_requests") == 3


def test_a_value_that_cannot_be_used_is_told_with_its_path() -> None:
    with pytest.raises(ConfigError, match=r"timeout_request = -1 \(from option paths, /a\)"):
        Config("main:app", paths={"/a": {"timeout_request": -1}})


def test_values_are_read_from_text() -> None:
    config = Config("main:app", paths='{"/a": {"access_log": "off", "timeout_request": "3"}}')  # type: ignore[arg-type]
    assert config.paths == {"/a": {"access_log": False, "timeout_request": 3.0}}


def test_what_is_answered_is_counted_for_the_longest_prefix() -> None:
    found = paths(paths={"/": {}, "/up": {"limit_request_body": 10}, "/upload/big": {"access_log": False}})
    assert found.names == ("/", "/up", "/upload/big")
    for target, status, seconds in (
        (b"/x", 200, 0.0004), (b"/up", 101, 0.001), (b"/upload", 503, 99), (b"/upload/big?x", 404, None),
        (b"http://example.org/upload/big", 200, 1.0), (b"/", 600, 0.5),
    ):  # fmt: skip
        found.count(target, status, seconds)
    by_name = {
        name: {figure: number for figure, number in zip(PATH_COUNTERS, counters, strict=True) if number}
        for name, counters in zip(found.names, found.counters, strict=True)
    }
    assert by_name == {
        # A status that is none of HTTP has a duration all the same.
        "/": {"2xx": 1, "took_0.0005": 1, "took_0.5": 1, "spent": 500_400_000},
        "/up": {"1xx": 1, "5xx": 1, "took_0.001": 1, "took_inf": 1, "spent": 99_001_000_000},
        "/upload/big": {"2xx": 1, "4xx": 1, "took_1": 1, "spent": 10**9},
    }


def test_what_none_fits_is_not_counted() -> None:
    found = paths(paths={"/a": {}})
    found.count(b"/b", 200, 1)
    found.count(b"*", 200, 1)
    assert not any(found.counters[0])
