"""`uvicorn-worker top`: the board as a live view in the terminal.

q or Ctrl+C quit   p m s l o r  sort by pid, memory, requests a second, lag, oldest request, or the other way round
f        show all workers, those that have something to do, or those that do not serve
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import select
import sys
import termios
import textwrap
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from uvicorn_worker.board.board import MOST_WORKERS, Board
from uvicorn_worker.board.reading import BoardReading, WorkerReading, read_board
from uvicorn_worker.cli.wording import end_lines, headline, mebibytes, path_lines, seconds
from uvicorn_worker.core.figures import COUNTERS, quantile
from uvicorn_worker.core.log import count

__all__ = ["Top", "run_top"]

# Of the extra `top`: whoever imports this module has looked whether it is there.
_console: Any = importlib.import_module("rich.console")
Text: Any = importlib.import_module("rich.text").Text
Table: Any = importlib.import_module("rich.table").Table
Live: Any = importlib.import_module("rich.live").Live

_STYLES = {"serving": "green", "booting": "cyan", "draining": "yellow", "stalled": "bold red", "failed": "bold red"}
_FILTERS = ("all", "busy", "not serving")
_ENDS = 6
# Keys that are several characters, as the arrows are.
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])?")
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
        return key != "q"

    def render(self, width: int = 120, height: int = 40) -> Any:
        """The view of the last reading, for a terminal of this size: what has no room is left out, but not the keys."""
        reading = self._now
        if reading is None:
            return _console.Group()
        shown = [worker for worker in reading.workers if self._is_shown(worker)]
        shown.sort(key=lambda worker: _ORDERS[self.sort](worker, self._rate(worker)), reverse=self.reverse)
        keys = Text(f"{_KEYS} ({_FILTERS[self.filter]})", style="dim")
        above = [Text(headline(reading), style="bold"), self._whole(reading)]
        # The head of the table is one line, and one is left empty: what fills the last one scrolls in some terminals.
        room = height - sum(len(textwrap.wrap(part.plain, width)) or 1 for part in (*above, keys)) - 2
        rows = shown if len(shown) <= room else shown[: max(room - 1, 1)]
        room -= len(rows)
        parts: list[Any] = [*above, self._table(rows, width)]
        if len(rows) < len(shown):
            parts.append(_line(f"and {count(len(shown) - len(rows), 'other worker')}", "dim"))
            room = 0
        if reading.paths and self._seconds and room > len(reading.paths) + 1:
            lines = ["", "Paths:", *(f"  {line}" for line in self._paths(reading))]
            parts += [_line(line) for line in lines]
            room -= len(lines)
        if reading.ends and room > 2:
            lines = ["", "Ended:", *(f"  {line}" for line in end_lines(reading, min(_ENDS, room - 2)))]
            parts += [_line(line, "dim") for line in lines]
        return _console.Group(*parts, keys)

    def _is_shown(self, worker: WorkerReading) -> bool:
        if self.filter == 1:
            return bool(worker.figures["requests"] or worker.figures["websockets"] or worker.state == "stalled")
        return self.filter == 0 or worker.state != "serving"

    def _table(self, workers: list[WorkerReading], width: int) -> Any:
        cells = {title: [cell(self, worker) for worker in workers] for title, cell in _CELLS.items()}
        widths = {title: max(map(len, (title, *column))) for title, column in cells.items()}
        for title in _LEFT_OUT_FIRST:
            if sum(widths.values()) + 2 * len(widths) + _OLDEST_WIDTH <= width:
                break
            del widths[title]
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in widths:
            table.add_column(title, justify="left" if title in ("PID", "STATE") else "right", no_wrap=True)
        # This one alone is cut where there is no room: none of the others loses a column to a long path.
        table.add_column("OLDEST REQUEST", ratio=1)
        for number, worker in enumerate(workers):
            row = [
                Text(cells[title][number], style=_STYLES[worker.state] if title == "STATE" else "") for title in widths
            ]
            table.add_row(*row, _line(_oldest_of(worker)))
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


def _oldest_of(worker: WorkerReading) -> str:
    """As `status` has it, but what is cut where there is no room comes last."""
    age = f"{seconds(worker.oldest_age)} {worker.oldest}" if worker.oldest else ""
    return f"(still for {seconds(worker.beat)}) {age}".rstrip() if worker.state == "stalled" else age


def _line(text: str, style: str = "") -> Any:
    """One line, cut where it is too long."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


_CELLS: dict[str, Callable[[Top, WorkerReading], str]] = {
    "PID": lambda top, worker: str(worker.pid),
    "STATE": lambda top, worker: worker.state,
    "UP": lambda top, worker: seconds(worker.up),
    "CONN": lambda top, worker: str(worker.figures["connections"]),
    "REQ": lambda top, worker: str(worker.figures["requests"]),
    "WS": lambda top, worker: str(worker.figures["websockets"]),
    "REQ/S": lambda top, worker: f"{top._rate(worker):.0f}",
    "P50": lambda top, worker: seconds(quantile(top._recent(worker), 0.5)),
    "P99": lambda top, worker: seconds(quantile(top._recent(worker), 0.99)),
    "LAG": lambda top, worker: seconds(worker.lag_most),
    "MEM": lambda top, worker: mebibytes(worker.figures["rss"]),
}
# In a narrow terminal, for the oldest request.
_LEFT_OUT_FIRST = ("UP", "P50", "WS", "CONN", "P99", "MEM", "REQ/S")
_OLDEST_WIDTH = 24

# By what the workers are sorted, by the key for it; the most first, but for the first one.
_ORDERS: dict[str, Callable[[WorkerReading, float], float]] = {
    "p": lambda worker, rate: worker.pid,
    "m": lambda worker, rate: -worker.figures["rss"],
    "s": lambda worker, rate: -rate,
    "l": lambda worker, rate: -worker.lag_most,
    "o": lambda worker, rate: -worker.oldest_age,
}


def run_top(board: Board, interval: float) -> int:
    """Show the board until `q` or Ctrl+C, or until its master and all workers are gone; gives the exit code."""
    top, console = Top(), _console.Console()
    code = 0
    with contextlib.suppress(KeyboardInterrupt):
        code = _show(top, board, interval, console)
    if code:
        sys.stderr.write(f"The master {board.owner} has ended.\n")
    return code


def _show(top: Top, board: Board, interval: float, console: Any) -> int:
    last = time.monotonic()
    top.take(read_board(board), 0.0)
    with contextlib.ExitStack() as stack:
        next_key = stack.enter_context(_keys())
        live = stack.enter_context(_live(console)) if console.is_terminal else None
        while True:
            if live is not None:
                live.update(top.render(console.width, console.height), refresh=True)
            else:
                # One view after the other.
                console.print(top.render(console.width, MOST_WORKERS), "")
            key = next_key(max(last + interval - time.monotonic(), 0.0))
            if key and not top.press(key):
                return 0
            now = time.monotonic()
            if now - last >= interval:
                reading = read_board(board)
                top.take(reading, now - last)
                last = now
                if not reading.workers and not reading.alive:
                    return 1


def _live(console: Any) -> Any:
    return Live(console=console, screen=True, auto_refresh=False)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Keys one by one, as they are pressed; the function gives '' where none is within its time."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    # At once: it is not waited for a terminal that takes nothing, and what was typed already counts.
    tty.setcbreak(descriptor, termios.TCSANOW)
    # Several may come at once.
    pressed: deque[str] = deque()

    def next_key(timeout: float) -> str:
        if not pressed and select.select([descriptor], [], [], timeout)[0]:
            data = os.read(descriptor, 64)
            if not data:
                # The terminal is gone.
                return "q"
            pressed.extend(_ESCAPES.sub(b"", data).decode("ascii", "ignore"))
        return pressed.popleft() if pressed else ""

    try:
        yield next_key
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _no_key(timeout: float) -> str:
    time.sleep(timeout)
    return ""
