"""The command: which options it has, and that it serves, in one process and in several."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from uvicorn_worker.cli.command import command

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def words(made: object) -> set[str]:
    return {word for each in made.params for word in (*each.opts, *each.secondary_opts)}  # type: ignore[attr-defined]


def test_it_has_every_option_of_uvicorns() -> None:
    pytest.importorskip("click")
    uvicorn = pytest.importorskip("uvicorn.main")
    assert words(uvicorn.main) - words(command()) == set()


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one", "two"])
def test_it_serves(tmp_path: Path, options: list[str]) -> None:
    pytest.importorskip("click")
    (tmp_path / "main.py").write_text(APP)
    errors = tmp_path / "stderr"
    line = [sys.executable, "-m", "uvicorn_worker", "main:app", "--port", "0", *options]
    env = {**os.environ, "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with errors.open("wb") as file, subprocess.Popen(line, cwd=tmp_path, env=env, stderr=file) as process:
        try:
            deadline = time.monotonic() + 20
            while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", errors.read_text())):
                assert process.poll() is None, errors.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/", timeout=20) as answer:
                assert answer.read() == b"ok"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["main:nope"], 3, "there is no 'nope'"),
        (["main:app", "--lifespan", "maybe"], 2, "option lifespan = 'maybe'"),
        (["main:app", "--no-such"], 2, "No such option"),
        (["main:app", "--host", "192.0.2.1"], 3, "can't be bound"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    pytest.importorskip("click")
    (tmp_path / "main.py").write_text(APP)
    line = [sys.executable, "-m", "uvicorn_worker", *arguments]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["config", "systemd", "nginx", "--check-config"])
def test_what_is_printed_where_stdout_is_closed(tmp_path: Path, word: str) -> None:
    """Of who wants to know by the exit code."""
    pytest.importorskip("click")
    (tmp_path / "main.py").write_text(APP)
    line = [sys.executable, "-m", "uvicorn_worker", "main:app", word if word.startswith("-") else f"--print-{word}"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *line], cwd=tmp_path, stderr=subprocess.PIPE, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_program_may_give_its_parameters_other_defaults() -> None:
    """`{each.name: each for each in uvicorn.main.params}["port"].default = 9000`, and then `uvicorn.main()`."""
    parameter = next(each for each in command().params if each.name == "port")
    before, parameter.default = parameter.default, "9000"
    try:
        assert next(each for each in command().params if each.name == "port").default == "9000"
    finally:
        parameter.default = before
