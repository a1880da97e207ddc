"""The folders below ``examples/`` start as their readers start them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.harness import PATIENCE, Gunicorn, control_socket_option, until
from tests.programs import need

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not here")


def test_hello(serve: Serve) -> None:
    # its gunicorn.conf.py binds port 8000, which may be taken here
    override = " ".join(("--bind 127.0.0.1:0", *control_socket_option()))
    server = serve(copy=EXAMPLES / "hello", argv=["app:app"], env={"GUNICORN_CMD_ARGS": override})
    response = server.get()
    assert (response.status_code, response.text) == (200, "Hello, world!\n")
    assert server.get("/stream").text.splitlines() == [f"line {number}" for number in range(1, 11)]
    assert server.get("/nowhere").status_code == 404
    assert len(server.workers()) == 2
    assert server.stop_gracefully() == 0
    assert re.match(r'127\.0\.0\.1 "GET / HTTP/1\.1" 200 14 \d+\n', server.out)
    assert "[WARNING]" not in server.log


def test_heroku(serve: Serve) -> None:
    procfile = (EXAMPLES / "heroku" / "Procfile").read_text().splitlines()
    (web,) = (line.partition(":")[2] for line in procfile if line.startswith("web:"))
    program, *argv = shlex.split(web)
    assert program == "gunicorn"
    env = {"PORT": "0", "WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": " ".join(control_socket_option())}
    server = serve(copy=EXAMPLES / "heroku", argv=argv, env=env)
    assert server.get().status_code == 200
    assert len(server.workers()) == 2
    assert "Listening at: http://0.0.0.0:" in server.log
    assert server.stop_gracefully() == 0


def test_the_procfile_by_honcho(tmp_path: Path) -> None:
    """It starts what the Procfile names, as the platform does, and its end is that of the workers."""
    program = need("honcho")
    folder = shutil.copytree(EXAMPLES / "heroku", tmp_path / "heroku")
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PORT": "0",
        "WEB_CONCURRENCY": "2",
        "GUNICORN_CMD_ARGS": " ".join(control_socket_option()),
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "start", "--no-colour"], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:

        def listens() -> re.Match[str] | None:
            return re.search(r"Listening at: http://0\.0\.0\.0:(\d+)[\s\S]*Ready in", (tmp_path / "log").read_text())

        port = until(listens, "both workers")[1]
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            assert client.get(f"http://127.0.0.1:{port}/").status_code == 200
        process.send_signal(signal.SIGTERM)
        # It says that it was ended by TERM; what it has started has ended by itself.
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
    written = (tmp_path / "log").read_text()
    assert "web.1" in written
    assert "Shutting down: Master" in written, written
    assert "Traceback" not in written
