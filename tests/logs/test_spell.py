"""What happens again and again is said twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.sockets import Run
from uvicorn_worker.logs import spell
from uvicorn_worker.logs.spell import Spell

Log = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spell, "QUIET_SECONDS", 0.05)


def made(lasts: Callable[[], bool] = lambda: False) -> Spell:
    return Spell(asyncio.get_running_loop(), lambda count, seconds: f"over: {count}", lasts)


async def said(log: Log, count: int) -> None:
    while len(log()) < count:
        await asyncio.sleep(0.01)


def test_the_first_one_and_the_end(run: Run, log: Log) -> None:
    async def main() -> None:
        flood = made()
        for number in range(100):
            flood.happens(f"flood {number}")
        await said(log, 2)
        flood.happens("another", logging.ERROR)
        await said(log, 4)

    run(main())
    assert log() == ["flood 0", "over: 100", "another", "over: 1"]
    assert log(logging.ERROR) == ["another"]


def test_while_it_lasts_it_is_not_over(run: Run, log: Log) -> None:
    full = True

    async def main() -> None:
        nonlocal full
        limit = made(lambda: full)
        limit.happens("full")
        await asyncio.sleep(0.3)
        assert log() == ["full"]
        full = False
        await said(log, 2)

    run(main())


def test_at_the_end_of_the_process_nothing_is_said(run: Run, log: Log) -> None:
    async def main() -> None:
        flood = made()
        flood.stop()
        flood.happens("flood")
        flood.stop()
        await asyncio.sleep(0.2)

    run(main())
    assert log() == ["flood"]
