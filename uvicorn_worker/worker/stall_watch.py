"""What a blocked worker leaves in the log: where it stood, and what was in flight.

Gunicorn aborts a worker that gave no heartbeat. Two things are written then, and neither depends on the other:

- the stacks of all threads, by faulthandler, from the signal handler itself: whatever the process is at;
- the requests in flight, by Python: from a thread that sleeps until the heartbeat is overdue, or from the handler of
  the signal, whichever comes first. Neither runs while C code keeps the GIL to itself; then there are only the stacks.

The thread reports. It never gives a heartbeat.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from uvicorn_worker.core.log import count
from uvicorn_worker.core.watch_thread import WatchThread
from uvicorn_worker.logs.backlog import opened_again
from uvicorn_worker.logs.in_flight import describe_cycles, running_task
from uvicorn_worker.server import Server

__all__ = ["StallWatch", "describe_stall", "enable_trace"]

# How many requests are named.
_NAMED = 50
# How long after the heartbeat was overdue the loop is taken for stuck: the master sends ABRT within a second, and KILL
# a second after that.
_STUCK_SECONDS = 0.5

# Where the stacks are written, if that is a descriptor of our own.
_again: list[int] = []


def enable_trace(error_log: logging.Logger) -> None:
    """Write the stacks to the error log's stream upon SIGABRT (and upon a crash).

    To be called again whenever the log files were reopened, since faulthandler keeps the file descriptor;
    and after the Python handler of SIGABRT was set, which runs afterwards. It does so where a pipe is full, too: the
    stacks don't wait for its reader.
    """
    for stream in [getattr(handler, "stream", None) for handler in error_log.handlers] + [sys.stderr]:
        if stream is not None and _has_descriptor(stream):
            again = opened_again(stream.fileno())
            try:
                faulthandler.enable(file=stream if again is None else again, all_threads=True)
            except OSError as exc:
                # The kernel may refuse the stack for it (ENOMEM), as where a processor's registers are larger than it.
                error_log.debug("There will be no stacks of a worker that is blocked: %s", exc)
                if again is not None:
                    os.close(again)
                return
            for fd in _again:
                os.close(fd)
            _again[:] = [] if again is None else [again]
            return


def _has_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False


def describe_stall(server: Server, seconds: float) -> str:
    """One block: for how long the loop has stood still, and each request in flight, the oldest first."""
    headline = f"The event loop has stood still for {seconds:.1f} s"
    if not server.started:
        return f"{headline}, before the application was started."
    runtime = server.own_runtime
    lines = describe_cycles(list(runtime.cycles), time.monotonic(), running_task(runtime.loop))
    if not lines:
        return f"{headline}, with no request in flight."
    shown = lines[:_NAMED]
    if len(lines) > _NAMED:
        # The one that has the loop is what is looked for.
        shown = [line for line in lines[_NAMED:] if line.endswith("(it has the event loop)")] + shown
        shown.append(f"and {len(lines) - len(shown)} more")
    return "\n  ".join([f"{headline}, with {count(len(lines), 'request')} in flight:", *shown])


class StallWatch(WatchThread):
    """Calls `on_stall` once for each time that the last heartbeat is `timeout` seconds ago, then `on_stuck`.

    That is a moment later: the handler of ABRT would have run by then, if the loop's thread came back to Python at all.

    `last_beat` gives its `time.monotonic()`. A thread wakes once in `timeout` seconds.
    While the application forks, and until the next heartbeat, there is the handler of the signal alone.
    """

    name = "uvicorn-worker-stall"

    def __init__(
        self,
        timeout: float,
        last_beat: Callable[[], float],
        on_stall: Callable[[], None],
        on_stuck: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._timeout = timeout
        self._last_beat = last_beat
        self._on_stall = on_stall
        self._on_stuck = on_stuck
        # The heartbeat after which the loop stood still, as it was reported.
        self._reported: float | None = None
        self._stuck: float | None = None

    def watch(self, end: threading.Event) -> None:
        """Sleep until the heartbeat is overdue, and report it."""
        while True:
            overdue = self._last_beat() + self._timeout - time.monotonic()
            if overdue <= 0:
                beat = self._last_beat()
                self.report()
                if end.wait(_STUCK_SECONDS):
                    return
                if self._last_beat() == beat != self._stuck:
                    self._stuck = beat
                    self._on_stuck()
                overdue = self._timeout
            if end.wait(overdue):
                return

    def report(self) -> None:
        """Report, unless this was done since the last heartbeat; also called from the handler of the signal."""
        beat = self._last_beat()
        if self._reported != beat:
            self._reported = beat
            self._on_stall()
