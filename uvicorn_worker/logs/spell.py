"""What happens again and again, said twice: when it begins, and when it is over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from uvicorn_worker.core.explained import explained
from uvicorn_worker.core.log import QUIET_SECONDS, OwnLog, escaped

__all__ = ["Refusals", "Spell"]

# So many refusals have a line each at once, and so many more with each second; of a flood there is a count.
REFUSALS_SAID = 50
REFUSALS_PER_SECOND = 5


class Spell:
    """A line when something happens first, and one when it has not happened for a while; none in between.

    `over` makes the second line, of how often it has happened and of the seconds from the first time to the last.
    `lasts` says whether it still is so, where it lasts. It is over when it has not happened for `QUIET_SECONDS`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        over: Callable[[int, float], str],
        lasts: Callable[[], bool] = lambda: False,
    ) -> None:
        self._loop = loop
        self._over = over
        self._lasts = lasts
        self._log = OwnLog()
        self._count = 0
        self._first = self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def happens(self, line: str, level: int = logging.WARNING) -> None:
        """It has happened: `line` says so, unless it was said already."""
        self._last = time.monotonic()
        self._count += 1
        if self._timer is None:
            self._first = self._last
            self._log.log(level, "%s", line)
            self._timer = self._loop.call_later(QUIET_SECONDS, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        if self._lasts():
            self._last = now
        left = self._last + QUIET_SECONDS - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        count, self._count, self._timer = self._count, 0, None
        if line := self._over(count, self._last - self._first):
            self._log.info("%s", line)

    @property
    def active(self) -> bool:
        """Whether the beginning was said, and the end was not."""
        return self._timer is not None

    def stop(self) -> None:
        """The process ends: nothing more is said."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Refusals:
    """What is said of clients that are refused: a line for each of a few, and of a flood that there is one.

    It is of `protocol`, a word for the lines. A flood begins where so many are refused that a line for each would
    fill the log, be it one client or thousands, and is over when nobody was refused for a while.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: str) -> None:
        self._protocol = protocol
        self._log = OwnLog()
        self._left = float(REFUSALS_SAID)
        self._explained = False
        self._last = time.monotonic()
        self._flood = Spell(
            loop,
            lambda count, seconds: (
                f"{protocol}: invalid requests have ceased: {count} more in {seconds:.1f} s, each of them refused."
            ),
        )

    def request(self, peer: str, reason: str) -> None:
        """A request was refused; `reason` may have a client's words in it. The first line leads to the usual ones."""
        line = f"Invalid request from {peer}: {escaped(reason)}"
        if not self._explained:
            self._explained = True
            line = f"{line} {explained('400-for-a-client-that-worked-elsewhere')}"
        self.add(line)

    def add(self, line: str) -> None:
        """A client was refused; `line` says who and why."""
        now = time.monotonic()
        self._left = min(REFUSALS_SAID, self._left + (now - self._last) * REFUSALS_PER_SECOND)
        self._last = now
        if self._left >= 1 and not self._flood.active:
            self._left -= 1
            self._log.warning("%s", line)
        else:
            many = "so many invalid requests that they are counted from now on"
            self._flood.happens(f"{self._protocol}: {many}; the last of them: {line}")
