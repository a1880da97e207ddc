"""A thread that sees what the event loop can't tell of itself, since it stands still.

board            what was begun in the turn that does not end is written there (server/reporter.py)
log_loop_lag     who holds the loop: the stack of its thread, taken while it blocks; and for how long, once it is over

The thread wakes a few times a second. It takes no part in what the loop does: it asks it to call back, and looks
whether it does. An application that forks finds no such thread: it is ended before, and started again with a tick.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.clock import TICK
from uvicorn_worker.core.watch_thread import WatchThread
from uvicorn_worker.logs.await_chain import describe_holder
from uvicorn_worker.logs.in_flight import describe_cycles, running_task

__all__ = ["LoopWatch"]

# The stack of the loop's thread, as far as it is told.
_DEEPEST = 30


class LoopWatch(WatchThread):
    """Watches the loop of the thread that makes it, from `start` to `stop`.

    `on_silence` is called twice a second. `limit` is log_loop_lag in seconds; None: that is not looked at.
    """

    name = "uvicorn-worker-watch"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        log: Any,
        cycles: Callable[[], list[Any]],
        on_silence: Callable[[], None],
        limit: float | None,
    ) -> None:
        super().__init__()
        self._loop = loop
        self._log = log
        self._cycles = cycles
        self._on_silence = on_silence
        self._limit = limit
        self._holder = threading.get_ident()
        # When the loop was asked to call back, and it has not yet; 0: it has. And whether this was reported.
        self._asked = 0.0
        self._reported = False

    def watch(self, end: threading.Event) -> None:
        """Look, and sleep."""
        pause = TICK if self._limit is None else min(TICK, self._limit / 4)
        next_look = time.monotonic()
        while not end.wait(pause):
            now = time.monotonic()
            if now >= next_look:
                next_look = now + TICK
                self._on_silence()
            if self._limit is not None:
                self._ask(now, self._limit)

    def _ask(self, now: float, limit: float) -> None:
        if self._asked:
            if not self._reported and now - self._asked >= limit:
                self._reported = True
                self._report(now - self._asked)
            return
        self._asked = now
        try:
            self._loop.call_soon_threadsafe(self._answer)
        except RuntimeError:
            # It is closed.
            self.end()

    def _answer(self) -> None:
        """In the loop: it turns."""
        seconds = time.monotonic() - self._asked
        if self._reported:
            self._log.warning("The event loop stood still for %.2f s.", seconds)
        self._asked, self._reported = 0.0, False

    def _report(self, seconds: float) -> None:
        stack = describe_holder(self._holder, _DEEPEST)
        running = running_task(self._loop)
        lines = describe_cycles(self._cycles(), time.monotonic(), running)
        held = [line for line in lines if line.endswith("(it has the event loop)")]
        self._log.warning(
            "The event loop stands still, for %.2f s until now (log_loop_lag):%s",
            seconds,
            "".join(f"\n  {line}" for line in (*held, *stack)),
        )
