"""Texts and named rows of counters in the words of a board (board.py).

A row is a text and its counters, one after the other; who owns the rows says elsewhere how many of them are in use, so
that memory which was never used is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uvicorn_worker.core.figures import PATH_COUNTERS

__all__ = ["MOST_PATHS", "ROW_WORDS", "TEXT_WORDS", "WORD", "Rows", "read_text", "write_text"]

WORD = 8
TEXT_WORDS = 16
"""Of a text; the first of them is its length in bytes."""
_TEXT_BYTES = (TEXT_WORDS - 1) * WORD

ROW_WORDS = TEXT_WORDS + len(PATH_COUNTERS)
MOST_PATHS = 32
"""So many paths of the option `paths` are counted apart: ten kilobytes for each worker."""


def read_text(words: memoryview, octets: memoryview, at: int) -> str:
    """The text whose length is in the word `at`."""
    size = min(words[at], _TEXT_BYTES)
    begin = (at + 1) * WORD
    return bytes(octets[begin : begin + size]).decode("utf-8", "replace")


def write_text(words: memoryview, octets: memoryview, at: int, text: str) -> None:
    """Write it, cut where it is too long; who reads it meanwhile reads none."""
    data = text.encode("utf-8", "replace")[:_TEXT_BYTES]
    begin = (at + 1) * WORD
    words[at] = 0
    octets[begin : begin + len(data)] = data
    words[at] = len(data)


class Rows:
    """Rows from the word `at` on; `used` is the word that says how many of them there are."""

    __slots__ = ("_at", "_bytes", "_most", "_used", "_words")

    def __init__(self, words: memoryview, octets: memoryview, at: int, used: int, most: int) -> None:
        self._words = words
        self._bytes = octets
        self._at = at
        self._used = used
        self._most = most

    def clear(self) -> None:
        """There are none."""
        self._words[self._used] = 0

    def begin(self, names: Sequence[str]) -> None:
        """There are rows with these names, and nothing is counted; those beyond the most there can be are left out."""
        self.clear()
        for number, name in enumerate(names[: self._most]):
            self._put(number, name, [0] * len(PATH_COUNTERS))
        self._words[self._used] = min(len(names), self._most)

    def write(self, rows: Sequence[Sequence[int]]) -> None:
        """Write the counters of each row, in the order of their names."""
        for number, counters in enumerate(rows[: self._most]):
            self._write(number, counters)

    def raise_to(self, rows: Sequence[Sequence[int]]) -> None:
        """Write those of the counters that are higher than what stands there."""
        words = self._words
        for number, counters in enumerate(rows[: self._most]):
            for at, value in enumerate(counters, self._at + number * ROW_WORDS + TEXT_WORDS):
                words[at] = max(words[at], value)

    def _put(self, number: int, name: str, counters: Sequence[int]) -> None:
        write_text(self._words, self._bytes, self._at + number * ROW_WORDS, name)
        self._write(number, counters)

    def _write(self, number: int, counters: Sequence[int]) -> None:
        words = self._words
        for at, value in enumerate(counters, self._at + number * ROW_WORDS + TEXT_WORDS):
            words[at] = value

    def __iter__(self) -> Iterator[tuple[str, list[int]]]:
        """The name and the counters of each."""
        for number in range(min(self._words[self._used], self._most)):
            at = self._at + number * ROW_WORDS
            counters: list[int] = self._words[at + TEXT_WORDS : at + ROW_WORDS].tolist()
            yield read_text(self._words, self._bytes, at), counters

    def add(self, name: str, counters: Sequence[int]) -> None:
        """Add to the row of this name, which is made where there is none; without room for it, they are lost."""
        number = 0
        for known, before in self:
            if known == name:
                self._write(number, [sum(pair) for pair in zip(before, counters, strict=True)])
                return
            number += 1
        if number < self._most:
            self._put(number, name, counters)
            self._words[self._used] = number + 1
