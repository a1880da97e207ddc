"""How much memory a connection holds, by tracemalloc: objects and all, whatever the allocator makes of them."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

__all__ = ["SLACK", "held_after"]

#: What a connection may hold beyond what its limits say: buffers, and the objects that hold the bytes.
SLACK = 262144


def held_after(action: Callable[[], object]) -> int:
    """How many bytes more are held than before `action`."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        action()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
