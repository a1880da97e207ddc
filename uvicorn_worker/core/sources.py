"""Options that are given outside of the code: in the environment, and in `pyproject.toml`.

    UVICORN_WS_PING_INTERVAL=10                  the option's name in capitals behind UVICORN_
    [tool.uvicorn]                               a table of options, in the working directory's pyproject.toml
    ws_ping_interval = 10

The environment is text, and is read by the rule of the option. TOML has types of its own; a string is read as
text is, so that `none` can be said. What can't be used is a `ConfigError` that names the option, the value,
the source and what is allowed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uvicorn_worker.core.config import RULES, check_options, unknown_option
from uvicorn_worker.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["PREFIX", "Given", "from_environment", "from_pyproject"]

PREFIX = "UVICORN_"


@dataclass(frozen=True)
class Given:
    """An option's value, and where it was given."""

    value: Any
    source: str


def from_environment(environ: Mapping[str, str] | None = None) -> dict[str, Given]:
    """The options among the environment variables, in the environment's order.

    Raises `ConfigError`.
    """
    given = {}
    for variable, text in (os.environ if environ is None else environ).items():
        if variable.startswith(PREFIX):
            name, source = variable[len(PREFIX) :].lower(), f"environment variable {variable}"
            given[name] = Given(_read(name, text, source), source)
    return given


def from_pyproject(folder: str | os.PathLike[str] = ".") -> dict[str, Given]:
    """The options in the table [tool.uvicorn] of the folder's pyproject.toml, where there is one.

    Raises `ConfigError`.
    """
    path = Path(folder, "pyproject.toml")
    try:
        table: Any = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigError(f"pyproject.toml can't be read: {exc}") from None
    for key in ("tool", "uvicorn"):
        table = table.get(key, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"[tool.uvicorn] in pyproject.toml = {table!r}: must be a table of options")
    source = "[tool.uvicorn] in pyproject.toml"
    given = {}
    for key, value in table.items():
        # Tools are configured with hyphens as often as with underscores.
        name = key.replace("-", "_")
        given[name] = Given(_read(name, value, source) if isinstance(value, str) else value, source)
        check_options({name: given[name].value}, source)
    return given


def _read(name: str, text: str, source: str) -> Any:
    rule = RULES.get(name)
    if rule is None:
        raise unknown_option(name, text, source)
    try:
        value = rule.parse(text)
    except ValueError:
        value = text
    else:
        if rule.check(value):
            return value
    raise ConfigError(f"option {name} = {text!r} (from {source}): must be {rule.allowed}")
