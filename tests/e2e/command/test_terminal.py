"""What somebody sees in a terminal, and what Ctrl+C does there."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.command.harness import SLOW, Command
from tests.e2e.command.terminal import CTRL_C, Terminal
from tests.e2e.harness import PATIENCE, control_socket_option

GUNICORN = ["-m", "gunicorn", "app:app", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:0"]


@contextmanager
def shown(folder: Path, *arguments: str) -> Iterator[Terminal]:
    (folder / "app.py").write_text(SLOW)
    with Terminal(arguments, folder, Command().env) as terminal:
        yield terminal


@contextmanager
def slow_request(terminal: Terminal, answers: list[int]) -> Iterator[None]:
    """A request that takes longer than the test; its status is among `answers` when it has one."""
    url = f"{terminal.wait(r'http://127[.]0[.]0[.]1:[0-9]+')}/slow"
    ask = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=PATIENCE, trust_env=False).status_code))
    ask.start()
    terminal.wait("slow")
    yield
    ask.join(PATIENCE)


def test_lines_have_uvicorns_colours_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    with shown(tmp_path, "-m", "uvicorn_worker", "app:app", "--port", "0") as terminal:
        terminal.wait(r"\x1b\[32mINFO\x1b\[0m:     Ready in .*\n")
        assert re.search(r"Uvicorn running on http://127\.0\.0\.1:\d+ \(Press CTRL\+C to quit\)", terminal.text)
        terminal.type(CTRL_C)
        assert terminal.wait_exit() == 0
        assert "shutdown" in terminal.text
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_under_plain_gunicorn_drains_and_a_second_one_cuts(tmp_path: Path, workers: str) -> None:
    answers: list[int] = []
    with shown(tmp_path, *GUNICORN, "-w", workers, *control_socket_option()) as terminal:
        terminal.wait("Ready in")
        with slow_request(terminal, answers):
            terminal.type(CTRL_C)
            terminal.wait(r"Waiting for 1 request \(GET /slow, \d+\.\d s\), Ctrl\+C again ends at once\.")
            # The master has taken up the first one by now.
            terminal.wait("Handling signal: int")
            terminal.type(CTRL_C)
            assert terminal.wait_exit() == 0
        assert answers == [503]
        # Of each worker; the ends of such lines may be anywhere, since all write at the same time.
        assert terminal.text.count("shutdown") == int(workers)
        assert "Traceback" not in terminal.text


def test_int_from_elsewhere_is_gunicorns_quick_stop_in_a_terminal_too(tmp_path: Path) -> None:
    answers: list[int] = []
    with shown(tmp_path, *GUNICORN, *control_socket_option()) as terminal:
        terminal.wait("Ready in")
        with slow_request(terminal, answers):
            os.kill(terminal.pid, signal.SIGINT)
            assert terminal.wait_exit() == 0
        assert answers == [503]
        assert "Ctrl+C again" not in terminal.text
