"""What is computed once a tick."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest

from uvicorn_worker.clock import TICK, date_line, ticks


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
