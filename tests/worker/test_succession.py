"""Who leaves when workers are replaced: decided by what stands on the board."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, cast

import pytest

from uvicorn_worker.board import board as module
from uvicorn_worker.board.board import BOOTING, ENDED, FAILED, SERVING, TOLD, Board, Slot
from uvicorn_worker.board.ends import NOT_BOOTED, bury
from uvicorn_worker.worker.relief import Relief
from uvicorn_worker.worker.succession import FIRST_PAUSE, LONGEST_PAUSE, Succession

LOG = logging.getLogger("tests.succession")


class Later:
    """Stands in for the loop: what is to be called later is called by `look()`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> None:
        self.calls.append((callback, args))

    def call_soon(self, callback: Callable[..., None], *args: Any) -> None:
        self.calls.append((callback, args))

    def look(self) -> None:
        calls, self.calls = self.calls, []
        for callback, args in calls:
            callback(*args)


def leave() -> None:
    """What a worker does that is not replaced."""


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board of one's own in the place of that of this process."""
    found = Board()
    monkeypatch.setattr(module.Board, "_of_master", found)
    return found


def worker(age: int, state: int = BOOTING, first: int = 0) -> Succession:
    """A worker whose process is this one."""
    found = Succession(age, first)
    found.forked(os.getpid())
    if state == SERVING:
        found.serving()
    return found


def slot_of(board: Board, age: int) -> Slot:
    return next(slot for slot in board if slot.age == age)


def decide(old: Succession) -> tuple[Later, list[bool]]:
    later, decided = Later(), list[bool]()
    old.watch(cast("Any", later), decided.append, LOG)
    return later, decided


@pytest.mark.usefixtures("board")
class TestHolding:
    def test_one_that_is_alone_leaves(self) -> None:
        assert not worker(1, SERVING).holds()

    def test_one_that_does_not_serve_leaves(self) -> None:
        old = worker(1)
        worker(2)
        assert not old.holds()

    def test_a_younger_one_that_serves_already_is_no_reason(self) -> None:
        old = worker(1, SERVING)
        worker(2, SERVING)
        assert not old.holds()

    def test_an_older_one_that_boots_neither(self) -> None:
        worker(1)
        assert not worker(2, SERVING).holds()

    def test_a_younger_one_that_boots_is(self) -> None:
        old = worker(1, SERVING)
        worker(2)
        assert old.holds()
        assert old.holds()

    def test_not_where_the_master_sees_to_it(self, board: Board) -> None:
        old = worker(1, SERVING)
        worker(2)
        board.managed = True
        assert not old.holds()
        assert old.asks_to_go(cast("Any", None), leave)
        assert slot_of(board, 1).asks_to_go

    def test_gunicorns_own_master_is_asked(self, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        old, later = worker(1, SERVING), Later()
        old.look_after()
        # This process has no master that heeds signals.
        assert not old.asks_to_go(cast("Any", later), leave)
        monkeypatch.setattr(Relief, "available", True)
        sought: list[Any] = []
        monkeypatch.setattr(Relief, "seek", lambda self, *args: sought.append(args[1:]))
        assert old.asks_to_go(cast("Any", later), leave)
        later.look()
        assert sought == [(board, slot_of(board, 1), leave)]


def test_has_served_stays_until_the_end(board: Board) -> None:
    found = worker(1)
    assert not found.has_served
    found.serving()
    assert found.has_served
    found.told()
    assert found.has_served


class TestWatching:
    def test_until_the_younger_one_serves(self, board: Board) -> None:
        old, young = worker(1, SERVING), worker(2)
        assert old.holds()
        later, decided = decide(old)
        assert decided == []
        young.serving()
        later.look()
        assert decided == [False]
        assert slot_of(board, 1).age == 1

    def test_one_of_the_same_generation_does_not_count(self, board: Board) -> None:
        old, _, _ = worker(1, SERVING), worker(2, SERVING), worker(3)
        assert old.holds()
        later, decided = decide(old)
        later.look()
        assert decided == []

    def test_until_the_younger_one_was_told_too(self, board: Board) -> None:
        old, young = worker(1, SERVING), worker(2)
        assert old.holds()
        young.told()
        assert decide(old)[1] == [False]

    def test_it_stays_where_the_younger_one_could_not_boot(self, board: Board) -> None:
        old, young = worker(1, SERVING), worker(2)
        assert old.holds()
        young.failed(reports=True)
        later, decided = decide(old)
        # It is there still, and waits before it leaves.
        assert decided == []
        slot_of(board, 2).pid = 2**22 + 1
        later.look()
        assert decided == [True]
        # Gunicorn takes it for one of the new ones.
        assert old.age == 2
        # And it can be told again.
        assert not old.holds()

    def test_it_leaves_where_the_younger_one_has_gone_for_another_reason(self, board: Board) -> None:
        old = worker(1, SERVING)
        worker(2)
        assert old.holds()
        slot_of(board, 2).pid = 2**22 + 1
        assert decide(old)[1] == [False]


class TestFailing:
    def test_the_first_workers_end_the_master(self, board: Board) -> None:
        worker(1, SERVING, first=2)
        assert not worker(2, first=2).spares_the_master()

    def test_later_ones_do_not_while_others_serve(self, board: Board) -> None:
        old, young = worker(1, SERVING, first=1), worker(2, first=1)
        assert young.spares_the_master()
        old.told()
        assert not young.spares_the_master()

    def test_the_pause_doubles_up_to_a_bound_until_one_serves(self, board: Board) -> None:
        pauses = [worker(age).failed(reports=True) for age in range(2, 12)]
        assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
        assert pauses[-1] == LONGEST_PAUSE
        worker(20, SERVING)
        assert worker(21).failed(reports=True) == FIRST_PAUSE

    def test_of_those_that_fail_together_one_counts(self, board: Board) -> None:
        assert [worker(age).failed(reports=age == 2) for age in range(2, 6)] == [FIRST_PAUSE] * 4


class TestStates:
    def test_the_way_of_a_worker(self, board: Board) -> None:
        one = worker(1)
        slot = slot_of(board, 1)
        one.ends()
        assert slot.state == BOOTING
        one.serving()
        assert slot.state == SERVING
        one.ends()
        assert slot.state == ENDED

    def test_one_that_was_told_has_not_left_by_itself(self, board: Board) -> None:
        one = worker(1, SERVING)
        one.told()
        one.ends()
        assert slot_of(board, 1).state == TOLD

    def test_one_that_was_told_while_it_started_is_no_death_that_nobody_wanted(
        self, board: Board, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = worker(1)
        told.told()
        told.serving()
        told.ends()
        told.left()
        assert slot_of(board, 1).state == TOLD
        monkeypatch.setattr(module, "is_alive", lambda pid: False)
        [end] = bury(board)
        assert (end.cause, end.is_wished) == ("told", True)

    def test_without_room_on_the_board_it_is_as_if_there_were_none(
        self, board: Board, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MOST_WORKERS", 0)
        one = worker(7, SERVING)
        assert one.age == 7
        assert one.neighbours is None
        one.told()
        one.leaves(NOT_BOOTED)
        one.ends()
        one.left()
        assert one.reporter is None
        assert not one.holds()
        assert not one.asks_to_go(cast("Any", None), leave)
        assert not one.spares_the_master()
        assert one.failed(reports=False) == FIRST_PAUSE
        assert FAILED not in {slot.state for slot in board}
