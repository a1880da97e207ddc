"""Rows of counters with names in shared words."""

from __future__ import annotations

from uvicorn_worker.board.rows import ROW_WORDS, Rows
from uvicorn_worker.core.figures import PATH_COUNTERS

ONES, TWOS = [1] * len(PATH_COUNTERS), [2] * len(PATH_COUNTERS)


def rows(most: int = 3) -> Rows:
    """Behind one word that says how many there are, and one that is somebody else's."""
    octets = memoryview(bytearray((2 + most * ROW_WORDS) * 8))
    return Rows(octets.cast("q"), octets, 2, 0, most)


def test_what_was_written_is_read() -> None:
    found = rows()
    assert list(found) == []
    found.begin(["/a", "/b/\u00fc"])
    assert [name for name, _ in found] == ["/a", "/b/\u00fc"]
    found.write([ONES, TWOS])
    assert list(found) == [("/a", ONES), ("/b/\u00fc", TWOS)]
    found.begin(["/c"])
    assert list(found) == [("/c", [0] * len(PATH_COUNTERS))]
    found.clear()
    assert list(found) == []


def test_raising() -> None:
    found = rows()
    found.begin(["/a", "/b"])
    found.write([ONES, TWOS])
    found.raise_to([TWOS, ONES])
    assert list(found) == [("/a", TWOS), ("/b", TWOS)]


def test_no_more_than_there_is_room_for() -> None:
    found = rows(2)
    found.begin(["/a", "/b", "/c"])
    found.write([ONES, TWOS, TWOS])
    assert list(found) == [("/a", ONES), ("/b", TWOS)]


def test_a_long_name_is_cut() -> None:
    found = rows()
    found.begin(["/" + "x" * 500])
    [(name, _)] = found
    assert name == "/" + "x" * 119


def test_adding() -> None:
    found = rows(2)
    for name, counters in (("/a", ONES), ("/b", ONES), ("/a", ONES), ("/c", ONES)):
        found.add(name, counters)
    assert list(found) == [("/a", TWOS), ("/b", ONES)]
