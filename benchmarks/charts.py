"""The charts of docs/performance.md, made of the tables that stand there: `python -m benchmarks.charts [--check]`.

`make bench` draws them, too, when it has put its tables there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from .plot import Series, bars, lines

DOCS = Path(__file__).parents[1] / "docs"
#: The file, its title, and the section whose table it shows.
CHARTS = {
    "get": ("HTTP/1.1, small GET", "get"),
    "fastapi": ("HTTP/1.1, a FastAPI route that returns JSON", "fastapi"),
    "ws": ("WebSocket, 64 bytes echoed", "ws-echo-64"),
    "h2": ("HTTP/2, small GET", "h2-get"),
}
#: The same for charts of lines, of tables whose head has the points.
GROWTHS = {
    "connections": ("CPU of the server for a request, 100 connections under load, the others idle", "connections-open"),
    "cores": ("CPU of the server for a request, 64 connections", "workers"),
}
# The column of CPU for a request, in microseconds.
_CPU = 2


def _cells(page: str, section: str) -> Iterator[list[str]]:
    """The rows of the table below the heading of a scenario."""
    below = re.split(r"^#{1,6} ", page.partition(f"\n### {section}: ")[2], maxsplit=1, flags=re.MULTILINE)[0]
    for line in below.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def _short(name: str) -> str:
    for words in (", UvicornWorker", ", UvicornH2CWorker", ", httptools", ", uvloop"):
        name = name.replace(words, "")
    return name


def rows(page: str, section: str) -> Iterator[tuple[str, float]]:
    """Server and CPU microseconds of a scenario's table; servers, not floors."""
    for cells in _cells(page, section):
        if len(cells) > _CPU and re.fullmatch(r"[\d.,]+", cells[_CPU]) and not cells[0].startswith("floor"):
            yield _short(cells[0]), float(cells[_CPU].replace(",", ""))


def growth(page: str, section: str) -> tuple[str, list[Series]]:
    """What grows, and the line of each server."""
    head, *servers = _cells(page, section)
    points = [float(cell.replace(",", "")) for cell in head[1:-1]]
    series: list[Series] = []
    for name, *cells in servers:
        figures = [re.match(r"[\d.,]+", cell) for cell in cells[:-1]]
        if all(figures):
            values = [float(figure[0].replace(",", "")) for figure in figures if figure]
            series.append((_short(name).partition(",")[0], list(zip(points, values, strict=True))))
    return head[0], series


def charts() -> dict[Path, str]:
    """Each chart as it is to be."""
    page = (DOCS / "performance.md").read_text("utf-8")
    images = {name: bars(title, "µs", list(rows(page, section))) for name, (title, section) in CHARTS.items()}
    for name, (title, section) in GROWTHS.items():
        x_name, series = growth(page, section)
        images[name] = lines(title, x_name.lower(), "µs", series)
    return {DOCS / "img" / f"performance-{name}.svg": image for name, image in images.items()}


def write() -> None:
    for path, text in charts().items():
        path.write_text(text, "utf-8")


def main() -> None:
    if "--check" not in sys.argv[1:]:
        write()
        return
    for path, text in charts().items():
        if not path.exists() or path.read_text("utf-8") != text:
            raise SystemExit(f"{path} is stale: run 'make bench-charts', and commit it")


if __name__ == "__main__":
    main()
