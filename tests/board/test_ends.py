"""What is made of a worker that has gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from uvicorn_worker.board import ends
from uvicorn_worker.board.board import ENDED, FAILED, MOST_ENDS, SERVING, TOLD, Board, Slot
from uvicorn_worker.board.ends import bury, ends_of
from uvicorn_worker.core.figures import words_of

# No process has it: that of one that has ended may be another's, once there have been many. More than Linux ever gives.
PID = 2**22 + 1


@pytest.fixture
def board() -> Board:
    return Board()


def gone(board: Board, *, state: int = SERVING, cause: int = 0, left: bool = False, detail: int = 0) -> Slot:
    slot = board.add(1)
    assert slot is not None
    slot.pid = PID
    slot.state = SERVING
    slot.state = state
    slot.beat = time.monotonic_ns()
    slot.cause = cause, detail
    slot.left = left
    return slot


def test_one_that_is_there_is_left_alone(board: Board) -> None:
    slot = board.add(1)
    assert slot is not None
    assert bury(board) == []
    slot.pid = os.getpid()
    assert bury(board) == []
    assert list(ends_of(board)) == []


def test_an_end_is_told_once_and_kept(board: Board) -> None:
    slot = gone(board, cause=ends.MAX_REQUESTS, state=ENDED, left=True)
    since = int((time.monotonic() - 3) * 1e9)
    slot.write(words_of({"http11_2xx": 7, "websocket_1xx": 1, "rss": 5 << 20, "requests": 2, "oldest_since": since}))
    slot.oldest = "GET /slow"
    seen = list(ends_of(board))
    [end] = bury(board)
    assert (end.pid, end.cause, end.served, end.rss, end.requests, end.oldest) == (
        PID,
        "max_requests",
        8,
        5 << 20,
        2,
        "GET /slow",
    )
    assert end.oldest_age == pytest.approx(3, abs=1)
    assert end.is_planned
    assert not end.is_wished
    assert bury(board) == []
    assert [each.pid for each in seen] == [each.pid for each in ends_of(board)] == [PID]
    [kept] = ends_of(board)
    assert str(kept) == str(end)
    assert str(end).splitlines() == [
        f"Worker {PID} has ended: max_requests is reached.",
        f"  It lived for {end.lived:.1f} s, served 8 requests, and had 5 MiB of memory.",
        "  In flight: 2 requests, 0 WebSockets.",
        f"  The longest: GET /slow for {end.oldest_age:.1f} s.",
    ]


def test_the_last_sixty_four_are_kept_the_last_one_first(board: Board) -> None:
    for age in range(MOST_ENDS + 3):
        slot = gone(board, cause=ends.LIFETIME, left=True)
        slot.age = age
        bury(board)
    assert [end.age for end in ends_of(board)] == list(range(MOST_ENDS + 2, 2, -1))


def test_one_that_is_buried_while_it_is_looked_at_is_told_once(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    gone(board, cause=ends.LIFETIME, left=True)
    read = board.kept_ends

    def kept() -> object:
        bury(board)
        return read()

    monkeypatch.setattr(board, "kept_ends", kept)
    assert [end.pid for end in ends_of(board)] == [PID]


def killed(number: int) -> Callable[[int], int | None]:
    return lambda pid: -number


@pytest.mark.parametrize(
    ("state", "cause", "left", "status", "expected"),
    [
        (SERVING, 0, False, None, ("killed", 0)),
        (SERVING, 0, False, killed(9), ("killed", 9)),
        (SERVING, 0, False, killed(11), ("killed", 11)),
        (SERVING, 0, False, lambda pid: 7, ("exit", 7)),
        (SERVING, ends.MEMORY, True, None, ("memory", 0)),
        (ENDED, ends.MEMORY, False, killed(9), ("killed while leaving", 9)),
        (TOLD, 0, True, None, ("told", 0)),
        (TOLD, 0, False, killed(9), ("killed while leaving", 9)),
        (SERVING, ends.BLOCKED, False, killed(9), ("blocked", 0)),
        (FAILED, 0, False, None, ("not booted", 0)),
        (ENDED, 0, True, None, ("not known", 0)),
        (ENDED, 0, True, lambda pid: 0, ("not known", 0)),
    ],
)
def test_causes(
    board: Board,
    state: int,
    cause: int,
    left: bool,
    status: Callable[[int], int | None] | None,
    expected: tuple[str, int],
) -> None:
    gone(board, state=state, cause=cause, left=left)
    [end] = bury(board, status_of=status)
    assert (end.cause, end.detail) == expected


def test_the_wish_of_the_master_is_the_cause(board: Board) -> None:
    slot = gone(board, state=TOLD, left=True)
    slot.wish = ends.RELOAD
    [end] = bury(board)
    assert end.cause == "reload"
    assert end.is_wished


def test_one_without_a_beat_for_longer_than_timeout_was_blocked(board: Board) -> None:
    slot = gone(board)
    slot.beat = int((time.monotonic() - 40) * 1e9)
    [end] = bury(board, 30)
    assert end.cause == "blocked"


@pytest.mark.parametrize(
    ("cause", "detail", "words"),
    [
        (ends.CAUSES.index("killed"), signal.SIGKILL, "SIGKILL"),
        (ends.CAUSES.index("killed"), signal.SIGSEGV, "signal SIGSEGV"),
        (ends.CAUSES.index("killed"), 99, "signal 99"),
        (ends.CAUSES.index("killed"), 0, "from outside, or crashed"),
        (ends.EXIT, 3, "code 3"),
        (ends.BLOCKED, 0, "heartbeat"),
    ],
)
def test_words(board: Board, cause: int, detail: int, words: str) -> None:
    board.keep_end([PID, 1, cause, detail, *[0] * 7], "")
    [end] = ends_of(board)
    assert words in str(end)
