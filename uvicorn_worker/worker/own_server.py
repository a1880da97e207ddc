"""Subclasses that serve by the uvicorn package's Server, or one that they have made of it: ours takes its place.

    from uvicorn.server import Server                 class Announcing(Server):
    server = Server(config=self.config)                   async def shutdown(self, sockets=None): ...

That server knows nothing of what this worker does: it would take its configuration for uvicorn's. So one that is made
with the configuration of a worker becomes ours, and a class of somebody's own has ours below it from then on: its steps
are called as there. Any other, such as that of an application for its metrics, is left as it is.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

__all__ = ["foreign_server", "take_its_place"]

_METHODS = ("_serve", "run")
_PLACE = "uvicorn.server"
_MARK = "_own_has_its_place_taken"


def take_its_place(server: type, config: type, *, load: bool = False) -> None:
    """Let uvicorn's Server become `server` where it is made with a `config`.

    Nothing is done where the module is not imported; `load` imports it.
    """
    if load:
        with contextlib.suppress(ImportError):
            importlib.import_module(_PLACE)
    theirs: Any = getattr(sys.modules.get(_PLACE), "Server", None)
    if not _is_uvicorn_server(theirs) or _MARK in vars(theirs):
        return
    make = theirs.__init__

    @functools.wraps(make)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        given = args[0] if args else kwargs.get("config")
        if not isinstance(given, config):
            make(self, *args, **kwargs)
            return
        if type(self) is theirs:
            self.__class__ = server
        else:
            _put_below(type(self), theirs, server)
        server.__init__(self, given)  # type: ignore[misc]

    steps = [(name, step) for name, step in vars(theirs).items() if isinstance(step, types.FunctionType)]
    for name, step in steps:
        if hasattr(server, name):
            setattr(theirs, name, _either(step, server, name))
    theirs.__init__ = made
    setattr(theirs, _MARK, True)


def _put_below(kind: type, theirs: type, server: type) -> None:
    """Have `server` where a class, or one that it is made of, has `theirs`."""
    for each in kind.__mro__:
        if theirs in each.__bases__:
            each.__bases__ = tuple(server if base is theirs else base for base in each.__bases__)


def _either(step: Any, server: type, name: str) -> Any:
    """The step of uvicorn's, or that of `server` for one: some write `Server.startup(self)` for `super().startup()`."""

    @functools.wraps(step)
    def either(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (getattr(server, name) if isinstance(self, server) else step)(self, *args, **kwargs)

    return either


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
