"""`uvicorn-worker top` in a terminal, beside a plain Gunicorn: what is on the screen, and what keys do to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.e2e.harness import HTTPTOOLS, PATIENCE, Gunicorn, until

pyte = pytest.importorskip("pyte")
pytest.importorskip("rich")
pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd_create")

Serve = Callable[..., Gunicorn]

# The terminal is the one that Ctrl+C is heard from.
TOP = """
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[:1] = ["uvicorn-worker", "top"]
runpy.run_module("uvicorn_worker", run_name="__main__")
"""


class Terminal:
    """The program in a terminal of so many lines and columns."""

    def __init__(self, *arguments: str, lines: int = 24, columns: int = 100) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.resize(lines, columns)
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", TOP, "--interval", "0.2", *arguments],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**environment, "TERM": "xterm"},
        )  # fmt: skip

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def read(self) -> str:
        """What is on the screen now."""
        while select.select([self.master], [], [], 0)[0]:
            data = os.read(self.master, 65536)
            self.written += data
            self.stream.feed(data)
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, pattern: str) -> re.Match[str]:
        """Wait until the screen has a match of `pattern`."""
        try:
            return until(lambda: re.search(pattern, self.read(), re.MULTILINE), pattern)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.read()}") from None

    def end(self) -> int:
        """Its exit code; the terminal is as it was found."""

        def ended() -> bool:
            # Read on: it may wait for room to write.
            self.read()
            return self.process.poll() is not None

        until(ended, "its end")
        self.read()
        assert termios.tcgetattr(self.slave) == self.before
        # The screen of before, and the cursor.
        assert self.written.rindex(b"\x1b[?1049l") > self.written.rindex(b"\x1b[?1049h")
        assert self.written.rindex(b"\x1b[?25h") > self.written.rindex(b"\x1b[?25l")
        assert b"Traceback" not in self.written
        return int(self.process.returncode)


@contextmanager
def terminal(server: Gunicorn, **size: int) -> Iterator[Terminal]:
    top = Terminal(str(server.pid), **size)
    try:
        yield top
    finally:
        top.process.kill()
        top.process.wait()
        os.close(top.master)
        os.close(top.slave)


def ask(server: Gunicorn, path: str) -> None:
    """In the background; the answer may be lost with the worker."""

    def get() -> None:
        try:
            httpx.get(server.url + path, timeout=PATIENCE, trust_env=False)
        except httpx.HTTPError:
            pass

    threading.Thread(target=get, daemon=True).start()


def workers_on(screen: str) -> list[str]:
    """The lines of the workers."""
    return re.findall(r"^\d+ +(?:serving|stalled|draining|booting) .*$", screen, re.MULTILINE)


def test_keys_sizes_and_workers_that_stand_still(serve: Serve) -> None:
    server = serve(
        "probe:app", "--timeout", "120", worker=HTTPTOOLS, workers=2, env={"UVICORN_PATHS": '{"/sleep": {}}'}
    )
    server.wait_log("Ready in")
    with terminal(server) as top:
        top.wait(rf"master {server.pid}, up .*: ready, 2 of 2 workers serving")
        top.wait(r"^Paths:\n  /sleep +0 requests/s")
        top.wait(r"q quit .* f filter \(all\)$")
        # The longest path there is takes no room from the figures.
        ask(server, "/sleep?s=600&" + "x" * 500)
        top.wait(r"^\d+ +serving .*[\d.]+s GET /sleep\?s=600&x+…$")
        [busy] = [line for line in workers_on(top.read()) if "GET" in line]
        assert len(busy.split()) == 14
        # Two keys at once; an arrow is none.
        top.press(b"\x1b[A")
        top.press(b"or")
        until(lambda: "GET" in workers_on(top.read())[-1], "the busy one to be the last")
        top.press(b"r")
        until(lambda: "GET" in workers_on(top.read())[0], "the busy one to be the first")
        top.press(b"f")
        top.wait(r"f filter \(busy\)")
        assert len(workers_on(top.read())) == 1
        top.press(b"f")
        top.wait(r"f filter \(not serving\)")
        assert workers_on(top.read()) == []
        top.press(b"f")
        top.wait(r"f filter \(all\)")
        # A small terminal has the workers and the keys, the rest where there is room.
        top.resize(12, 60)
        top.wait(r"^PID +STATE +REQ +REQ/S +LAG +OLDEST REQUEST$")
        top.wait(r"oldest, r reverse · f filter \(all\)")
        assert len(workers_on(top.read())) == 2
        top.resize(30, 140)
        top.wait(r"^PID +STATE +UP +CONN +REQ +WS +REQ/S +P50 +P99 +LAG +MEM +OLDEST REQUEST$")

        def blocked() -> bool:
            # One worker may have taken all that were sent so far.
            ask(server, "/block?s=600")
            time.sleep(0.2)
            return "NOT READY, 0 of 2 workers serving" in top.read()

        until(blocked, "both workers to stand still")
        top.wait(r"(?:^\d+ +stalled .*\(still for [\d.]+m?s\) [\d.]+m?s GET /.*\n){2}")
        top.press(b"q")
        assert top.end() == 0
    # Its workers have no time for a stop.
    server.signal(signal.SIGKILL)


def test_it_ends_with_ctrl_c_or_with_the_master(serve: Serve) -> None:
    server = serve("probe:app", worker=HTTPTOOLS)
    server.wait_log("Ready in")
    with terminal(server) as top:
        top.wait("1 of 1 worker serving")
        top.press(b"\x03")
        assert top.end() == 0
    with terminal(server) as top:
        top.wait("1 of 1 worker serving")
        assert server.stop_gracefully() == 0
        assert top.end() == 1
        assert f"The master {server.pid} has ended." in top.read()


def test_more_workers_than_lines(serve: Serve) -> None:
    server = serve("probe:app", worker=HTTPTOOLS, workers=5)
    server.wait_log("Ready in")
    with terminal(server, lines=8, columns=130) as top:
        top.wait("5 of 5 workers serving")
        top.wait(r"^and 3 other workers\nq quit")
        assert len(workers_on(top.read())) == 2


def test_what_is_no_terminal_is_written_to(serve: Serve) -> None:
    """One view after the other, as long as the master is there."""
    server = serve("probe:app", worker=HTTPTOOLS)
    server.wait_log("Ready in")
    line = [sys.executable, "-m", "uvicorn_worker", "top", str(server.pid), "--interval", "0.1"]
    process: subprocess.Popen[Any]
    with (server.dir / "top").open("wb") as out:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        until(lambda: server.read("top").count("1 of 1 worker serving") > 1, "two views")
        assert server.stop_gracefully() == 0
        assert process.wait(PATIENCE) == 1
        assert "Traceback" not in (out_text := server.read("top"))
        assert "\x1b[?1049h" not in out_text
    finally:
        process.kill()
        process.wait()
