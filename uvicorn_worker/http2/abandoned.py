"""Applications that are still at work on requests whose streams are gone.

    stream is reset ─► http.disconnect, at once ─► ended by itself
                                              └──► cancelled: the more there are, the sooner
                                                   too many that can't be cancelled: GOAWAY

They do not count for the streams that a client may have, since most of those who leave are honest: calls with a
deadline, users behind a proxy. But a client that resets what it asks for must not get more run than one that waits
(CVE-2023-44487), so they have a bound of their own.
"""

from __future__ import annotations

import time

from uvicorn_worker.core.cycle import BEGUN, RETURNED, Cycle
from uvicorn_worker.core.log import ErrorLog, count

__all__ = ["Abandoned"]

# In the times of what a client may have of streams: so many are left in peace, from so many on all others are
# cancelled at once, and with so many that go on all the same the connection is given up.
PEACE = 1
AT_ONCE = 3
MOST = 10
# How long an application may go on, in seconds, where only few are above the number that is left in peace.
PATIENCE = 10.0
# Not looked through again before there are so many more.
STEP = 16


class Abandoned:
    """Those of one connection; `streams` is how many streams its client may have at once."""

    __slots__ = ("_at_once", "_cycles", "_log", "_look_at", "_most", "_peace", "_peer", "_said")

    def __init__(self, streams: int, peer: str, log: ErrorLog) -> None:
        self._peace, self._at_once, self._most = streams * PEACE, streams * AT_ONCE, streams * MOST
        self._peer = peer
        self._log = log
        # In the order in which they were left.
        self._cycles: list[Cycle] = []
        self._look_at = self._peace
        self._said = False

    def add(self, cycle: Cycle) -> None:
        """A stream is gone, and its application was told."""
        self._cycles.append(cycle)
        if len(self._cycles) > self._look_at:
            self.look_through()

    @property
    def too_many(self) -> bool:
        """Whether nothing more is to be begun for this client."""
        if len(self._cycles) < self._most:
            return False
        self.look_through()
        return len(self._cycles) >= self._most

    def look_through(self) -> bool:
        """Forget those that are done, cancel those that have had their time; whether there are any left."""
        cycles = self._cycles = [cycle for cycle in self._cycles if cycle.progress != RETURNED]
        excess = len(cycles) - self._peace
        self._look_at = max(self._peace, len(cycles) + STEP)
        if excess <= 0:
            return bool(cycles)
        patience = PATIENCE * max(0.0, 1 - excess / (self._at_once - self._peace))
        left_before = time.monotonic() - patience
        for cycle in cycles[:excess]:
            if cycle.left > left_before:
                break
            if cycle.progress == BEGUN and cycle.task is not None:
                self._say(len(cycles))
                cycle.cancel()
        return True

    def _say(self, number: int) -> None:
        if not self._said:
            self._said = True
            self._log.warning(
                "%s has left %s whose applications go on: the oldest of them are cancelled",
                self._peer,
                count(number, "request"),
            )
