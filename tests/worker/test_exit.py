"""A process ends in time, whatever its threads do."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from typing import Any

import pytest

from uvicorn_worker.worker import exit as module


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, message: str, *args: Any) -> None:
        self.lines.append(message % args)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], threading.Event]:
    """The exit codes with which the process was left."""
    codes: list[int] = []
    event = threading.Event()

    def leave(code: int) -> None:
        codes.append(code)
        event.set()

    monkeypatch.setattr(os, "_exit", leave)
    return codes, event


def test_a_thread_that_runs_on_is_left(left: tuple[list[int], threading.Event]) -> None:
    codes, event = left
    log, done = Log(), threading.Event()
    thread = threading.Thread(target=done.wait, name="view")
    thread.start()
    module.leave_in_time(log, time.monotonic() + 0.1)
    assert event.wait(10)
    done.set()
    thread.join()
    assert codes == [0]
    (line,) = log.lines
    assert "threads that still run: " in line
    assert "view" in line


def test_streams_that_are_gone_are_no_error(
    left: tuple[list[int], threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, event = left
    monkeypatch.setattr(sys, "stdout", None)
    module.leave_in_time(Log(), 0.0, 1)
    assert event.wait(10)
    assert codes == [1]


def test_without_a_bound_nothing_is_started() -> None:
    before = threading.active_count()
    module.leave_in_time(Log(), math.inf)
    assert threading.active_count() == before
