"""What the log says of workers that have gone: one block for each that the master did not want to go.

It is the master that sees it: before it forks the next worker, and, where it is our master, when it reaps. A worker
that was killed has said nothing, but what it did last stands on the board.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from uvicorn_worker.board.board import Board
from uvicorn_worker.board.ends import bury

__all__ = ["tell_deaths"]


def tell_deaths(log: Any, timeout: float, status_of: Callable[[int], int | None] | None = None) -> None:
    """Log the ends since it was called last. `log` is Gunicorn's; for the rest see `board.ends.bury`."""
    for end in bury(Board.of_master(), timeout, status_of):
        if not end.is_wished:
            log.log(logging.INFO if end.is_planned else logging.ERROR, "%s", end)
