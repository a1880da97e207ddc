"""How much memory a connection holds, by tracemalloc: objects and all, whatever the allocator makes of them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

__all__ = ["SLACK", "counts_references", "held_after", "tracer"]

#: Of tests that say when objects go.
counts_references = pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="on PyPy objects go when the collector comes, not with the last reference"
)

#: What a connection may hold beyond what its limits say: buffers, and the objects that hold the bytes.
SLACK = 262144


def tracer() -> Any:
    """The module tracemalloc; a test that wants it is skipped where there is none, as on PyPy."""
    return pytest.importorskip("tracemalloc")


def held_after(action: Callable[[], object]) -> int:
    """How many bytes more are held than before `action`."""
    tracemalloc = tracer()
    gc.collect()
    tracemalloc.start()
    try:
        before: int = tracemalloc.get_traced_memory()[0]
        action()
        gc.collect()
        after: int = tracemalloc.get_traced_memory()[0]
        return after - before
    finally:
        tracemalloc.stop()
