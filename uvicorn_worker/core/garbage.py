"""How often a process that only serves looks for garbage."""

from __future__ import annotations

import gc

__all__ = ["search_as_newer_pythons"]

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
