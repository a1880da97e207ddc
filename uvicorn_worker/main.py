"""`main`, `run` and `Server`, where uvicorn has them.

uvicorn's package has the command under the name of this module, too: so the module can be called, and asked for what a
`click.Command` has, as `main` can.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from uvicorn_worker.cli import command, run
from uvicorn_worker.config import INTERFACES, LIFESPAN, LOG_LEVELS, LOGGING_CONFIG, SSL_PROTOCOL_VERSION, logger
from uvicorn_worker.core.errors import STARTUP_FAILURE
from uvicorn_worker.server import Config, Server, ServerState

__all__ = [
    "INTERFACES", "LOGGING_CONFIG", "LOG_LEVELS", "SSL_PROTOCOL_VERSION", "STARTUP_FAILURE", "Config", "Server",
    "ServerState", "logger", "main", "run",
]  # fmt: skip


def _class_of(it: Any) -> Any:
    """What it says that it is, once there is click, which asks for it: `context.invoke(main, app="main:app")`."""
    click: Any = sys.modules.get("click")
    return type(it) if click is None else click.Command


class _Copied:
    """A copy is the command itself, another one: programs give it an option and a callback of their own."""

    def __copy__(self) -> Any:
        return copy.copy(command.command())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(command.command(), memo)


class _Main(_Copied):
    """The command, for other commands: `main(args)`, `main.main(args, standalone_mode=False)`, `main.params`."""

    __class__ = property(_class_of)

    def __call__(self, args: Sequence[str] | None = None, **extra: Any) -> None:
        command.main(args, **extra)

    main = __call__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(command.command(), name)
        except ModuleNotFoundError as exc:
            # Without the extra `cli`. Who asks whether it has this or that is not to fail: tools ask every module.
            raise AttributeError(f"{name}: the command needs the package {exc.name}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        made = command.command()
        _BEFORE.setdefault(name, getattr(made, name, None))
        setattr(made, name, value)

    def __delattr__(self, name: str) -> None:
        if name not in _BEFORE:
            raise AttributeError(name)
        setattr(command.command(), name, _BEFORE.pop(name))


# What the command had in the place of what a program has given it; what patches it for a while takes that away again.
_BEFORE: dict[str, Any] = {}

main = _Main()

# What commands of others have as options of their own: each is a choice of click.
_CHOICES = {
    "INTERFACE_CHOICES": tuple(INTERFACES),
    "LEVEL_CHOICES": tuple(LOG_LEVELS),
    "LIFESPAN_CHOICES": tuple(LIFESPAN),
}


# What a program gives the command in the place of what is there: a callback that does something around it.
_OF_COMMAND = frozenset({"callback", "context_settings", "epilog", "help", "params"})

# Classes that `run()` takes as they are here, where a program has put others.
_SUPERVISORS = frozenset({"ChangeReload", "Multiprocess"})


class _Command(_Copied, ModuleType):
    __class__ = property(_class_of)

    def __call__(self, args: Sequence[str] | None = None, **extra: Any) -> None:
        main(args, **extra)

    def __getattr__(self, name: str) -> Any:
        if name in _CHOICES:
            try:
                return importlib.import_module("click").Choice(_CHOICES[name])
            except ModuleNotFoundError:
                raise AttributeError(f"{name}: the package click is not installed") from None
        if name in _SUPERVISORS:
            from uvicorn_worker import supervisors

            return getattr(supervisors, name)
        return getattr(main, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OF_COMMAND:
            setattr(main, name, value)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in _OF_COMMAND:
            delattr(main, name)
        else:
            super().__delattr__(name)


if type(sys.modules[__name__]) is ModuleType:
    # Not again where it is reloaded.
    sys.modules[__name__].__class__ = _Command
