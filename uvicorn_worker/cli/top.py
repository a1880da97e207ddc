"""`uvicorn-worker top`: the board as a live view in the terminal.

q quit   p m s l o r  sort by pid, memory, requests a second, lag, oldest request, or the other way round
f        show all workers, those that have something to do, or those that do not serve
"""

from __future__ import annotations

import contextlib
import importlib
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

from uvicorn_worker.cli.wording import end_lines, headline, mebibytes, oldest_of, path_lines, seconds
from uvicorn_worker.core.board import Board
from uvicorn_worker.core.figures import COUNTERS, quantile
from uvicorn_worker.core.kernel import is_alive
from uvicorn_worker.core.reading import BoardReading, WorkerReading, read_board

__all__ = ["Top", "run_top"]

# Of the extra `top`: whoever imports this module has looked whether it is there.
_console: Any = importlib.import_module("rich.console")
Text: Any = importlib.import_module("rich.text").Text
Table: Any = importlib.import_module("rich.table").Table
Live: Any = importlib.import_module("rich.live").Live

_STYLES = {"serving": "green", "booting": "cyan", "draining": "yellow", "stalled": "bold red", "failed": "bold red"}
_FILTERS = ("all", "busy", "not serving")
_ENDS = 6
_KEYS = "q quit · sort: p pid, m memory, s requests/s, l lag, o oldest, r reverse · f filter"


class Top:
    """What is shown: it is given one reading after the other, and keys."""

    def __init__(self) -> None:
        self.sort = "p"
        self.reverse = False
        self.filter = 0
        self._before: BoardReading | None = None
        self._now: BoardReading | None = None
        self._seconds = 0.0

    def take(self, reading: BoardReading, passed: float) -> None:
        """The next reading, so many seconds after the last one."""
        self._before, self._now, self._seconds = self._now, reading, passed

    def press(self, key: str) -> bool:
        """A key; False where it ends the view."""
        if key in _ORDERS:
            self.sort = key
        elif key == "r":
            self.reverse = not self.reverse
        elif key == "f":
            self.filter = (self.filter + 1) % len(_FILTERS)
        return key not in ("q", "\x03")

    def render(self) -> Any:
        """The view of the last reading."""
        reading = self._now
        if reading is None:
            return _console.Group()
        shown = [worker for worker in reading.workers if self._is_shown(worker)]
        shown.sort(key=lambda worker: _ORDERS[self.sort](worker, self._rate(worker)), reverse=self.reverse)
        parts: list[Any] = [Text(headline(reading), style="bold"), self._whole(reading), self._table(shown)]
        if reading.paths and self._seconds:
            parts.append(Text("\n".join(["", "Paths:", *(f"  {line}" for line in self._paths(reading))])))
        if reading.ends:
            parts.append(Text("\n".join(["Ended:", *(f"  {line}" for line in end_lines(reading, _ENDS))]), style="dim"))
        parts.append(Text(f"{_KEYS} ({_FILTERS[self.filter]})", style="dim"))
        return _console.Group(*parts)

    def _is_shown(self, worker: WorkerReading) -> bool:
        if self.filter == 1:
            return bool(worker.figures["requests"] or worker.figures["websockets"] or worker.state == "stalled")
        return self.filter == 0 or worker.state != "serving"

    def _table(self, workers: list[WorkerReading]) -> Any:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("PID", "STATE", "UP"):
            table.add_column(title)
        for title in ("CONN", "REQ", "WS", "REQ/S", "P50", "P99", "LAG", "MEM"):
            table.add_column(title, justify="right")
        table.add_column("OLDEST REQUEST", no_wrap=True, overflow="ellipsis")
        for worker in workers:
            figures, recent = worker.figures, self._recent(worker)
            table.add_row(
                str(worker.pid),
                Text(worker.state, style=_STYLES[worker.state]),
                seconds(worker.up),
                str(figures["connections"]),
                str(figures["requests"]),
                str(figures["websockets"]),
                f"{self._rate(worker):.0f}",
                seconds(quantile(recent, 0.5)),
                seconds(quantile(recent, 0.99)),
                seconds(worker.lag_most),
                mebibytes(figures["rss"]),
                Text(oldest_of(worker)),
            )
        return table

    def _whole(self, reading: BoardReading) -> Any:
        before = self._before
        if before is None or not self._seconds:
            return Text("")
        recent = {name: number - before.totals.get(name, 0) for name, number in reading.totals.items()}
        rate = (reading.served - before.served) / self._seconds
        wrong = sum(number for name, number in recent.items() if name.endswith("_5xx"))
        refused = sum(number for name, number in recent.items() if name.startswith("refused_"))
        return Text(
            f"{rate:.0f} requests/s, p50 {seconds(quantile(recent, 0.5))}, p99 {seconds(quantile(recent, 0.99))}, "
            f"{wrong} of 5xx, {refused} refused; in {recent['bytes_in'] / self._seconds / 1024:.0f} KiB/s, "
            f"out {recent['bytes_out'] / self._seconds / 1024:.0f} KiB/s"
        )

    def _paths(self, reading: BoardReading) -> Iterator[str]:
        earlier = {} if self._before is None else self._before.paths
        recent = {
            path: {name: number - earlier.get(path, {}).get(name, 0) for name, number in counters.items()}
            for path, counters in reading.paths.items()
        }
        return path_lines(recent, self._seconds)

    # Since the reading before -------------------------------------------------------------------------

    def _same_before(self, worker: WorkerReading) -> WorkerReading | None:
        if self._before is None:
            return None
        return next((each for each in self._before.workers if (each.pid, each.age) == (worker.pid, worker.age)), None)

    def _rate(self, worker: WorkerReading) -> float:
        before = self._same_before(worker)
        return (worker.served - before.served) / self._seconds if before is not None and self._seconds else 0.0

    def _recent(self, worker: WorkerReading) -> dict[str, int]:
        before = self._same_before(worker)
        earlier = {} if before is None else before.figures
        return {each.name: worker.figures[each.name] - earlier.get(each.name, 0) for each in COUNTERS}


# By what the workers are sorted, by the key for it; the most first, but for the first one.
_ORDERS: dict[str, Callable[[WorkerReading, float], float]] = {
    "p": lambda worker, rate: worker.pid,
    "m": lambda worker, rate: -worker.figures["rss"],
    "s": lambda worker, rate: -rate,
    "l": lambda worker, rate: -worker.lag_most,
    "o": lambda worker, rate: -worker.oldest_age,
}


def run_top(board: Board, interval: float) -> int:
    """Show the board until `q`, or until its master is gone; gives the exit code."""
    top, console = Top(), _console.Console()
    last = time.monotonic()
    top.take(read_board(board), 0.0)
    with (
        _keys() as next_key,
        Live(top.render(), console=console, screen=console.is_terminal, auto_refresh=False) as live,
    ):
        while True:
            live.update(top.render(), refresh=True)
            key = next_key(max(last + interval - time.monotonic(), 0.0))
            if key and not top.press(key):
                return 0
            now = time.monotonic()
            if now - last >= interval:
                reading = read_board(board)
                top.take(reading, now - last)
                last = now
                if not reading.workers and not is_alive(board.owner):
                    return 1


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Keys one by one, as they are pressed; the function gives '' where none is within its time."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def next_key(timeout: float) -> str:
        return sys.stdin.read(1) if select.select([descriptor], [], [], timeout)[0] else ""

    try:
        yield next_key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _no_key(timeout: float) -> str:
    time.sleep(timeout)
    return ""
