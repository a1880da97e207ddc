"""The end of the process, in time: Python would wait for the threads that an application has left, while they run."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from typing import Any

from uvicorn_worker.worker.forked import end_children

__all__ = ["ignore_the_master", "leave_in_time"]

# What is kept back of the time, so that the master does not kill first; and what hooks have where none is left.
_MARGIN = 0.2
_LEAST = 0.05


def ignore_the_master() -> None:
    """What it says from here on comes too late to change anything, and would only end hooks in the middle."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def leave_in_time(log: Any, exit_by: float, code: int = 0) -> None:
    """End the process with `code` at `exit_by` (`time.monotonic()`), whatever threads or hooks still run then.

    A request that was given up may have a thread at work: it can't be cancelled, and the interpreter would wait
    for it.
    """
    if exit_by == math.inf:
        return

    def leave() -> None:
        running = [
            thread.name
            for thread in threading.enumerate()
            if not thread.daemon and thread is not threading.main_thread()
        ]
        log.warning("Leaving without waiting any longer; threads that still run: %s", ", ".join(running) or "none")
        end_children()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(code)

    timer = threading.Timer(max(exit_by - _MARGIN - time.monotonic(), _LEAST), leave)
    timer.daemon = True
    timer.start()
