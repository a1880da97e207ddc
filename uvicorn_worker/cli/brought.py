"""What a program has put in the place of uvicorn's names before it calls `run()` or the command.

    uvicorn.main.ChangeReload = Mine                       another class, under the name that `run()` knows it by
    uvicorn.supervisors.ChangeReload.restart = restart     a step of its own, in the class that is there

Neither needs what is here to be imported: `supervisors/` says what its classes were at their import.
"""

from __future__ import annotations

import sys
from typing import Any

from uvicorn_worker.server import Config, Server

__all__ = ["PROCESSES", "RELOADS", "assigned", "brought", "remember"]

# uvicorn's names for what reloads, and for what has several processes.
RELOADS, PROCESSES = "ChangeReload", "Multiprocess"
# The module that has the names which uvicorn's `run()` looks up.
_MAIN = "uvicorn_worker.main"

_OWN: dict[str, type[Any]] = {"Config": Config, "Server": Server}
# What was in a class at its import.
_STEPS: dict[str, dict[str, Any]] = {}


def remember(word: str, kind: type[Any]) -> None:
    """Called where the class of uvicorn's name `word` is defined: what is in it now is ours."""
    _OWN[word], _STEPS[word] = kind, dict(vars(kind))


def brought(word: str) -> Any:
    """The class that is to be taken in the place of what is here; None where a program has changed nothing."""
    kind, other = _OWN.get(word), assigned(word)
    return kind if other is None and kind is not None and dict(vars(kind)) != _STEPS[word] else other


def assigned(name: str) -> Any:
    """What a program has put in the place of a class that has this name in `uvicorn.main`; None where it has not."""
    main, own = sys.modules.get(_MAIN), _OWN.get(name)
    found = own if main is None else vars(main).get(name, own)
    return None if found is own else found
