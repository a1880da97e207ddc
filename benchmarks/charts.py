"""The charts of docs/performance.md, made of the tables that stand there: `python -m benchmarks.charts [--check]`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from .plot import bars

DOCS = Path(__file__).parents[1] / "docs"
#: The file, its title, and the section whose table it shows.
CHARTS = {
    "get": ("HTTP/1.1, small GET", "get"),
    "fastapi": ("HTTP/1.1, a FastAPI route that returns JSON", "fastapi"),
    "ws": ("WebSocket, 64 bytes echoed", "ws-echo-64"),
    "h2": ("HTTP/2, small GET", "h2-get"),
}
# The column of CPU for a request, in microseconds.
_CPU = 2


def rows(page: str, section: str) -> Iterator[tuple[str, float]]:
    """Server and CPU microseconds of the table below the heading of a scenario; servers, not floors."""
    below = page.partition(f"\n### {section}: ")[2].partition("\n### ")[0]
    for line in below.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > _CPU and re.fullmatch(r"[\d.,]+", cells[_CPU]) and not cells[0].startswith("floor"):
            yield (
                cells[0].replace(", UvicornWorker", "").replace(", UvicornH2CWorker", "").replace(", httptools", ""),
                float(cells[_CPU]),
            )


def charts() -> dict[Path, str]:
    """Each chart as it is to be."""
    page = (DOCS / "performance.md").read_text("utf-8")
    return {
        DOCS / "img" / f"performance-{name}.svg": bars(title, "µs", list(rows(page, section)))
        for name, (title, section) in CHARTS.items()
    }


def main() -> None:
    for path, text in charts().items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            raise SystemExit(f"{path} is stale: run 'make bench-charts', and commit it")


if __name__ == "__main__":
    main()
