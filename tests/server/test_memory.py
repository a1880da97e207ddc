"""limit_max_memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.running import App, Running
from tests.sockets import Run
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.server import memory

Log = Callable[..., list[str]]


@pytest.fixture
def size(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The memory that the process seems to have; looked at often."""
    sizes = [100]
    monkeypatch.setattr(memory, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(memory, "resident_memory", lambda: sizes[0])
    return sizes


def test_the_memory_of_this_process() -> None:
    before = memory.resident_memory()
    held = bytearray(b"x" * 50 * 1048576)
    assert 40 <= memory.resident_memory() - before <= 60
    assert before > 5
    del held


def test_a_server_that_grows_stops_gracefully(run: Run, log: Log, size: list[int]) -> None:
    app = App()

    async def main() -> None:
        async with Running(app, limit_max_memory=200) as running:
            await asyncio.sleep(0.1)
            assert not running.server.should_exit
            size[0] = 201
            await running.stopped()

    run(main())
    assert app.events == ["startup", "shutdown"]
    assert log(logging.WARNING) == ["Using 201 MiB of memory, more than limit_max_memory = 200, stopping gracefully."]


def test_a_stop_that_is_under_way_is_not_announced_again(run: Run, log: Log, size: list[int]) -> None:
    async def main() -> None:
        async with Running(App(), limit_max_memory=200, timeout_drain_idle=0.3) as running:
            await running.ask(b"")
            running.server.should_exit = True
            size[0] = 300
            await running.stopped()

    run(main())
    assert log(logging.WARNING) == []


def test_a_limit_below_the_size_at_the_start_is_not_applied(run: Run, log: Log, size: list[int]) -> None:
    async def main() -> None:
        async with Running(App(), limit_max_memory=50) as running:
            await asyncio.sleep(0.1)
            assert not running.server.should_exit

    run(main())
    assert log(logging.ERROR) == [
        "limit_max_memory = 50 is less than the 100 MiB that the application takes at its start: not applied."
    ]


def test_where_the_size_can_not_be_known_the_option_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_STATM", tmp_path / "none")
    loop = asyncio.new_event_loop()
    with pytest.raises(ConfigError, match=r"option limit_max_memory = 50: .* can't be read"):
        memory.MemoryWatch(50, print).start(loop)
    loop.close()
