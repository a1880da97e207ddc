"""A process ends in time, whatever its threads do."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import threading
import time
from types import SimpleNamespace
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


def test_without_a_thread_for_it_the_end_is_the_masters(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    module.leave_in_time(Log(), 0.0)


class TestCloseLoop:
    """What ends the loop may have been the application, in the middle of anything."""

    @pytest.fixture
    def ended(self) -> list[str]:
        return []

    @staticmethod
    async def until_cancelled(name: str, ended: list[str]) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(name)

    def test_the_server_ends_before_what_the_application_has_left(self, ended: list[str]) -> None:
        """Its end runs the lifespan shutdown, whose task is among the others."""
        loop = asyncio.new_event_loop()
        server: Any = SimpleNamespace(own_abandon=lambda: ended.append("abandoned"))

        async def start() -> asyncio.Task[None]:
            left = [asyncio.ensure_future(self.until_cancelled("left", ended)) for _ in range(2)]
            main = asyncio.ensure_future(self.until_cancelled("main", ended))
            await asyncio.sleep(0)
            assert not any(task.done() for task in left)
            return main

        module.close_loop(loop, loop.run_until_complete(start()), server)
        assert ended == ["main", "abandoned", "left", "left"]
        assert loop.is_closed()

    def test_generators_are_closed(self, ended: list[str]) -> None:
        loop = asyncio.new_event_loop()

        async def numbers() -> Any:
            try:
                yield 1
            finally:
                ended.append("closed")

        async def start() -> Any:
            found = numbers()
            assert await found.__anext__() == 1
            return found

        left = loop.run_until_complete(start())
        module.close_loop(loop, None, SimpleNamespace(own_abandon=lambda: None))  # type: ignore[arg-type]
        assert ended == ["closed"]
        assert left.ag_frame is None

    def test_a_task_that_can_not_be_cancelled_is_left(self, ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_CANCEL_SECONDS", 0.01)
        loop = asyncio.new_event_loop()

        async def stubborn() -> None:
            while not loop.is_closed():
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    ended.append("cancelled")

        async def start() -> asyncio.Task[None]:
            task = asyncio.ensure_future(stubborn())
            await asyncio.sleep(0)
            return task

        task: Any = loop.run_until_complete(start())
        module.close_loop(loop, None, SimpleNamespace(own_abandon=lambda: None))  # type: ignore[arg-type]
        assert ended == ["cancelled"]
        assert loop.is_closed()
        # Nobody is to hear of it any more.
        task._log_destroy_pending = False
        task.get_coro().close()
