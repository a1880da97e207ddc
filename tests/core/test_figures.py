"""What is counted, and what is made of it."""

from __future__ import annotations

from bisect import bisect_left
from types import SimpleNamespace
from typing import cast

import pytest

from uvicorn_worker.core.cycle import Cycle
from uvicorn_worker.core.figures import (
    BOUNDS,
    BUCKETS,
    COUNTERS,
    FIGURES,
    GAUGES,
    MOST_SPANS,
    Tally,
    quantile,
    words_of,
)


def test_each_figure_has_a_name_of_its_own_and_gauges_come_first() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert {figure.kind for figure in GAUGES} == {"gauge"}
    assert {figure.kind for figure in COUNTERS} == {"counter"}


def test_a_tally_gives_every_counter() -> None:
    assert sorted(Tally().figures()) == sorted(figure.name for figure in COUNTERS)


def test_a_tally_says_what_was_counted() -> None:
    tally = Tally()
    tally.responses[Tally.HTTP1 + 2] += 3
    tally.responses[Tally.HTTP2 + 5] += 1
    tally.responses[Tally.WEBSOCKET + 1] += 2
    tally.durations[bisect_left(BOUNDS, 0.3)] += 1
    tally.spent += 0.3
    for status in (400, 408, 413, 431, 503, 414, 400):
        tally.refused(status)
    tally.flooded()
    found = {name: number for name, number in tally.figures().items() if number}
    assert found == {
        "http11_2xx": 3, "http2_5xx": 1, "websocket_1xx": 2, "took_0.5": 1, "spent": 300_000_000,
        "refused_malformed": 2,
        "refused_too_slow": 1, "refused_body_too_large": 1, "refused_head_too_large": 1, "refused_overload": 1,
        "refused_other": 1, "refused_flood": 1,
    }  # fmt: skip


def test_words_are_in_the_order_of_the_table() -> None:
    words = words_of({FIGURES[3].name: 7})
    assert words == [0, 0, 0, 7] + [0] * (len(FIGURES) - 4)


class TestQuantile:
    def test_of_nothing_is_nothing(self) -> None:
        assert quantile({}, 0.5) == 0.0

    @pytest.mark.parametrize(("part", "seconds"), [(0.5, 0.001), (0.25, 0.00075), (0.75, 0.375), (1.0, 0.5)])
    def test_lies_within_its_bucket(self, part: float, seconds: float) -> None:
        assert quantile({"took_0.001": 10, "took_0.5": 10}, part) == pytest.approx(seconds)

    def test_above_the_last_bound_is_the_last_bound(self) -> None:
        assert quantile({BUCKETS[-1]: 1}, 0.99) == BOUNDS[-2]


def test_durations_are_put_into_their_buckets_when_they_are_asked_for() -> None:
    tally = Tally()
    spans = [0.3, 0.0001, 60.0, 0.0005, 0.00051, 3600.0, 0.3]
    tally.spans.extend(spans)
    tally.fold()
    tally.spans.append(0.0002)
    found = tally.figures()
    expected = dict.fromkeys(BUCKETS, 0)
    for span in (*spans, 0.0002):
        expected[BUCKETS[bisect_left(BOUNDS, span)]] += 1
    assert {name: found[name] for name in BUCKETS} == expected
    assert found["spent"] == pytest.approx((sum(spans) + 0.0002) * 1e9, abs=2)
    assert tally.figures() == found


def test_another_thread_is_told_the_same_and_changes_nothing() -> None:
    tally = Tally()
    tally.spans.extend([0.3, 0.0001, 3600.0])
    tally.fold()
    tally.spans.extend([0.3, 60.0])
    tally.responses[Tally.HTTP2 + 2] = 5
    before = (tally.spans.copy(), tally.durations.copy(), tally.spent)
    found = tally.figures_so_far()
    assert (tally.spans, tally.durations, tally.spent) == before
    assert found == tally.figures()


def test_a_tally_keeps_few_durations() -> None:
    cycle = SimpleNamespace(
        runtime=SimpleNamespace(tally=Tally(), requests=0, limit_requests=9999, access=None, paths=None),
        status=200, started=0.0, counted_at=0, waiters=None,
    )  # fmt: skip
    for _ in range(3 * MOST_SPANS):
        Cycle.finish(cast("Cycle", cycle))
        assert len(cycle.runtime.tally.spans) < MOST_SPANS
    assert sum(cycle.runtime.tally.durations) == 3 * MOST_SPANS
