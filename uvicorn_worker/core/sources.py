"""Options that are given outside of the code: in the environment, and in `pyproject.toml`.

    UVICORN_WS_PING_INTERVAL=10                  the option's name in capitals behind UVICORN_
    [tool.uvicorn]                               a table of options, in the working directory's pyproject.toml
    ws_ping_interval = 10

The environment is text, and is read by the rule of the option; an empty variable is none. TOML has types of its own; a
string is read as text is, so that `none` can be said. A value that an option can't have is a `ConfigError` that names
the option, the value, the source and what is allowed. A name never is: it may be one of uvicorn's command, of
Kubernetes or of nobody, and what was found of these is told apart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from uvicorn_worker.core.config import OPTIONS, RULES
from uvicorn_worker.core.records import record
from uvicorn_worker.core.uvicorn_names import ALIASES, MASTERS, made_by_kubernetes

__all__ = ["PREFIX", "Found", "Given", "from_environment", "from_outside", "from_pyproject"]

PREFIX = "UVICORN_"


@record(frozen=True)
class Given:
    """An option's value, where it was given, and how it was written there."""

    value: Any
    source: str
    written: Any = field(default=None, compare=False)


@record()
class Found:
    """What one source holds, or several of them."""

    options: dict[str, Given] = field(default_factory=dict)
    """Options of the server, by name."""
    masters: dict[str, Given] = field(default_factory=dict)
    """What uvicorn knows and the master sees to, by uvicorn's name; the values are as they were found."""
    unknown: list[tuple[str, str]] = field(default_factory=list)
    """Names of nothing: as option, and as they were found."""
    kubernetes: list[str] = field(default_factory=list)
    """Variables that Kubernetes made for a service."""
    problems: list[str] = field(default_factory=list)
    """Why a source could not be read; a line each."""

    def add(self, name: str, value: Any, source: str, written: str) -> None:
        """Take in `name`, which is spelled `written` where it was found. Raises `ConfigError`."""
        name = ALIASES.get(name, name)
        if name in RULES:
            self.options[name] = Given(_read(name, value, source), source, value)
        elif name in MASTERS:
            self.masters[name] = Given(value, source)
        else:
            self.unknown.append((name, written))

    def over(self, other: Found) -> Found:
        """Both together; what is in this one wins."""
        return Found(
            {**other.options, **self.options},
            {**other.masters, **self.masters},
            other.unknown + self.unknown,
            other.kubernetes + self.kubernetes,
            other.problems + self.problems,
        )


def from_outside() -> Found:
    """What the environment and pyproject.toml hold; the environment wins. Raises `ConfigError`."""
    return from_environment().over(from_pyproject())


def from_environment(environ: Mapping[str, str] | None = None) -> Found:
    """What the environment variables hold, in their order.

    Raises `ConfigError` for a value that an option can't have.
    """
    found = Found()
    environ = os.environ if environ is None else environ
    for variable in list(environ):
        if not variable.startswith(PREFIX) or not (text := environ.get(variable, "")).strip():
            continue
        rest = variable[len(PREFIX) :]
        if made_by_kubernetes(f"_{rest}", text):
            found.kubernetes.append(variable)
        else:
            found.add(rest.lower(), text, f"environment variable {variable}", variable)
    return found


def _parsed(toml: str) -> dict[str, Any]:
    """What a file says; raises `ValueError`. Where there is no such file, the parser is not imported."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    table: dict[str, Any] = tomllib.loads(toml)
    return table


def from_pyproject(folder: str | os.PathLike[str] = ".") -> Found:
    """What the table [tool.uvicorn] of the folder's pyproject.toml holds, where there is one.

    Raises `ConfigError` for a value that an option can't have.
    """
    found = Found()
    path = Path(folder, "pyproject.toml")
    try:
        table: Any = _parsed(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return found
    except (OSError, ValueError) as exc:
        # Other tools rule over this file; uvicorn's worker never looked at it.
        found.problems.append(f"pyproject.toml can't be read, and gives no options: {' '.join(str(exc).split())}")
        return found
    for key in ("tool", "uvicorn"):
        table = table.get(key, {}) if isinstance(table, dict) else {}
    source = "[tool.uvicorn] in pyproject.toml"
    if not isinstance(table, dict):
        found.problems.append(f"{source} = {OPTIONS.shown('', table)} gives no options: it must be a table")
        return found
    for key, value in table.items():
        # Tools are configured with hyphens as often as with underscores.
        found.add(key.replace("-", "_"), value, source, f"{key} in [tool.uvicorn]")
    return found


def _read(name: str, value: Any, source: str) -> Any:
    """The option's value, read by its rule where it is text. Raises `ConfigError`."""
    if not isinstance(value, str):
        return OPTIONS.check_value(name, value, source)
    try:
        return RULES[name].read(value)
    except ValueError:
        return OPTIONS.check_value(name, value, source)
