"""What lists in fields cost to read: twice as much of them takes no more than about twice the work."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest

from uvicorn_worker.http2 import scheduler
from uvicorn_worker.switching import h2c

SIZES = (20_000, 40_000, 80_000, 160_000)


def growth(read: Callable[[bytes], object], make: Callable[[int], bytes]) -> float:
    """How the work grows where the input doubles; the median, and of each size the quickest of several tries."""
    spent = []
    for size in SIZES:
        value = make(size)
        tries = []
        for _ in range(5):
            begun = time.process_time()
            read(value)
            tries.append(time.process_time() - begun)
        spent.append(min(tries))
    steps = sorted(later / max(earlier, 1e-6) for earlier, later in itertools.pairwise(spent))
    return steps[len(steps) // 2]


@pytest.mark.parametrize("piece", [b'"', b'"\\', b"a", b'"a', b'a"', b" ", b"\\", b',"'])
def test_members_of_priority(piece: bytes) -> None:
    # A quadratic reader takes four times as long; these sizes took minutes.
    assert growth(lambda value: list(scheduler._members(value)), lambda size: piece * size) < 3


@pytest.mark.parametrize("piece", [b" ", b"\t", b" ,", b"a ", b", "])
def test_tokens_of_upgrade(piece: bytes) -> None:
    def read(value: bytes) -> object:
        return h2c._settings_of([(b"upgrade", value), (b"connection", value)])

    assert growth(read, lambda size: b"x" + piece * size + b"x") < 3
