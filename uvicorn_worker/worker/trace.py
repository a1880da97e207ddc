"""Where the process stood when it was aborted, written by faulthandler.

Gunicorn aborts a worker that gave no heartbeat. A Python signal handler may never run then, since the loop
may be blocked in C; faulthandler writes the stacks of all threads from the signal handler itself.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
from typing import TextIO

__all__ = ["enable_trace"]


def enable_trace(error_log: logging.Logger) -> None:
    """Write the stacks to the error log's stream upon SIGABRT (and upon a crash).

    To be called again whenever the log files were reopened, since faulthandler keeps the file descriptor;
    and after the Python handler of SIGABRT was set, which runs afterwards.
    """
    for stream in [getattr(handler, "stream", None) for handler in error_log.handlers] + [sys.stderr]:
        if stream is not None and _has_descriptor(stream):
            faulthandler.enable(file=stream, all_threads=True)
            return


def _has_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False
