"""What the log says of workers that have gone."""

from __future__ import annotations

import logging
import time

import pytest

from uvicorn_worker.board.board import SERVING, Board
from uvicorn_worker.board.deaths import tell_deaths
from uvicorn_worker.board.ends import MAX_REQUESTS, TOLD_TO

GONE = 2**22 + 1
"""No process has this number."""


def gone(board: Board, cause: int = 0, *, left: bool = True) -> None:
    """A worker that is there no more; `left`: it had come to its end by itself."""
    slot = board.add(1)
    assert slot is not None
    slot.pid = GONE
    slot.state = SERVING
    slot.beat = time.monotonic_ns()
    slot.cause = cause, 0
    slot.left = left


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    board = Board()
    monkeypatch.setattr(Board, "of_master", classmethod(lambda cls: board))
    return board


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    caplog.set_level(logging.INFO, "deaths")
    tell_deaths(logging.getLogger("deaths"), 30)
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "deaths"]


def test_nobody(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog) == []


def test_one_that_was_killed_is_an_error(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    gone(board, left=False)
    ((level, text),) = told(caplog)
    assert level == logging.ERROR
    assert str(GONE) in text
    # Once.
    assert len(told(caplog)) == 1


def test_one_that_has_reached_a_limit_is_none(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    gone(board, MAX_REQUESTS)
    ((level, _),) = told(caplog)
    assert level == logging.INFO


def test_of_one_that_was_told_to_go_nothing_is_said(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    gone(board, TOLD_TO)
    assert told(caplog) == []
