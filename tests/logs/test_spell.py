"""What happens again and again is said twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from tests.sockets import Run
from uvicorn_worker.core.explained import explained
from uvicorn_worker.logs import spell
from uvicorn_worker.logs.spell import Refusals, Spell

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


class TestRefusals:
    def test_a_few_have_a_line_each_and_a_flood_has_two(
        self, run: Run, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            monkeypatch.setattr(spell, "REFUSALS_PER_SECOND", 0)
            refusals = Refusals(asyncio.get_running_loop(), "HTTP/1.1")
            for number in range(1000):
                refusals.add(f"no {number}")
            await said(log, spell.REFUSALS_SAID + 2)

        run(main())
        lines = log()
        assert lines[: spell.REFUSALS_SAID] == [f"no {number}" for number in range(spell.REFUSALS_SAID)]
        first, last = lines[spell.REFUSALS_SAID :]
        assert first == (
            "HTTP/1.1: so many invalid requests that they are counted from now on; the last of them: no 50"
        )
        assert last.startswith("HTTP/1.1: invalid requests have ceased: 950 more in ")

    def test_the_first_line_leads_to_its_explanation(self, run: Run, log: Log) -> None:
        async def main() -> None:
            refusals = Refusals(asyncio.get_running_loop(), "HTTP/1.1")
            refusals.add("a fault of the connection")
            for _ in range(2):
                refusals.request("192.0.2.1:80", "no\nHost")

        run(main())
        line = "Invalid request from 192.0.2.1:80: no\\x0AHost"
        entry = explained("400-for-a-client-that-worked-elsewhere")
        assert log() == ["a fault of the connection", f"{line} {entry}", line]

    def test_one_now_and_then_is_no_flood(self, run: Run, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0

        async def main() -> None:
            nonlocal now
            monkeypatch.setattr("uvicorn_worker.logs.spell.time.monotonic", lambda: now)
            refusals = Refusals(asyncio.get_running_loop(), "HTTP/2")
            for number in range(200):
                refusals.add(f"no {number}")
                now += 0.25
            monkeypatch.undo()

        run(main())
        assert log() == [f"no {number}" for number in range(200)]
