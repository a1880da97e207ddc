"""The option `paths`: other values of some options for the requests whose targets begin with a prefix.

    {"/healthz": {"access_log": false}, "/upload": {"limit_request_body": 1000000000, "timeout_request": 600}}

A prefix is compared with the target as it stands in the request line, and the longest that fits wins. What it does not
name has the value that all others have. What is answered is counted apart for each prefix, also for one that names
nothing.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.figures import BOUNDS, CLASSES, PATH_COUNTERS

__all__ = ["ALLOWED", "Paths", "check_paths", "is_path_table"]

ALLOWED = ("access_log", "log_slow_requests", "limit_request_body", "timeout_request", "timeout_request_body")
"""The options that a path may have values of its own for."""


def is_path_table(value: Any) -> bool:
    """Whether it is a table from prefixes to tables of options."""
    return isinstance(value, dict) and all(
        isinstance(prefix, str) and prefix.startswith("/") and isinstance(options, dict) and set(options) <= {*ALLOWED}
        for prefix, options in value.items()
    )


def check_paths(table: Mapping[str, Mapping[str, Any]], take: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """The table with each value as `take(option, value, source)` gives it, which raises `ConfigError`."""
    return {
        prefix: {name: take(name, value, f"option paths, {prefix}") for name, value in options.items()}
        for prefix, options in table.items()
    }


class Paths:
    """The table as requests ask it; `config` has the values for what it does not name."""

    __slots__ = ("_common", "_prefixes", "counters", "least_body", "limits_time", "names")

    def __init__(self, config: Any) -> None:
        self._common = {name: getattr(config, name) for name in ALLOWED}
        # As they stand in the option, and what was counted of each, in the order of `PATH_COUNTERS`.
        self.names = tuple(config.paths)
        self.counters = [[0] * len(PATH_COUNTERS) for _ in self.names]
        self._prefixes = sorted(
            (
                (prefix.encode("utf-8"), {**self._common, **options}, counters)
                for (prefix, options), counters in zip(config.paths.items(), self.counters, strict=True)
            ),
            key=lambda item: len(item[0]),
            reverse=True,
        )
        limits = [options["limit_request_body"] for _, options, _ in self._prefixes]
        # The lowest limit of all: only what is longer is asked for with its path.
        self.least_body = min((sys.maxsize if limit is None else limit for limit in limits), default=sys.maxsize)
        self.limits_time = any(options["timeout_request"] is not None for _, options, _ in self._prefixes)

    def of(self, target: bytes, name: str) -> Any:
        """The value of an option for a request."""
        if target[:1] != b"/":
            target = _path_of(target)
        for prefix, options, _ in self._prefixes:
            if target.startswith(prefix):
                return options[name]
        return self._common[name]

    def count(self, target: bytes, status: int, seconds: float | None = None) -> None:
        """Count a response for the path of its request; `seconds` is its duration, None where it did not run."""
        if target[:1] != b"/":
            target = _path_of(target)
        for prefix, _, counters in self._prefixes:
            if target.startswith(prefix):
                if 100 <= status < 600:
                    counters[status // 100 - 1] += 1
                if seconds is not None:
                    counters[len(CLASSES) + bisect_left(BOUNDS, seconds)] += 1
                    counters[-1] += int(seconds * 1e9)
                return

    def any(self, name: str) -> Any:
        """The least value of an option that a path has, or all others have; None where none has one."""
        values = [self._common[name], *(options[name] for _, options, _ in self._prefixes)]
        return min((value for value in values if value is not None), default=None)

    def body_limit(self, target: bytes) -> int:
        """limit_request_body for a request; sys.maxsize where there is none."""
        limit = self.of(target, "limit_request_body")
        return sys.maxsize if limit is None else int(limit)

    def body_ticks(self, target: bytes) -> int:
        """timeout_request_body for a request, in ticks; 0 where there is none."""
        limit = self.of(target, "timeout_request_body")
        return ticks(limit) if limit else 0


def _path_of(target: bytes) -> bytes:
    """The path of a target in the absolute form, as it stands in the request line."""
    return b"/" + target.partition(b"://")[2].partition(b"/")[2]
