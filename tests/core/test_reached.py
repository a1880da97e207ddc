"""What applications reach for behind `receive` and `send`; tests/server has it with connections."""

from __future__ import annotations

from typing import Any

import pytest

from uvicorn_worker.core.cycle import AWAIT_START, BODY, DONE, HEAD_HELD, Cycle


class Asked(Cycle):
    """A cycle that was made for nothing else."""

    def __init__(self, stage: int, *, gone: bool = False, lost: bool = False) -> None:
        self.stage, self.gone, self.lost = stage, gone, lost
        connection: Any = type("Connection", (), {"transport": "its own"})
        self.conn = connection()


@pytest.mark.parametrize(
    ("stage", "started", "complete"),
    [(AWAIT_START, False, False), (HEAD_HELD, True, False), (BODY, True, False), (DONE, True, True)],
)
def test_the_response(stage: int, started: bool, complete: bool) -> None:
    cycle = Asked(stage)
    assert (cycle.response_started, cycle.response_complete) == (started, complete)
    assert cycle.transport == "its own"


@pytest.mark.parametrize(("gone", "lost"), [(False, False), (True, False), (False, True)])
def test_the_client(gone: bool, lost: bool) -> None:
    assert Asked(BODY, gone=gone, lost=lost).disconnected == (gone or lost)
