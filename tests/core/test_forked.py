"""A process that the application has forked ends by itself."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker.core import forked
from uvicorn_worker.core.errors import ends_process


class Left(BaseException):
    """In the place of the end of the process."""


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a child, and `os._exit` raises `Left` with the code."""

    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(forked, "_forked", [])
    forked.mark_forked()


@pytest.mark.usefixtures("child")
class TestChild:
    @pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3), (-1, 255), ("why", 1)])
    def test_the_code_is_that_of_sys_exit(self, code: Any, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
        stderr = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stderr)
        with pytest.raises(Left) as caught:
            forked.leave(code)
        assert caught.value.args == (status,)
        assert stderr.getvalue() == ("why\n" if code == "why" else "")

    def test_streams_that_are_gone_are_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stderr", None)
        with pytest.raises(Left):
            forked.leave("why")

    def test_what_the_application_exits_with_is_the_end(self) -> None:
        with pytest.raises(Left) as caught:
            ends_process(SystemExit(7))
        assert caught.value.args == (7,)

    def test_an_error_is_not(self) -> None:
        assert forked.is_forked()
        assert not ends_process(RuntimeError())


def test_nobody_has_forked_this_one() -> None:
    assert not forked.is_forked()
    assert not ends_process(SystemExit(7))


def test_a_process_ends_where_it_is_and_leaves_nothing_undone() -> None:
    code = (
        "import atexit, sys, threading, time\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "from uvicorn_worker.core.forked import end_process\n"
        "atexit.register(lambda: sys.stdout.write('exits '))\n"
        "ThreadPoolExecutor().submit(lambda: (time.sleep(0.1), sys.stdout.write('pool ')))\n"
        "try:\n    end_process(4)\nfinally:\n    sys.stdout.write('never')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (4, "pool exits ")
