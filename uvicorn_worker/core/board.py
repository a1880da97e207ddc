"""The board of one master: what each of its workers says of itself, in memory that all of them share.

    master    makes the board, and a slot for each worker before it forks it
    worker    writes its own slot, reads those of the others

A slot has one writer, and each field is one aligned word of eight bytes. So nothing is locked, and what a worker wrote
last can be read when it is blocked, or was killed. A slot is used again once its worker is gone and no other is free.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator
from typing import ClassVar

__all__ = ["BOOTING", "ENDED", "FAILED", "FREE", "MOST_WORKERS", "SERVING", "TOLD", "Board", "Slot"]

# States of a worker. FREE: the slot has never been used. BOOTING: from before the fork to the end of the lifespan
# startup. FAILED: it could not boot, and waits before it leaves. TOLD: it leaves since it was told to. ENDED: it has
# left by itself.
FREE, BOOTING, SERVING, FAILED, TOLD, ENDED = range(6)

# More than any master has, those that are being replaced included; a worker beyond has no slot. Memory is taken only
# for slots that are used.
MOST_WORKERS = 1024

_WORD = 8
# Words of a slot, some of them for what is to come, and of the header.
_SLOT_WORDS = 16
_HEADER_WORDS = 16

_PID, _AGE, _STATE, _SINCE, _STARTED, _ASKS, _LOAD, _BEAT = range(8)
_FAILURES, _MANAGED = range(2)


class Slot:
    """What one worker says of itself; its owner writes it, anyone may read it."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: memoryview, number: int) -> None:
        self._words = words
        self._at = _HEADER_WORDS + number * _SLOT_WORDS

    def begin(self, age: int) -> None:
        """It is another worker's from now on, which is about to be forked."""
        for word in (_STARTED, _ASKS, _LOAD, _BEAT):
            self._words[self._at + word] = 0
        self.pid = 0
        self.age = age
        self.state = BOOTING

    @property
    def pid(self) -> int:
        """The process; 0 where it was not forked yet."""
        pid: int = self._words[self._at + _PID]
        return pid

    @pid.setter
    def pid(self, value: int) -> None:
        self._words[self._at + _PID] = value

    @property
    def age(self) -> int:
        """Gunicorn's number of the worker: a younger one has a higher number."""
        age: int = self._words[self._at + _AGE]
        return age

    @age.setter
    def age(self, value: int) -> None:
        self._words[self._at + _AGE] = value

    @property
    def state(self) -> int:
        """FREE, BOOTING, SERVING, FAILED, TOLD or ENDED."""
        state: int = self._words[self._at + _STATE]
        return state

    @state.setter
    def state(self, value: int) -> None:
        # The time first: who sees the state sees a time that is no older.
        now = self._words[self._at + _SINCE] = time.monotonic_ns()
        if value == SERVING and self.state == BOOTING:
            self._words[self._at + _STARTED] = now
        self._words[self._at + _STATE] = value

    @property
    def since(self) -> float:
        """When the state was entered, of time.monotonic()."""
        nanoseconds: int = self._words[self._at + _SINCE]
        return nanoseconds / 1e9

    @property
    def started(self) -> float:
        """When it began to serve, of time.monotonic(); 0 where it did not yet."""
        nanoseconds: int = self._words[self._at + _STARTED]
        return nanoseconds / 1e9

    @property
    def asks_to_go(self) -> bool:
        """Whether it wants to be replaced, and serves on until it is told to leave."""
        return bool(self._words[self._at + _ASKS])

    @asks_to_go.setter
    def asks_to_go(self, value: bool) -> None:
        self._words[self._at + _ASKS] = value

    @property
    def load(self) -> int:
        """How many connections and running requests it had when it last accepted one, or last wrote `beat`."""
        load: int = self._words[self._at + _LOAD]
        return load

    @load.setter
    def load(self, value: int) -> None:
        self._words[self._at + _LOAD] = value

    @property
    def beat(self) -> int:
        """When it last said that it is well, of time.monotonic_ns(); 0 where it never did."""
        beat: int = self._words[self._at + _BEAT]
        return beat

    @beat.setter
    def beat(self, value: int) -> None:
        self._words[self._at + _BEAT] = value

    @property
    def alive(self) -> bool:
        """Whether its process is there, be it yet to be forked."""
        pid = self.pid
        if not pid:
            return self.state == BOOTING
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            # It is there, under another user.
            return True
        return True


class Board:
    """The slots of one master's workers; made in the master, before the first fork."""

    _of_master: ClassVar[Board | None] = None

    @classmethod
    def of_master(cls) -> Board:
        """The board of this process, which is a master: made when it is first asked for."""
        board = cls._of_master
        if board is None or board.owner != os.getpid():
            board = cls._of_master = cls()
        return board

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._map = mmap.mmap(-1, (_HEADER_WORDS + MOST_WORKERS * _SLOT_WORDS) * _WORD)
        self._words = memoryview(self._map).cast("q")
        self._slots = [Slot(self._words, number) for number in range(MOST_WORKERS)]
        # How many slots were ever used: those behind are not looked at.
        self._used = 0

    @property
    def failures(self) -> int:
        """How many workers in a row could not boot while others served."""
        failures: int = self._words[_FAILURES]
        return failures

    @failures.setter
    def failures(self, value: int) -> None:
        self._words[_FAILURES] = value

    @property
    def managed(self) -> bool:
        """Whether the master sees to it that nobody leaves before another one serves (master/arbiter.py)."""
        return bool(self._words[_MANAGED])

    @managed.setter
    def managed(self, value: bool) -> None:
        self._words[_MANAGED] = value

    def add(self, age: int) -> Slot | None:
        """A slot for a worker that is about to be forked; called in the master. None: there is no more room."""
        slot = self._find_free()
        if slot is not None:
            slot.begin(age)
        return slot

    def _find_free(self) -> Slot | None:
        if self._used < MOST_WORKERS:
            self._used += 1
            return self._slots[self._used - 1]
        gone = [slot for slot in self._slots if not slot.alive]
        return min(gone, key=lambda slot: slot.since, default=None)

    def __iter__(self) -> Iterator[Slot]:
        """The slots that a worker has, or had.

        A worker knows of those that were made before and after it: the memory is shared, the count of slots is not.
        """
        for slot in self._slots:
            if slot.state == FREE:
                return
            yield slot
