"""CONFIG_KWARGS, in each of the shapes that subclasses of uvicorn's worker give it.

A dictionary of the class, which may be changed in place; one that `__init__` sets on the worker; a property, which only
a worker can be asked for. Each adds to those of the classes above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uvicorn_worker.core.errors import ConfigError

__all__ = ["AUTO", "NAME", "options_in_code"]

NAME = "CONFIG_KWARGS"

# What the dictionary of `UvicornWorker` holds, for those who read or spread it. It says nothing: a Gunicorn setting for
# the same still counts.
AUTO = {"loop": "auto", "http": "auto"}


def options_in_code(cls: type, worker: object | None = None) -> dict[str, Any]:
    """The options that `cls` and the classes above it fix, the most derived winning, and those that the worker has.

    Without a worker what only a worker can tell is left out. The values are as they were written. Raises `ConfigError`.
    """
    options: dict[str, Any] = {}
    for ancestor in reversed(cls.__mro__):
        held: Any = vars(ancestor).get(NAME)
        if hasattr(type(held), "__get__"):
            # A property gives itself where there is no worker.
            given = held.__get__(worker, cls)
            held = None if worker is None and not isinstance(given, Mapping) else given
        options |= _mapping(held, ancestor)
    if worker is not None:
        options |= _mapping(vars(worker).get(NAME), cls)
    return {name: value for name, value in options.items() if name not in AUTO or value != AUTO[name]}


def _mapping(held: Any, cls: type) -> dict[str, Any]:
    if held is None:
        return {}
    if not isinstance(held, Mapping):
        raise ConfigError(f"{NAME} of {cls.__name__} is {type(held).__name__}: must be a dictionary of options")
    return dict(held)
