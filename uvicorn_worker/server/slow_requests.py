"""`log_slow_requests`: a line when a request passes the limit, with where its task stands, and one at its end.

A WebSocket may last; its handshake is a request as others are.

The ticks see those that run on; the hook that is called for each answer sees those that end, also between two ticks. A
server without the option has neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.cycle import DONE
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.core.paths import Paths
from uvicorn_worker.core.runtime import AccessHook, CycleView
from uvicorn_worker.logs.await_chain import describe_task
from uvicorn_worker.logs.in_flight import describe_cycles, is_websocket

__all__ = ["SlowRequests", "watch_slow_requests"]


def watch_slow_requests(config: Config, paths: Paths | None) -> SlowRequests | None:
    """What watches them; None where no request is to be told of."""
    limit = config.log_slow_requests
    if paths is not None and paths.any("log_slow_requests") is not None:
        return SlowRequests(lambda target: paths.of(target, "log_slow_requests"))
    return None if limit is None else SlowRequests(lambda target: limit)


class SlowRequests:
    """`limit_of` gives the seconds for a target; None: it is not told of."""

    def __init__(self, limit_of: Callable[[bytes], float | None]) -> None:
        self._limit_of = limit_of
        self._log = OwnLog()
        # Those that were told of, and have not ended.
        self._told: set[Any] = set()

    def hook(self, access: AccessHook | None) -> AccessHook:
        """What is to be called for each answer, in the place of `access`."""

        def answered(cycle: CycleView) -> None:
            if access is not None:
                access(cycle)
            self._ended(cycle, f"answered {cycle.status}")

        return answered

    def on_tick(self, cycles: set[CycleView], now: float) -> None:
        """Tell of those that have passed their limit since the last tick; `now` is of time.monotonic()."""
        for cycle in list(cycles):
            if cycle.stage == DONE or cycle in self._told or (cycle.websocket and is_websocket(cycle)):
                continue
            limit = self._limit_of(cycle.target)
            if limit is not None and now - cycle.started >= limit:
                self._told.add(cycle)
                self._tell(cycle, now)

    def _tell(self, cycle: CycleView, now: float) -> None:
        [line] = describe_cycles([cycle], now)
        stands = "".join(f"\n  {step}" for step in describe_task(cycle.task))
        self._log.warning("Slow request: %s%s", line, stands)
        if cycle.task is not None:
            cycle.task.add_done_callback(lambda task: self._ended(cycle, "not answered"))

    def _ended(self, cycle: CycleView, how: str) -> None:
        seconds = time.monotonic() - cycle.started
        if cycle in self._told:
            self._told.discard(cycle)
        else:
            limit = self._limit_of(cycle.target)
            if limit is None or seconds < limit or how == "not answered":
                return
        [line] = describe_cycles([cycle], time.monotonic())
        self._log.warning("Slow request, at its end (%s): %s", how, line)
