"""What is computed once a tick instead of once a request: the Date line, and the count of ticks.

A connection's deadline is a number of ticks, so that setting one is an integer store. Half a second
is fine enough for every timeout of the server: a deadline is met at most one tick late, never early.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from email.utils import formatdate

__all__ = ["TICK", "Ticker", "date_line", "ticks"]

TICK = 0.5
"""Seconds between two ticks."""

# How much of a tick that came late is made up for with the next one. Without that each tick would add its delay, and
# a long timeout would be met late.
CATCH_UP = 0.008
# From the count of a tick to the meeting of its deadlines. More than what is made up for, so that no deadline is met
# early; the rest is for event loops that count in milliseconds.
SETTLE = 0.01


def ticks(seconds: float) -> int:
    """How many ticks from now on guarantee that at least `seconds` have passed.

    One more than the quotient, since the tick that is under way has begun already.
    """
    return math.ceil(seconds / TICK) + 1


class Ticker:
    """Ticks until it is stopped: `on_count` raises the count of ticks, a little later `on_tick` meets the deadlines.

    Any two counts that are n apart are at least n * TICK - CATCH_UP seconds apart, however busy the loop is.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_count: Callable[[], None], on_tick: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_count = on_count
        self._on_tick = on_tick
        self._due = time.monotonic()
        # How late the last count was, in seconds: what the loop was at could not be put off.
        self.lag = 0.0
        self._handle: asyncio.Handle = loop.call_soon(self._count)

    def _count(self) -> None:
        now = time.monotonic()
        self.lag = max(now - self._due, 0.0)
        self._due = max(self._due + TICK, now + TICK - CATCH_UP)
        self._on_count()
        self._handle = self._loop.call_later(SETTLE, self._tick)

    def _tick(self) -> None:
        # Some loops take their time from the beginning of the turn, which may be long ago.
        self._handle = self._loop.call_later(max(0.0, self._due - time.monotonic()), self._count)
        self._on_tick()

    def stop(self) -> None:
        """Tick no more."""
        self._handle.cancel()


def date_line(now: float) -> bytes:
    """The Date field line (RFC 9110, 6.6.1) for the Unix time `now`, with its line end."""
    return b"date: " + formatdate(now, usegmt=True).encode("ascii") + b"\r\n"
