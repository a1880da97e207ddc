"""What is read of a board."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.board.test_ends import gone
from tests.boards import add_worker
from uvicorn_worker.board import board as boards
from uvicorn_worker.board.board import BOOTING, FAILED, SERVING, TOLD, Board, find_boards
from uvicorn_worker.board.ends import bury
from uvicorn_worker.board.reading import read_board
from uvicorn_worker.core.figures import words_of


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.mark.parametrize(
    ("state", "word"), [(BOOTING, "booting"), (SERVING, "serving"), (TOLD, "draining"), (FAILED, "failed")]
)
def test_states(board: Board, state: int, word: str) -> None:
    add_worker(board, state)
    [worker] = read_board(board).workers
    assert worker.state == word


def test_one_without_a_beat_is_stalled(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    add_worker(board).beat = time.monotonic_ns()
    later = time.monotonic() + boards.BEAT_SECONDS + 0.1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    reading = read_board(board)
    assert reading.workers[0].state == "stalled"
    assert not reading.is_ready


def test_ready_is_one_that_serves_below_its_limits(board: Board) -> None:
    assert not read_board(board).is_ready
    slot = add_worker(board, at_limit=1)
    assert not read_board(board).is_ready
    slot.write(words_of({}))
    assert read_board(board).is_ready


def test_totals_do_not_fall_when_a_worker_goes_or_its_slot_is_used_again(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_worker(board, http11_2xx=5, connections=3, oldest_since=time.monotonic_ns())
    dead = gone(board)
    dead.write(words_of({"http11_2xx": 7, "took_0.001": 7}))
    reading = read_board(board)
    assert reading.served == reading.totals["http11_2xx"] == 12
    assert len(reading.workers) == 1
    assert reading.gauges["connections"] == 3
    later = time.monotonic() + 1000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    again = board.add(9)
    assert again is not None
    assert again.age == 9
    assert sum(1 for _ in board) == 2
    assert read_board(board).served == 12
    assert read_board(board).ended == {}


def test_counts_by_path_do_not_fall_either(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    row = [0, 2, 0, 0, 0, 2, *[0] * 16, 5]
    living, dead = add_worker(board).paths, gone(board).paths
    living.begin(["/a", "/b"])
    living.write([row, row])
    dead.begin(["/b", "/before-the-reload"])
    dead.write([row, row])

    def counted() -> dict[str, int]:
        return {path: counters["2xx"] for path, counters in read_board(board).paths.items()}

    assert counted() == {"/a": 2, "/b": 4, "/before-the-reload": 2}
    for number in (1, 2):
        later = time.monotonic() + 1000 * number
        monkeypatch.setattr(time, "monotonic", lambda later=later: later)
        again = board.add(9)
        assert again is not None
        # It is not the new one's.
        assert list(again.paths) == []
        assert counted() == {"/a": 2, "/b": 4, "/before-the-reload": 2}
    assert read_board(board).paths["/b"]["spent"] == 10


def test_it_is_json(board: Board) -> None:
    add_worker(board)
    gone(board)
    bury(board)
    text = json.loads(json.dumps(read_board(board).as_dict()))
    assert text["ready"] is True
    assert text["ended"] == {"killed": 1}


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has none")
def test_it_is_found_from_outside(board: Board) -> None:
    add_worker(board, requests=4)
    found = find_boards(os.getpid())
    assert [each.begun for each in found].count(board.begun) == 1
    [mine] = [each for each in found if each.begun == board.begun]
    [worker] = read_board(mine).workers
    assert worker.figures["requests"] == 4


def test_a_board_of_another_version_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no board"):
        Board(tmp_path / "nothing")
    with (tmp_path / "old").open("wb") as file:
        file.truncate(boards._SIZE)
    with pytest.raises(ValueError, match="another version"):
        Board(tmp_path / "old")
