"""Signals that tell a worker to leave before it has handlers of its own.

A process that was just forked has those of the master, which put a signal into the queue that the master reads: in the
child nobody does. Under a reload that is followed by a stop such a worker would serve on, until it is killed at the end
of graceful_timeout.
"""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

__all__ = ["keep_signals"]

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def keep_signals(keep: Callable[[int, FrameType | None], None]) -> None:
    """From now on TERM, INT and QUIT come to `keep`, and at once those that have come since the fork.

    With Gunicorn 23 also those that the master had before it, and passes on to its workers as soon as it looks.
    """
    master = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    for sig in _STOPS:
        signal.signal(sig, keep)
    for came in _taken(getattr(master, "SIG_QUEUE", ())):
        if came in _STOPS:
            keep(came, None)


def _taken(kept: Any) -> Iterator[Any]:
    """What is in the queue of Gunicorn's master: a list in Gunicorn 23, a SimpleQueue in 27."""
    if hasattr(kept, "get_nowait"):
        try:
            while True:
                yield kept.get_nowait()
        except queue.Empty:
            return
    yield from kept
