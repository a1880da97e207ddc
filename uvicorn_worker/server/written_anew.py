"""What subclasses of uvicorn's Server write anew, or look at, beside the steps that a server calls in any case.

handle_exit()                 appends to _captured_signals, or a subclass does: who serves is told of them at the end
_wait_tasks_to_complete()     what a stop waits for, which some do something before or after
shutdown()                    written anew it waits by that, closes `server_state.connections`, and ends the lifespan
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Coroutine
from typing import Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.server.drain import Drain, Schedule

__all__ = ["WrittenAnew"]

# What such a wait has to end after its time, or beside a quick stop.
_GIVE_UP_SECONDS = 0.5
# How often it is looked whether the stop has become a quick one.
_LOOK_SECONDS = 0.1


class WrittenAnew:
    """The part of a Server that is there for its subclasses."""

    config: Config
    force_exit: Any

    last_notified = 0.0
    """For an `on_tick()` that calls callback_notify; the server does that by itself."""

    def __init__(self) -> None:
        self._captured_signals: list[int] = []
        self._own_draining: asyncio.Future[None] | None = None

    @property
    def own_captured(self) -> list[int]:
        """The signals that came while the server has handled them."""
        return self._captured_signals

    @functools.cached_property
    def limit_max_requests(self) -> int | None:
        """After how many requests this server stops; None: no limit."""
        limit = self.config.limit_max_requests
        if limit is None:
            return None
        return limit + random.randint(0, self.config.limit_max_requests_jitter)  # noqa: S311 - spreads restarts, no secret

    def _own_drain_of(self, schedule: Schedule) -> Drain:
        """What ends that is under way, within this time."""
        raise NotImplementedError

    async def _wait_tasks_to_complete(self) -> None:
        """Return once nothing is under way any more."""
        if self._own_draining is None:
            # Who has written `shutdown()` anew waits by this, for as long as it likes.
            await self._own_drain_of(Schedule(time.monotonic(), None)).run()
        else:
            await asyncio.wait({self._own_draining})

    async def _own_wait_for_drain(self, drain: Drain, running: Coroutine[Any, Any, None], schedule: Schedule) -> None:
        """Let it run, and beside it the wait of a subclass: cancelled just before requests are, as uvicorn's is."""
        if getattr(self._wait_tasks_to_complete, "__func__", None) is WrittenAnew._wait_tasks_to_complete:
            await running
            return
        self._own_draining = draining = asyncio.ensure_future(running)
        waiting = asyncio.ensure_future(self._wait_tasks_to_complete())
        drain.before_cut = waiting.cancel
        try:
            await asyncio.wait({draining})
            draining.result()
            end = schedule.cut
            while not waiting.done() and time.monotonic() < end:
                if self.force_exit:
                    end = min(end, time.monotonic() + _GIVE_UP_SECONDS)
                await asyncio.wait({waiting}, timeout=min(_LOOK_SECONDS, max(end - time.monotonic(), 0.0)))
        finally:
            for future in (draining, waiting):
                future.cancel()
            await asyncio.wait({draining, waiting}, timeout=_GIVE_UP_SECONDS)
            self._own_draining = None
        with contextlib.suppress(asyncio.CancelledError, asyncio.InvalidStateError):
            waiting.result()
