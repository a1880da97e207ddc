"""The rooms of the package, and a plugin of pytest that runs the tests of one room without the rooms above it.

    pytest -p tests.rooms tests/http1

What the tests of `http1` import of `switching`, `server` and above is not found then, as if it were not there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import PurePath
from types import ModuleType

import pytest

__all__ = ["LEVELS", "LEVEL_OF", "STARTS", "above", "pytest_configure"]

# Modules that are where uvicorn has them, and hand out what is in the rooms.
PARALLELS = {
    "_compat", "_subprocess", "_types", "config", "importer", "lifespan", "logging", "loops", "main", "middleware",
    "protocols", "supervisors", "types", "workers",
}  # fmt: skip

# A room may import from those below it; beside that, a command may import what it starts.
LEVELS: list[set[str]] = [
    {
        "__main__",
        "_compat",
        "_subprocess",
        "_types",
        "_workers",
        "cli",
        "config",
        "importer",
        "lifespan",
        "logging",
        "loops",
        "main",
        "master",
        "middleware",
        "protocols",
        "supervisors",
        "types",
        "worker",
        "workers",
    },
    {"server"},
    {"switching"},
    {"http1", "http2", "websocket", "interfaces"},
    {"proxies", "tls", "logs", "board"},
    {"core"},
]
STARTS = {("__main__", "cli"), ("cli", "master"), ("_workers", "worker"), ("workers", "worker"), ("main", "cli")} | {
    ("supervisors", "cli"), ("config", "cli"), ("config", "importer"), ("main", "config"), ("_types", "types"),
    ("_subprocess", "supervisors"), ("main", "supervisors"),
}  # fmt: skip
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def above(room: str) -> set[str]:
    """The rooms that those who read `room` need not know: all that are not below it, but for itself and what it starts.

    The command starts masters, and these have workers, which they know by name.
    """
    started = {other for starter, other in STARTS if starter == room}
    known = {room, *started, *(["worker"] if "master" in started else [])}
    return {other for other, level in LEVEL_OF.items() if level <= LEVEL_OF[room] and other not in known}


class Absent:
    """A finder for which the rooms above do not exist."""

    def __init__(self, rooms: set[str]) -> None:
        self.rooms = rooms

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = name.partition(".")
        if package == "uvicorn_worker" and rest.partition(".")[0] in self.rooms:
            raise ModuleNotFoundError(f"{name} stands above the room that is tested", name=name)
        return None


def pytest_configure(config: pytest.Config) -> None:
    rooms = {PurePath(argument.partition("::")[0]).parts[1] for argument in config.args}
    if len(rooms) != 1 or not rooms <= set(LEVEL_OF):
        raise pytest.UsageError("one room, as in: pytest -p tests.rooms tests/http1")
    sys.meta_path.insert(0, Absent(above(rooms.pop())))
