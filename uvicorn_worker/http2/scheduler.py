"""Priorities of RFC 9218: the field `priority`, and whose turn it is to send.

    urgency 0 ─► 1 ─► ... ─► 7        a level sends only while those before it have nothing to send
        serial    one after the other, in the order of their requests: the client said that it wants them whole
        shared    in turns: the client said `i`, or nothing at all

Where both kinds are on a level, they take turns too. A client that says nothing gets all its responses in turns, so
that a large one never holds up a small one.
"""

from __future__ import annotations

import re
from bisect import insort
from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["DEFAULT_URGENCY", "QUANTUM", "QUICK_QUANTUM", "Scheduler", "Sender", "read_priority"]

DEFAULT_URGENCY = 3
LEVELS = 8

# How much a stream may send before it is the next one's turn, where more than one wait: four frames of the usual size,
# since a turn for each frame is half of what a large body costs.
QUANTUM = 65536
# The same while the client's socket takes all that it is given: whose turn it is lasts for the time of a copy then, and
# each turn costs some microseconds.
QUICK_QUANTUM = 262144

# Streams that have not begun whose PRIORITY_UPDATE is remembered.
MOST_EARLY_PRIORITIES = 100

# A longer value counts as not said: no member that means anything takes a tenth of this.
LONGEST_PRIORITY = 256

# A dictionary of structured fields (RFC 9651, 3.2), as far as its members are told from each other: a comma, a string,
# or what is neither. Each piece is found at the first try, so that the cost is that of the value's size.
_PIECE = rb',|"(?:[^"\\]|\\.)*"?|[^,"]+'
_find_pieces = re.compile(_PIECE, re.DOTALL).findall
_is_urgency = re.compile(rb"u=([0-7])(?:;.*)?").fullmatch
_is_incremental = re.compile(rb"i(?:=\?([01]))?(?:;.*)?").fullmatch


def read_priority(value: bytes) -> tuple[int, bool]:
    """Urgency, and whether the response is wanted in order and whole, of a field's value.

    What can't be read counts as not said (RFC 9218, 4).
    """
    urgency, incremental = DEFAULT_URGENCY, False
    for member in _members(value) if len(value) <= LONGEST_PRIORITY else ():
        if found := _is_urgency(member):
            urgency = int(found[1])
        elif found := _is_incremental(member):
            incremental = found[1] != b"0"
    return urgency, not incremental


def _members(value: bytes) -> Iterator[bytes]:
    """The members of a dictionary, without the white space around them."""
    pieces: list[bytes] = []
    for piece in [*_find_pieces(value), b","]:
        if piece == b",":
            yield b"".join(pieces).strip()
            pieces.clear()
        else:
            pieces.append(piece)


class Sender(Protocol):
    """Something that waits for its turn."""

    stream_id: int
    urgency: int
    serial: bool
    # Whether it is in the row; the scheduler's own.
    queued: bool


S = TypeVar("S", bound=Sender)


class Scheduler(Generic[S]):
    """Those who have something to send, and could; and whose turn it is."""

    __slots__ = ("_levels", "count", "early", "quantum")

    def __init__(self) -> None:
        self.count = 0
        # What `share` gives where more than one wait.
        self.quantum = QUANTUM
        self._levels: list[_Level[S] | None] = [None] * LEVELS
        # PRIORITY_UPDATE of streams that have not begun: what it says, not what was sent, which may be long.
        self.early: dict[int, tuple[int, bool]] = {}

    def add(self, sender: S) -> None:
        """Put one in the row, unless it is there."""
        if sender.queued:
            return
        sender.queued = True
        level = self._levels[sender.urgency]
        if level is None:
            level = self._levels[sender.urgency] = _Level()
        level.add(sender)
        self.count += 1

    def remove(self, sender: S) -> None:
        """Take one out of the row, if it is there: it has nothing more to send, or can't."""
        if not sender.queued:
            return
        sender.queued = False
        level = self._levels[sender.urgency]
        if level is not None:
            level.remove(sender)
            self.count -= 1

    def next(self) -> S | None:
        """Whose turn it is; it stays in the row, behind those of its kind unless it is to be served whole."""
        if not self.count:
            return None
        for level in self._levels:
            if level is not None and (sender := level.next()) is not None:
                return sender
        return None

    def share(self, budget: int) -> int:
        """How much the one whose turn it is may send before it is the next one's: all of `budget`, if it is alone."""
        return budget if self.count == 1 else self.quantum

    # Priorities --------------------------------------------------------------------------------------

    def prioritise(self, sender: S, value: bytes) -> None:
        """The client has changed its mind: PRIORITY_UPDATE with `value`."""
        queued = sender.queued
        self.remove(sender)
        sender.urgency, sender.serial = read_priority(value)
        if queued:
            self.add(sender)

    def keep_early(self, stream_id: int, value: bytes) -> None:
        """Remember the priority of a stream that has not begun."""
        if stream_id in self.early or len(self.early) < MOST_EARLY_PRIORITIES:
            self.early[stream_id] = read_priority(value)


class _Level(Generic[S]):
    """Those of one urgency."""

    __slots__ = ("serial", "serial_was_last", "shared")

    def __init__(self) -> None:
        self.serial: list[S] = []
        self.shared: deque[S] = deque()
        self.serial_was_last = False

    def add(self, sender: S) -> None:
        if sender.serial:
            insort(self.serial, sender, key=lambda each: each.stream_id)
        else:
            self.shared.append(sender)

    def next(self) -> S | None:
        if self.serial and not (self.shared and self.serial_was_last):
            self.serial_was_last = True
            return self.serial[0]
        self.serial_was_last = False
        if not self.shared:
            return None
        sender = self.shared[0]
        self.shared.rotate(-1)
        return sender

    def remove(self, sender: S) -> None:
        row: list[S] | deque[S] = self.serial if sender.serial else self.shared
        row.remove(sender)
