"""The other workers that wait for the same connections, and how much each of them has to do.

A worker writes its load on the board of the master (`board`) when it accepts and at each tick, and reads those of
the others when it accepts. Who has more than its share leaves what is in the queue to them, for as long as they come.
"""

from __future__ import annotations

import time

from uvicorn_worker.board.board import BEAT_SECONDS, SERVING, Board, Slot

__all__ = ["Neighbours"]

# How much more than the mean a worker may have before it leaves connections to others: this share of it, and one.
SLACK = 8
# For how long it is taken for granted who the others are: some may have begun to serve since.
LOOK_NS = 50_000_000


class Neighbours:
    """The workers of one master, as one of them sees them."""

    __slots__ = ("_board", "_looked", "_others", "_slot")

    def __init__(self, board: Board, slot: Slot) -> None:
        self._board = board
        self._slot = slot
        self._others: list[Slot] = []
        self._looked = 0

    def on_tick(self, load: int) -> None:
        """Say that this worker is well, and how much it has to do; see who else is."""
        self._slot.load = load
        self._slot.beat = now = time.monotonic_ns()
        self._look(now)

    def _look(self, now: int) -> None:
        self._looked = now
        oldest = now - int(BEAT_SECONDS * 1e9)
        self._others = [
            slot for slot in self._board if slot is not self._slot and slot.state == SERVING and slot.beat >= oldest
        ]

    def should_leave(self, load: int) -> bool:
        """Whether others that are well have so much less to do that a new connection is theirs; takes note of `load`.

        A load is a number of connections and running requests.
        """
        self._slot.load = load
        now = time.monotonic_ns()
        if now - self._looked >= LOOK_NS:
            self._look(now)
        others = self._others
        if not others:
            return False
        workers = len(others) + 1
        total = load
        for slot in others:
            total += slot.load
        # load > mean + max(1, mean / SLACK), in whole numbers.
        return load * workers > total + max(workers, total // SLACK)

    def load_of_others(self) -> int:
        """What the others have to do, all together; more than before: they accept."""
        return sum(slot.load for slot in self._others)
