"""Who leaves when workers are replaced: nobody before the one that takes its place serves.

Gunicorn tells the old workers to leave as soon as it has forked the new ones. Until these have imported the application
nobody would serve, for seconds; and where they can't import it any more, the master would end, and the service with it.

    told to leave ─► is a younger one booting? ── no ──► leave
                          │ yes
                          ▼
                     serve on ─► a younger one serves ─────────────────────────► leave
                          ├────► the younger ones were told to leave, too ─────► leave (the service stops)
                          ├────► they are gone, and could not boot ────────────► serve on, in their place
                          └────► they are gone ────────────────────────────────► leave

A younger one that can't boot says so and leaves with 0 after a pause, since Gunicorn's master ends when it reaps any
other code of it. What is known of the others stands on the board (board/board.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from uvicorn_worker.board.board import BOOTING, ENDED, FAILED, SERVING, TOLD, Board, Slot
from uvicorn_worker.server.neighbours import Neighbours
from uvicorn_worker.server.reporter import Reporter
from uvicorn_worker.worker.relief import Relief

__all__ = ["Succession"]

# How often a worker that was told to leave looks whether it may, in seconds.
LOOK_SECONDS = 0.05
# How long a worker that could not boot waits before it leaves, so that the master does not start one after the other:
# twice as long each time, up to a bound.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Succession:
    """The place of one worker among those of its master; made in the master, before the fork."""

    def __init__(self, age: int, first: int) -> None:
        """`age` is Gunicorn's number of the worker; those up to `first` are the first ones of the master."""
        self._others = Board.of_master()
        self._slot: Slot | None = self._others.add(age)
        self._relief = Relief.of_master()
        self._relief.worker_made()
        self._age = age
        self._first = age <= first
        self._told_at = 0.0

    @property
    def neighbours(self) -> Neighbours | None:
        """The other workers of the master; None where there was no room on the board."""
        return None if self._slot is None else Neighbours(self._others, self._slot)

    @property
    def board(self) -> Board:
        """The board of the master."""
        return self._others

    @property
    def reporter(self) -> Reporter | None:
        """What writes the figures of this worker; None where there was no room on the board."""
        return None if self._slot is None else Reporter(self._slot)

    def leaves(self, cause: int, detail: int = 0) -> None:
        """Say why it leaves (board/ends.py), unless that was said before."""
        if self._slot is not None and not self._slot.cause[0]:
            self._slot.cause = cause, detail

    def left(self) -> None:
        """It has come to its end in order."""
        if self._slot is not None:
            self._slot.left = True

    # What the worker says -----------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """Gunicorn's number of the worker."""
        return self._age

    @property
    def has_served(self) -> bool:
        """Whether its startup has ended well, on either side of the fork."""
        return self._slot is not None and self._slot.started > 0

    @property
    def age(self) -> int:
        """Gunicorn's number of the worker, or that of a younger one in whose place it stays.

        The master asks each time that it looks at its workers.
        """
        self._relief.looked_at()
        return self._age if self._slot is None else self._slot.age

    def forked(self, pid: int) -> None:
        """The process is there."""
        if self._slot is not None:
            self._slot.pid = pid

    def serving(self) -> None:
        """It serves; one that was told to leave while it started is on its way out all the same."""
        self._others.failures = 0
        if self._slot is not None and self._slot.state == BOOTING:
            self._slot.state = SERVING

    def completes(self, workers: int) -> bool:
        """Whether it is the last of the first workers to serve: one of them says that all of them do."""
        slot = self._slot
        if slot is None or not self._first:
            return False
        first = [
            (other.started, other.age) for other in self._others if other.state == SERVING and other.age <= workers
        ]
        return len(first) == workers and max(first) == (slot.started, slot.age)

    def told(self) -> None:
        """It leaves, since it was told to."""
        self._enter(TOLD)
        self._relief.told()

    def ends(self) -> None:
        """It leaves by itself, unless it was told to before."""
        if self._slot is not None and self._slot.state == SERVING:
            self._enter(ENDED)

    def asks_to_go(self, loop: asyncio.AbstractEventLoop, leave: Callable[[], None]) -> bool:
        """Ask to be replaced; False where the master does not see to that before this one has left.

        `leave` is called where it can't be seen to any more.
        """
        if self._slot is None or not (self._others.managed or self._relief.available):
            return False
        self._slot.asks_to_go = True
        if not self._others.managed:
            loop.call_soon(self._relief.seek, loop, self._others, self._slot, leave)
        return True

    def look_after(self) -> None:
        """Called with each look at the master."""
        self._relief.look_after()

    def _enter(self, state: int) -> None:
        if self._slot is not None:
            self._slot.state = state

    # Before it leaves --------------------------------------------------------------------------------

    def holds(self) -> bool:
        """Whether a worker that is told to leave is to serve on for now; `watch()` says for how long."""
        slot = self._slot
        if slot is None or slot.state != SERVING or self._others.managed:
            return False
        if any(other.state in (BOOTING, FAILED) and other.alive for other in self._younger()):
            self._told_at = self._told_at or time.monotonic()
            return True
        return False

    def watch(self, loop: asyncio.AbstractEventLoop, decided: Callable[[bool], None], log: Any) -> None:
        """Call `decided` once it is known whether this one leaves (False) or stays (True)."""
        younger, told_at = list(self._younger()), self._told_at
        # Of the same generation are those that began to serve before.
        serve = any(other.state == SERVING and other.started >= told_at and other.alive for other in younger)
        if serve or any(other.state == TOLD and other.since >= told_at for other in younger):
            decided(False)
            return
        if any(other.state in (BOOTING, FAILED) and other.alive for other in younger):
            loop.call_later(LOOK_SECONDS, self.watch, loop, decided, log)
            return
        self._told_at = 0.0
        failed = [other.age for other in younger if other.state == FAILED and other.since >= told_at]
        if failed and self._slot is not None:
            # Gunicorn takes it for one of the new workers from now on, and asks no more for its end.
            self._slot.age = max(failed)
            log.warning("The new workers could not start: the old ones serve on. Mend the application, then send HUP.")
        decided(bool(failed))

    def _younger(self) -> Iterator[Slot]:
        """The others that are to take the place of this one, or that it has stayed in the place of."""
        age = self.age
        return (other for other in self._others if other is not self._slot and other.age >= age)

    # Where it can't boot ------------------------------------------------------------------------------

    def spares_the_master(self) -> bool:
        """Whether others serve, so that one that can't boot must not end the master."""
        if self._first or self._slot is None:
            return False
        return any(other.state == SERVING and other.alive for other in self._others if other is not self._slot)

    def failed(self, reports: bool) -> float:
        """It can't boot; gives how many seconds it is to wait before it leaves.

        Of those that fail at the same time one alone reports it, and counts.
        """
        self._enter(FAILED)
        if reports:
            self._others.failures += 1
        doublings = min(max(self._others.failures - 1, 0), 8)
        return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << doublings))
