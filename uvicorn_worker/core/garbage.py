"""How often a process that only serves looks for garbage, and that it does not at its end."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
from collections.abc import Callable

__all__ = ["leave_without_a_search", "search_as_newer_pythons"]

# What has a buffer of its own.
_BUFFERED = frozenset({io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom})

# What Python has until 3.12, and how many new objects it waits for from 3.13 on before it looks at them.
_UNTIL_312 = (700, 10, 10)
_FROM_313 = 2000


def search_as_newer_pythons() -> None:
    """Look at new objects when there are as many as Python 3.13 waits for, unless somebody has said how many.

    Before 3.12 the requests of all connections that can be read are begun before the first one runs. With a hundred of
    them that is more than 700 objects at once: each turn of the loop had a search that found nothing, and what it saw
    counted as old. That brings on a search of all that there is: 50 to 90 ms beside 20,000 connections.
    """
    # PyPy has another collector.
    get_threshold = getattr(gc, "get_threshold", None)
    if get_threshold is not None and get_threshold() == _UNTIL_312:
        gc.set_threshold(_FROM_313, *_UNTIL_312[1:])


def leave_without_a_search(asked: Callable[[], bool]) -> None:
    """When the process ends, and `asked` says so, don't look through all its objects for garbage.

    Python does so several times: of an application with 700,000 objects that takes seconds, in which whoever has
    stopped it waits, or kills. uvicorn ends by the signal that has stopped it, and then nothing is looked for either.
    What was registered for the end (atexit) runs, and files are flushed; `__del__` of what is left is not called. Where
    modules made with nanobind were imported (JAX, ONNX, Triton and so PyTorch), all is looked through: each of their
    functions that is left at the end would be told of as leaked, in dozens of lines.
    """
    if hasattr(gc, "freeze"):
        atexit.register(_keep_all, asked)


def _keep_all(asked: Callable[[], bool]) -> None:
    if not asked():
        return
    kinds = set()
    for each in gc.get_objects():
        kinds.add(kind := type(each))
        if kind in _BUFFERED:
            # It may be closed, or nobody reads it.
            with contextlib.suppress(Exception):
                each.flush()
    # Those of its functions, methods and classes.
    if all(kind.__module__ != "nanobind" for kind in kinds):
        gc.freeze()
