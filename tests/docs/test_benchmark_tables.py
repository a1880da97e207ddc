"""What the benchmarks put into docs/performance.md."""

from __future__ import annotations

import pytest

pytest.importorskip("benchmarks.run", reason="benchmarks/ is not here")

from benchmarks import charts, pages
from benchmarks.growth import Growth
from benchmarks.servers import SERVERS

PAGE = """## Measured

### get: GET

Words.

| Server | old |
|---|---|
| ours | 1 |

More words.

### other: without a table

### post: POST

| Server | old |
|---|---|
"""


def test_the_table_of_a_scenario_is_replaced() -> None:
    page, missing = pages.replaced(PAGE, {"get": "| a |\n|---|\n| new |", "other": "| b |", "none": "| c |"})
    assert page == PAGE.replace("| Server | old |\n|---|---|\n| ours | 1 |\n", "| a |\n|---|\n| new |\n")
    assert missing == ["other", "none"]


def test_growth_is_medians_and_ratios_that_make_a_chart() -> None:
    ours, peer, broken = SERVERS[:3]
    growth = Growth("crowd", "CPU", "Connections", (1, 100, 5000), 100)
    for point, figure in ((1, 30.0), (100, 10.0), (5000, 1100.0)):
        for factor in (1, 2, 9):
            growth.add(ours, point, figure * factor)
            growth.add(peer, point, figure * factor * 1.5)
    growth.add(broken, 1, 4.0)
    growth.invalid[broken] = "closed | idle connections"
    table = growth.table()
    assert table.splitlines() == [
        "| Connections | 1 | 100 | 5,000 | 5,000 to 100 |",
        "|---|---:|---:|---:|---:|",
        f"| {ours.title} | 60.0 | 20.0 | 2200.0 | 110.00x |",
        f"| {peer.title} | 90.0 (1.50x) | 30.0 (1.50x) | 3300.0 (1.50x) | 110.00x |",
        f"| {broken.title} | invalid: closed / idle connections | | | |",
    ]
    name, series = charts.growth(f"\n### crowd: CPU\n\n{table}\n\n## Next\n", "crowd")
    assert name == "Connections"
    assert series == [
        ("this project", [(1, 60), (100, 20), (5000, 2200)]),
        ("this project", [(1, 90), (100, 30), (5000, 3300)]),
    ]
