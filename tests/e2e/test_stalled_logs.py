"""Stdout is a pipe whose reader has stalled: the worker serves on, and what was lost is counted and said."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command.harness import Command
from tests.e2e.harness import HTTPTOOLS, PATIENCE, until
from tests.e2e.raw import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.harness import Gunicorn

    Serve = Callable[..., Gunicorn]

# Whoever opens both ends of a pipe is its reader, and may forget to read.
STALL = "import os; os.mkfifo('fifo'); os.dup2(os.open('fifo', os.O_RDWR), 1)"
COMMAND = f"{STALL}; import runpy; runpy.run_module('uvicorn_worker', run_name='__main__', alter_sys=True)"
# More than the pipe takes (64 KiB) and what may wait (1 MiB) together.
REQUESTS, SIZE = 400, 4000


def ask(connection: Connection, requests: range) -> None:
    for number in requests:
        target = f"/{number}?".ljust(SIZE, "x")
        connection.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.response().status == 200


def check(port: int, folder: Path, log: Callable[[], str]) -> None:
    with Connection(("127.0.0.1", port), PATIENCE) as connection:
        ask(connection, range(REQUESTS))
        until(lambda: "its reader does not read" in log(), "what is said of the reader")
        reader = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        seen = b""

        def read() -> re.Match[str] | None:
            nonlocal seen
            with suppress(BlockingIOError):
                seen += os.read(reader, 1 << 20)
            return re.search(r"is written again; (\d+) lines were lost", log())

        try:
            said = until(read, "the end of it")
            ask(connection, range(REQUESTS, REQUESTS + 1))
            until(
                lambda: read() and f"/{REQUESTS}?".encode() in seen and seen.endswith(b"\n"), "a line that came later"
            )
        finally:
            os.close(reader)
    numbers = [int(number) for number in re.findall(rb"GET /(\d+)\?x{3000,} HTTP/1.1", seen)]
    # In their order and whole; a JSON line has it twice. A shorter line may find room that a longer one did not.
    kept = list(dict.fromkeys(numbers))
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (0, REQUESTS)
    assert len(kept) - 1 + int(said[1]) == REQUESTS


@pytest.mark.parametrize("form", ['%(h)s "%(r)s" %(s)s %(b)s %(D)s'])
def test_gunicorn(serve: Serve, form: str) -> None:
    options = ("--access-logfile", "-", "--access-logformat", form)
    server = serve("log_setups:app", *options, worker=HTTPTOOLS, files={"gunicorn.conf.py": STALL})
    server.wait_log("Ready in")
    check(server.port, server.dir, lambda: server.log)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_command(log_format: str) -> None:
    options = ("app:app", "--port", "0", "--log-format", log_format)
    with Command(*options, program=("-c", COMMAND)) as server:
        check(server.port, server.dir, lambda: server.log)
