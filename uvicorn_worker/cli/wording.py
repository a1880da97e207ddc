"""What `uvicorn-worker status` and `top` show of a board, in words and columns."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

from uvicorn_worker.board.reading import BoardReading, WorkerReading
from uvicorn_worker.core.figures import CLASSES, quantile
from uvicorn_worker.core.log import count

__all__ = ["as_text", "end_lines", "headline", "mebibytes", "oldest_of", "path_lines", "seconds"]

# How many ends are shown.
_ENDS = 8


def as_text(reading: BoardReading) -> str:
    """What a terminal shows of a board."""
    lines = [headline(reading), ""]
    rows = [_TITLES, *map(_row, reading.workers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        # Numbers to the right, the first and the last two to the left.
        cells = [
            cell.ljust(width) if number in _LEFT else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    told = {name: number for name, number in reading.totals.items() if number and name.startswith(_TOLD)}
    if told:
        lines += ["", "Since the start: " + ", ".join(f"{name.replace('_', ' ')} {told[name]}" for name in told)]
    if reading.paths:
        lines += ["", "Paths:", *(f"  {line}" for line in path_lines(reading.paths))]
    if reading.ends:
        lines += ["", "Ended:", *(f"  {line}" for line in end_lines(reading, _ENDS))]
    return "\n".join(lines)


_TITLES = (
    "PID", "STATE", "UP", "CONN", "IDLE", "REQ", "WS", "H2", "SERVED", "P50", "P99", "LAG", "MEM", "OLDEST REQUEST",
)  # fmt: skip
_LEFT = (1, len(_TITLES) - 1)
_TOLD = ("refused_", "failed", "timed_out", "cancelled", "cut")


def headline(reading: BoardReading) -> str:
    """One line on the whole."""
    serving = sum(worker.state == "serving" for worker in reading.workers)
    return (
        f"master {reading.master}{'' if reading.alive else ' IS GONE'}, up {seconds(reading.up)}: "
        f"{'ready' if reading.is_ready else 'NOT READY'}, {serving} of {count(reading.wanted, 'worker')} serving; "
        f"{count(reading.served, 'request')} served, "
        f"p50 {seconds(reading.p50)}, p90 {seconds(reading.p90)}, p99 {seconds(reading.p99)}"
    )


def path_lines(paths: Mapping[str, Mapping[str, int]], passed: float | None = None) -> Iterator[str]:
    """A line for each path that is counted apart; where `paths` are the counts of so many seconds, with their rate."""
    width = max(map(len, paths), default=0)
    for path, counters in paths.items():
        served = sum(counters[row] for row in CLASSES)
        many = f"{served} served" if passed is None else f"{served / passed:.0f} requests/s"
        yield (
            f"{path:{width}}  {many}, {counters['5xx']} of 5xx, p50 {seconds(quantile(counters, 0.5))}, "
            f"p99 {seconds(quantile(counters, 0.99))}"
        )


def _row(worker: WorkerReading) -> tuple[str, ...]:
    figures = worker.figures
    numbers = (figures[name] for name in ("connections", "idle", "requests", "websockets", "http2_streams"))
    return (
        str(worker.pid), worker.state, seconds(worker.up), *map(str, numbers), str(worker.served), seconds(worker.p50),
        seconds(worker.p99), seconds(worker.lag_most), mebibytes(figures["rss"]), oldest_of(worker),
    )  # fmt: skip


def oldest_of(worker: WorkerReading) -> str:
    """The oldest request of a worker, and for how long it is in flight."""
    if worker.state == "stalled":
        still = f"(still for {seconds(worker.beat)})"
        return f"{worker.oldest} {seconds(worker.oldest_age)} {still}" if worker.oldest else still
    return f"{worker.oldest} {seconds(worker.oldest_age)}" if worker.oldest else ""


def end_lines(reading: BoardReading, most: int) -> Iterable[str]:
    """A line for each of the last workers that are gone."""
    now = time.time()
    for end in reading.ends[:most]:
        flight = f"; {count(end.requests, 'request')} in flight" if end.requests else ""
        oldest = f", the longest {end.oldest} for {seconds(end.oldest_age)}" if end.oldest else ""
        yield (
            f"{seconds(max(now - end.at, 0))} ago, {end.pid}: {end.reason}; lived {seconds(end.lived)}, "
            f"served {end.served}{flight}{oldest}"
        )


def seconds(value: float) -> str:
    """A duration in few letters: 0.3ms, 45ms, 3.2s, 12m, 5h, 3d."""
    if value <= 0:
        return "0"
    if value < 1:
        return f"{value * 1000:.1f}ms" if value < 0.01 else f"{value * 1000:.0f}ms"
    for unit, size in (("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if value < size * (100 if unit == "s" else 100 if unit == "m" else 72):
            return f"{value / size:.1f}s" if unit == "s" and value < 10 else f"{value / size:.0f}{unit}"
    return f"{value / 86400:.0f}d"


def mebibytes(value: int) -> str:
    """Memory in MiB."""
    return f"{value / 1048576:.0f}M"
