"""Imports of many modules at once, at the start."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["without_garbage_search"]


@contextlib.contextmanager
def without_garbage_search() -> Iterator[None]:
    """What an import makes stays: looking for garbage among it takes a sixth of its time, and finds none.

    At the end it is put to what is old, unseen: by `gc.freeze` and back, where nobody has frozen anything. Where the
    search was off, it stays off.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # PyPy has none of them.
            if hasattr(gc, "unfreeze") and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()
