"""`uvicorn-worker status`, `top` and `dump`: what the workers of a master are at, seen from another process.

The figures are read from the board (board/board.py), which takes no answer of any worker. `dump` alone asks them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from uvicorn_worker.board.board import Board, find_boards
from uvicorn_worker.board.reading import read_board
from uvicorn_worker.cli.wording import as_text
from uvicorn_worker.core.log import write_stderr, write_stdout

__all__ = ["LOOKS", "NotFound", "find_board", "look"]

LOOKS = ("status", "top", "dump")
"""The sub-commands; the name of an application has a colon, or is a path of modules that no one names so."""

_HELP = {
    "status": "Show what the workers are at, and how the last of those that are gone came to their end.",
    "top": "Show it again and again, in the terminal.",
    "dump": "Have each worker write what it has in flight, and where each task stands, to its error log.",
}


class NotFound(Exception):
    """There is no board, or more than one; says what to do."""


def look(name: str, arguments: Sequence[str]) -> int:
    """Run one of `LOOKS`; gives the exit code: 1 where nothing is found, or with `status` nobody is ready."""
    parser = argparse.ArgumentParser(prog=f"uvicorn-worker {name}", description=_HELP[name])
    parser.add_argument(
        "server",
        nargs="?",
        help="the process id of a master or of a worker, or a pidfile; not needed where there is one",
    )
    if name == "status":
        parser.add_argument("--json", action="store_true", help="all that there is to be known, as one object")
    if name == "top":
        parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks (1)")
    given = parser.parse_args(arguments)
    try:
        board = find_board(given.server)
    except NotFound as exc:
        write_stderr(f"uvicorn-worker {name}: {exc}\n")
        return 1
    if name == "dump":
        return _dump(board)
    if name == "top":
        return _top(board, given.interval)
    reading = read_board(board)
    write_stdout((json.dumps(reading.as_dict(), indent=1) if given.json else as_text(reading)) + "\n")
    return 0 if reading.is_ready else 1


def find_board(server: str | None) -> Board:
    """The board of a process, by its id or a pidfile, or the only one; raises `NotFound`."""
    if server is None:
        boards = find_boards()
        if not boards:
            raise NotFound("no server of this package is found that this user may look into")
        if len(boards) > 1:
            pids = ", ".join(str(board.owner) for board in boards)
            raise NotFound(f"there are {len(boards)} servers: name one of the masters {pids}")
        return boards[0]
    if not server.isdigit():
        try:
            server = Path(server).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise NotFound(f"{server} is no process id, and no pidfile: {exc}") from None
    boards = find_boards(int(server)) if server.isdigit() else []
    if not boards:
        raise NotFound(f"process {server} is no server of this package, or not one that this user may look into")
    return boards[-1]


# dump and top -----------------------------------------------------------------------------------------------------


def _dump(board: Board) -> int:
    workers = [worker for worker in read_board(board).workers if worker.state != "booting"]
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGUSR2)
    told = ", ".join(str(worker.pid) for worker in workers)
    write_stdout(f"Asked {told or 'nobody'}: see the error log.\n")
    return 0 if workers else 1


def _top(board: Board, interval: float) -> int:
    try:
        importlib.import_module("rich")
    except ModuleNotFoundError:
        write_stderr("uvicorn-worker top needs the package rich: install the extra `top` with this package.\n")
        return 1
    from uvicorn_worker.cli.top import run_top

    return run_top(board, interval)
