"""Whether a subclass serves by the uvicorn package's Server, which it must not.

That server knows nothing of what this worker does: it would take its configuration for uvicorn's, fail in each worker,
and let Gunicorn start them again without end. So it is looked for before the fork, in the code of `_serve()` and of
`run()` where a subclass has written them anew.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator
from typing import Any

__all__ = ["foreign_server"]

_METHODS = ("_serve", "run")


def foreign_server(cls: type, package: str) -> str | None:
    """The name of the method of `cls` that uses uvicorn's own Server; None where there is none.

    `package` is where the classes are from that are ours, and not looked at.
    """
    for name in _METHODS:
        method = _overridden(cls, package, name)
        if method is not None and _uses_uvicorn(method.__code__, method.__globals__):
            return f"{method.__qualname__}()"
    return None


def _overridden(cls: type, package: str, name: str) -> types.FunctionType | None:
    """The method as a subclass has written it, where one has."""
    for kind in cls.__mro__:
        if kind.__module__.partition(".")[0] == package:
            return None
        found = vars(kind).get(name)
        if isinstance(found, types.FunctionType):
            return found
    return None


def _uses_uvicorn(code: types.CodeType, namespace: dict[str, Any]) -> bool:
    names = set(code.co_names)
    for name in names:
        value = namespace.get(name)
        if _is_uvicorn_server(value) or (_is_uvicorn(value) and "Server" in names):
            return True
    if "Server" in names and any(_imported_by(code)):
        return True
    return any(_uses_uvicorn(inner, namespace) for inner in code.co_consts if isinstance(inner, types.CodeType))


def _is_uvicorn_server(value: Any) -> bool:
    return isinstance(value, type) and any(
        kind.__module__ == "uvicorn.server" and kind.__name__ == "Server" for kind in value.__mro__
    )


def _is_uvicorn(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and value.__name__ in ("uvicorn", "uvicorn.server", "uvicorn.main")


def _imported_by(code: types.CodeType) -> Iterator[bool]:
    """Imports of the uvicorn package within the function."""
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and step.argval in ("uvicorn", "uvicorn.server", "uvicorn.main"):
            yield True
