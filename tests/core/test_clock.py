"""What is computed once a tick."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker.core.clock import TICK, Ticker, date_line, ticks


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (0, b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
        (784111777, b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        (784111777.999, b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        (4102444800, b"date: Fri, 01 Jan 2100 00:00:00 GMT\r\n"),
    ],
)
def test_date_line(now: float, line: bytes) -> None:
    assert date_line(now) == line


def test_date_line_does_not_depend_on_the_locale_or_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        value = date_line(1_000_000_000).partition(b": ")[2].strip().decode()
        assert parsedate_to_datetime(value).timestamp() == 1_000_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("seconds", [0.1, 0.5, 0.7, 1, 5, 75, 0.5001])
def test_a_deadline_is_never_early_and_at_most_a_tick_late(seconds: float) -> None:
    # The first of the ticks may come at once, since one is under way already.
    earliest, latest = (ticks(seconds) - 1) * TICK, ticks(seconds) * TICK
    assert earliest >= seconds
    assert latest - seconds < 2 * TICK + 1e-9


class Loop:
    """Virtual time, in which each callback comes late by as much as `lateness` says."""

    def __init__(self, lateness: Callable[[], float]) -> None:
        self.now = 1000.0
        self.lateness = lateness
        self.timers: list[tuple[float, int, Any, Callable[[], None]]] = []
        self.made = 0

    def call_soon(self, callback: Callable[[], None]) -> Any:
        return self.call_later(0, callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        assert delay >= 0
        self.made += 1
        handle = SimpleNamespace(cancelled=False)
        handle.cancel = lambda: setattr(handle, "cancelled", True)
        heapq.heappush(self.timers, (self.now + delay, self.made, handle, callback))
        return handle

    def step(self) -> bool:
        when, _, handle, callback = heapq.heappop(self.timers)
        if not handle.cancelled:
            self.now = max(self.now, when) + self.lateness()
            callback()
        return bool(self.timers)


class TestTicker:
    def run(
        self, monkeypatch: pytest.MonkeyPatch, lateness: Callable[[], float], count: int
    ) -> tuple[list[float], list[float]]:
        """When the first `count` ticks were counted, and when their deadlines were met."""
        loop = Loop(lateness)
        monkeypatch.setattr("uvicorn_worker.core.clock.time", SimpleNamespace(monotonic=lambda: loop.now))
        counted: list[float] = []
        met: list[float] = []
        ticker = Ticker(
            loop,  # type: ignore[arg-type]  # all that it needs of one
            lambda: counted.append(loop.now),
            lambda: met.append(loop.now),
        )
        while len(met) < count:
            loop.step()
        ticker.stop()
        while loop.step():
            pass
        assert len(counted) == len(met) == count
        return counted, met

    @pytest.mark.parametrize("seconds", [0.5, 5, 75])
    def test_no_deadline_is_met_early(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        chance = random.Random(7)
        counted, met = self.run(monkeypatch, lambda: chance.choice([0, 0.001, 0.02, 0.3, 4]) * chance.random(), 600)
        for number in range(600 - ticks(seconds)):
            # One that is stored just before the next tick is counted.
            stored = counted[number + 1]
            assert met[number + ticks(seconds)] - stored >= seconds

    def test_a_loop_that_is_a_little_late_does_not_make_it_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counted, met = self.run(monkeypatch, lambda: 0.003, 7201)
        assert counted[-1] - counted[0] == pytest.approx(3600, abs=0.1)
        assert met[-1] - counted[0] == pytest.approx(3600, abs=0.1)
