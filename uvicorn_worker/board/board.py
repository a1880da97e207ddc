"""The board of one master: what each of its workers says of itself, in memory that all of them share.

    master    makes the board, and a slot for each worker before it forks it
    worker    writes its own slot, reads those of the others
    reader    another process of the same user or root's, `uvicorn-worker status` (reading.py)

A slot has one writer, and each field is one aligned word of eight bytes. So nothing is locked, and what a worker wrote
last can be read when it is blocked, or was killed. A slot is used again when its worker has been gone for a while; its
counters are added to those of the workers that are gone, so that the sum over all of them never falls.

    header, 64 words              failures, managed, who has made it and when ...
    counters of those gone        in the order of `FIGURES` (core/figures.py)
    the last 64 ends              32 words each (ends.py)
    slots                         16 words of state, the figures, and a line of text: the oldest request
    rows for paths                of those gone, and of each slot: what the option `paths` names (rows.py)
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from uvicorn_worker.board.rows import MOST_PATHS, ROW_WORDS, TEXT_WORDS, WORD, Rows, read_text, write_text
from uvicorn_worker.board.shared_memory import find_shared, make_shared, open_shared
from uvicorn_worker.core.figures import COUNTERS, FIGURES, GAUGES, PATH_COUNTERS
from uvicorn_worker.core.kernel import is_alive

__all__ = [
    "BEAT_SECONDS",
    "BOOTING",
    "ENDED",
    "FAILED",
    "FREE",
    "MOST_WORKERS",
    "SERVING",
    "TOLD",
    "Board",
    "Slot",
    "find_boards",
]

# States of a worker. FREE: the slot has never been used. BOOTING: from before the fork to the end of the lifespan
# startup. FAILED: it could not boot, and waits before it leaves. TOLD: it leaves since it was told to. ENDED: it has
# left by itself.
FREE, BOOTING, SERVING, FAILED, TOLD, ENDED = range(6)

# A worker that has not written for so long is blocked, or gone. It writes twice a second.
BEAT_SECONDS = 1.25

# More than any master has, those that are being replaced included; a worker beyond has no slot. Memory is taken only
# for slots that are used.
MOST_WORKERS = 1024
# How long a slot is left as it is after its worker was last heard of: others may still ask what became of it.
_KEPT_SECONDS = 60.0

# Of a slot.
_STATE_WORDS = 16
_FIGURES = _STATE_WORDS
_TEXT = _FIGURES + len(FIGURES)
_SLOT_WORDS = _TEXT + TEXT_WORDS

(
    _PID, _AGE, _STATE, _SINCE, _STARTED, _ASKS, _LOAD, _BEAT, _CAUSE, _DETAIL, _LEFT, _BURIED, _WISH, _MADE, _STALLED,
    _PATHS,
) = range(16)  # fmt: skip

_HEADER_WORDS = 64
_FAILURES, _MANAGED, _LAYOUT, _OWNER, _BEGUN, _FOLDS, _ENDS, _WANTED, _GONE_PATHS = range(9)
# How many ends there were of each cause: more causes than there are (ends.py).
_BY_CAUSE = 32

_GONE = _HEADER_WORDS
_RECORDS = _GONE + len(COUNTERS)
MOST_ENDS = 64
END_WORDS = 32
_SLOTS = _RECORDS + MOST_ENDS * END_WORDS

_ROWS_OF_GONE = _SLOTS + MOST_WORKERS * _SLOT_WORDS
# Those of the generations before may have had other paths.
_MOST_GONE_PATHS = 8 * MOST_PATHS
_ROWS = _ROWS_OF_GONE + _MOST_GONE_PATHS * ROW_WORDS

_SIZE = (_ROWS + MOST_WORKERS * MOST_PATHS * ROW_WORDS) * WORD
_NAME = "uvicorn-worker-board"
# Of a board with other figures nothing is read.
_VERSION = zlib.crc32(" ".join((*(figure.name for figure in FIGURES), *PATH_COUNTERS)).encode())
# How often a reader looks again where counters are being added up.
_TRIES = 1000


class Slot:
    """What one worker says of itself; its owner writes it, anyone may read it.

    Once it has gone the master writes `buried`, and before that `wish`.
    """

    __slots__ = ("_at", "_bytes", "_words", "paths")

    def __init__(self, words: memoryview, octets: memoryview, number: int) -> None:
        self._words = words
        self._bytes = octets
        self._at = _SLOTS + number * _SLOT_WORDS
        # What is counted apart of the paths that the option `paths` names.
        self.paths = Rows(words, octets, _ROWS + number * MOST_PATHS * ROW_WORDS, self._at + _PATHS, MOST_PATHS)

    def begin(self, age: int) -> None:
        """It is another worker's from now on, which is about to be forked."""
        at = self._at
        for word in range(_SLOT_WORDS):
            # The state last: a slot that was used is never free again.
            if word != _STATE:
                self._words[at + word] = 0
        self._words[at + _MADE] = time.monotonic_ns()
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
    def made(self) -> float:
        """When the slot was made for it, of time.monotonic()."""
        nanoseconds: int = self._words[self._at + _MADE]
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
    def cause(self) -> tuple[int, int]:
        """Why it leaves, of ends.py, and a number that belongs to it; (0, 0): it does not, as far as it knows."""
        return self._words[self._at + _CAUSE], self._words[self._at + _DETAIL]

    @cause.setter
    def cause(self, value: tuple[int, int]) -> None:
        self._words[self._at + _DETAIL] = value[1]
        self._words[self._at + _CAUSE] = value[0]

    @property
    def left(self) -> bool:
        """Whether it has come to its end in order."""
        return bool(self._words[self._at + _LEFT])

    @left.setter
    def left(self, value: bool) -> None:
        self._words[self._at + _LEFT] = value

    @property
    def buried(self) -> bool:
        """Whether its end is among those that are kept."""
        return bool(self._words[self._at + _BURIED])

    @buried.setter
    def buried(self, value: bool) -> None:
        self._words[self._at + _BURIED] = value

    @property
    def wish(self) -> int:
        """Why the master has told it to leave, of ends.py; 0: it has not, or does not say."""
        wish: int = self._words[self._at + _WISH]
        return wish

    @wish.setter
    def wish(self, value: int) -> None:
        self._words[self._at + _WISH] = value

    @property
    def alive(self) -> bool:
        """Whether its process is there, be it yet to be forked; one that was buried is not, whoever has its number."""
        if self.buried:
            return False
        pid = self.pid
        if not pid:
            return self.state == BOOTING
        return is_alive(pid)

    # Figures -----------------------------------------------------------------------------------------

    @property
    def figures(self) -> dict[str, int]:
        """What it has written last, by the names of `FIGURES`."""
        at = self._at + _FIGURES
        return dict(zip((figure.name for figure in FIGURES), self._words[at : at + len(FIGURES)].tolist(), strict=True))

    def write(self, words: Sequence[int]) -> None:
        """Write all figures, in the order of `FIGURES`."""
        at = self._at + _FIGURES
        shared = self._words
        for number, word in enumerate(words, at):
            shared[number] = word

    def raise_counters(self, words: Sequence[int]) -> None:
        """Write those of the counters that are higher than what stands there, in the order of `FIGURES`.

        For another thread than that which writes all of them: it may have been slower, and a counter never falls.
        """
        at = self._at + _FIGURES
        shared = self._words
        for number in range(len(GAUGES), len(FIGURES)):
            shared[at + number] = max(shared[at + number], words[number])

    @property
    def counters(self) -> list[int]:
        """The counters among the figures, in their order."""
        at = self._at + _FIGURES + len(GAUGES)
        found: list[int] = self._words[at : at + len(COUNTERS)].tolist()
        return found

    @property
    def oldest(self) -> str:
        """The oldest request in flight, as it was when it was last written: method and path, cut."""
        return read_text(self._words, self._bytes, self._at + _TEXT)

    @oldest.setter
    def oldest(self, value: str) -> None:
        write_text(self._words, self._bytes, self._at + _TEXT, value)

    def say_in_flight(self, requests: int, since: int, oldest: str) -> None:
        """Write how many requests are in flight, since when the oldest is (time.monotonic_ns()), and what it is."""
        self.oldest = oldest
        self._words[self._at + _FIGURES + _REQUESTS] = requests
        self._words[self._at + _FIGURES + _OLDEST_SINCE] = since


_REQUESTS, _OLDEST_SINCE = ([figure.name for figure in FIGURES].index(name) for name in ("requests", "oldest_since"))


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

    def __init__(self, path: Path | None = None) -> None:
        """Make one, or read that of another process at `path`, which raises ValueError where there is none."""
        memory = make_shared(_NAME, _SIZE) if path is None else open_shared(path, _SIZE)
        if memory is None:
            raise ValueError(f"{path} is no board of this version")
        self._map = memory
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("q")
        self._gone_paths = Rows(self._words, self._bytes, _ROWS_OF_GONE, _GONE_PATHS, _MOST_GONE_PATHS)
        # Made when they are first looked at, by their numbers: most masters need a few of them.
        self._slots: dict[int, Slot] = {}
        # How many slots were ever used: those behind are not looked at.
        self._used = 0
        if path is None:
            self._words[_OWNER] = os.getpid()
            self._words[_BEGUN] = time.monotonic_ns()
            self._words[_LAYOUT] = _VERSION
        elif self._words[_LAYOUT] != _VERSION:
            raise ValueError(f"{path} is the board of another version")

    @property
    def owner(self) -> int:
        """The process that has made it."""
        owner: int = self._words[_OWNER]
        return owner

    @property
    def begun(self) -> float:
        """When it was made, of time.monotonic()."""
        nanoseconds: int = self._words[_BEGUN]
        return nanoseconds / 1e9

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

    @property
    def wanted(self) -> int:
        """How many workers there are to be, as the master's settings said when it last forked one; 0: not known."""
        wanted: int = self._words[_WANTED]
        return wanted

    @wanted.setter
    def wanted(self, value: int) -> None:
        self._words[_WANTED] = value

    # Slots -------------------------------------------------------------------------------------------

    def add(self, age: int) -> Slot | None:
        """A slot for a worker that is about to be forked; called in the master. None: there is no more room."""
        slot = self._find_free()
        if slot is not None:
            slot.begin(age)
        return slot

    def _find_free(self) -> Slot | None:
        gone = [slot for slot in map(self._slot, range(self._used)) if not slot.alive]
        oldest = min(gone, key=_last_heard, default=None)
        if oldest is not None and time.monotonic() - _last_heard(oldest) > _KEPT_SECONDS:
            self._fold(oldest)
            return oldest
        if self._used < MOST_WORKERS:
            self._used += 1
            return self._slot(self._used - 1)
        if oldest is not None:
            self._fold(oldest)
        return oldest

    def _fold(self, slot: Slot) -> None:
        """Add the counters of a slot, which is used again, to those of the workers that are gone."""
        words = self._words
        words[_FOLDS] += 1
        for number, value in enumerate(slot.counters):
            words[_GONE + number] += value
        for name, counters in slot.paths:
            self._gone_paths.add(name, counters)
        slot.write([0] * len(FIGURES))
        slot.paths.clear()
        words[_FOLDS] += 1

    def __iter__(self) -> Iterator[Slot]:
        """The slots that a worker has, or had.

        A worker knows of those that were made before and after it: the memory is shared, the count of slots is not.
        """
        for number in range(MOST_WORKERS):
            slot = self._slot(number)
            if slot.state == FREE:
                return
            yield slot

    def _slot(self, number: int) -> Slot:
        # The thread of the metrics looks at them, too: there is one of each number, whoever has made it.
        slot = self._slots.get(number)
        return slot or self._slots.setdefault(number, Slot(self._words, self._bytes, number))

    def totals(self) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
        """The counters of all workers that there are, and were; and those of each path that is counted apart."""
        words = self._words
        found: list[int] = []
        paths: dict[str, list[int]] = {}
        for _ in range(_TRIES):
            before = words[_FOLDS]
            found, paths = words[_GONE : _GONE + len(COUNTERS)].tolist(), dict(self._gone_paths)
            for slot in self:
                found = [sum(pair) for pair in zip(found, slot.counters, strict=True)]
                for name, counters in slot.paths:
                    so_far = paths.get(name)
                    paths[name] = (
                        counters if so_far is None else [sum(pair) for pair in zip(so_far, counters, strict=True)]
                    )
            if not before & 1 and words[_FOLDS] == before:
                break
        by_path = {name: dict(zip(PATH_COUNTERS, counters, strict=True)) for name, counters in paths.items()}
        return dict(zip((figure.name for figure in COUNTERS), found, strict=True)), by_path

    # Ends --------------------------------------------------------------------------------------------

    @property
    def ended(self) -> int:
        """How many ends were ever kept."""
        ended: int = self._words[_ENDS]
        return ended

    def keep_end(self, words: Sequence[int], text: str) -> None:
        """Keep what is known of a worker that has gone, the cause in the third word; called in the master."""
        at = _RECORDS + self.ended % MOST_ENDS * END_WORDS
        write_text(self._words, self._bytes, at + END_WORDS - TEXT_WORDS, text)
        for number, word in enumerate(words, at):
            self._words[number] = word
        self._words[_BY_CAUSE + words[2]] += 1
        self._words[_ENDS] += 1

    @property
    def ended_by_cause(self) -> list[int]:
        """How many ends were ever kept of each cause, by the numbers of ends.py."""
        found: list[int] = self._words[_BY_CAUSE:_HEADER_WORDS].tolist()
        return found

    def kept_ends(self) -> Iterator[tuple[list[int], str]]:
        """Words and text of each, the last one first."""
        for number in range(self.ended - 1, max(self.ended - MOST_ENDS, 0) - 1, -1):
            at = _RECORDS + number % MOST_ENDS * END_WORDS
            text = read_text(self._words, self._bytes, at + END_WORDS - TEXT_WORDS)
            yield self._words[at : at + END_WORDS - TEXT_WORDS].tolist(), text


def _last_heard(slot: Slot) -> float:
    return max(slot.since, slot.beat / 1e9)


def find_boards(pid: int | None = None) -> list[Board]:
    """The boards that this user may read, or that of a process: of a master or of one of its workers."""
    found = []
    for path in find_shared(_NAME, pid):
        try:
            found.append(Board(path))
        except ValueError:
            continue
    return found
