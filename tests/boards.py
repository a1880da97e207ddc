"""Boards with workers on them, which all are this process."""

from __future__ import annotations

import os
import time

from uvicorn_worker.board.board import SERVING, Board, Slot
from uvicorn_worker.core.figures import words_of

__all__ = ["add_worker"]


def add_worker(board: Board, state: int = SERVING, **figures: int) -> Slot:
    """A worker that has beaten now, with these figures; and is not stalled soon, however slow the test is."""
    slot = board.add(1)
    assert slot is not None
    slot.pid = os.getpid()
    slot.state = state
    slot.write(words_of(figures))
    slot.beat = time.monotonic_ns() + 60 * 10**9
    return slot
