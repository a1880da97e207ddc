"""Programs that put steps of their own into uvicorn's `BaseReload`, and then call its `run()` or its command."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.sockets import free_port

PATIENCE = 30.0
# One that sees to it that a process that does not end is killed, as scripts for development do.
PROGRAM = """
import os, sys
from uvicorn_worker.main import main
from uvicorn_worker.supervisors.basereload import BaseReload, get_subprocess

def begin(self):
    self.process = get_subprocess(config=self.config, target=self.target, sockets=self.sockets)
    self.process.start()

def end(process):
    process.terminate()
    process.join(timeout=20.0)
    if process.is_alive():
        process.kill()

def restart(self):
    end(self.process)
    print("anew", self.config.port, flush=True)
    begin(self)

def run(self):
    print("by", self.reloader_name, flush=True)
    import signal
    signal.signal(signal.SIGTERM, self.signal_handler)
    self.startup()
    for changes in self:
        if changes:
            self.restart()
    self.shutdown()

BaseReload.restart = restart
if sys.argv.pop(1) == "all":
    BaseReload.startup, BaseReload.run = begin, run

if __name__ == "__main__":
    main(prog_name="program")
"""
# One that says which place a process has, as where each is to have a processor of its own.
PLACED = """
import os
import uvicorn_worker as uvicorn
from uvicorn_worker.supervisors import multiprocess

def begin(self):
    for place in range(self.processes_num):
        os.environ["PLACE"] = str(place)
        process = multiprocess.Process(self.config, self.target, self.sockets)
        process.start()
        self.processes.append(process)
        print("placed", place, flush=True)

multiprocess.Multiprocess.init_processes = begin

if __name__ == "__main__":
    import sys
    uvicorn.run("main:app", port=int(sys.argv[1]), workers=2)
    print("ended", flush=True)
"""
APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"one"})
"""


def _answers(port: int, body: bytes) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            if connection.getresponse().read() == body:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        assert time.monotonic() < end
        time.sleep(0.05)


@contextlib.contextmanager
def _running(folder: Path, program: str, *arguments: str) -> Iterator[Path]:
    """Start it, and end it well at the end of the block; gives its log."""
    (folder / "program.py").write_text(program)
    log = folder / "log"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    line = [sys.executable, "program.py", *arguments]
    with log.open("w") as out:
        process = subprocess.Popen(line, cwd=folder, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()


def _served(folder: Path, which: str) -> str:
    (folder / "main.py").write_text(APP)
    port = free_port()
    with _running(folder, PROGRAM, which, "main:app", "--reload", "--port", str(port)) as log:
        _answers(port, b"one")
        (folder / "main.py").write_text(APP.replace("one", "two"))
        _answers(port, b"two")
    text = log.read_text()
    assert f"anew {port}\n" in text
    return text


def test_one_step(tmp_path: Path) -> None:
    assert "Stopping reloader process" in _served(tmp_path, "one")


def test_all_of_it(tmp_path: Path) -> None:
    text = _served(tmp_path, "all")
    assert "by WatchFiles\n" in text or "by StatReload\n" in text


def test_of_several_processes(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import os\n" + APP.replace('b"one"', 'os.environ["PLACE"].encode()'))
    port = free_port()
    with _running(tmp_path, PLACED, str(port)) as log:
        _answers(port, b"0")
        _answers(port, b"1")
    text = log.read_text()
    assert text.count("placed") == 2
    assert text.endswith("ended\n")
