"""The error log is a pipe whose reader has stalled: the worker serves on, and nothing is lost that has room to wait."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.command.harness import Command
from tests.e2e.harness import PATIENCE, alive, until
from tests.e2e.raw import Connection
from uvicorn_worker.board.board import BOOTING, find_boards
from uvicorn_worker.logs.formatters import LOGGING_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.harness import Gunicorn

    Serve = Callable[..., Gunicorn]

APP = """
import logging
import threading

own = logging.getLogger("own")


def log(number):
    for line in range(100):
        logging.getLogger("uvicorn.error").error("thread %d line %d %s", number, line, "x" * 1000)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        # So that it is told of none.
        raise NotImplementedError
    if scope["path"] == "/fail":
        raise RuntimeError(scope["query_string"].decode().ljust(1000, "x"))
    if scope["path"] == "/own":
        own.error("own %s", scope["query_string"].decode().ljust(1000, "x"))
    if scope["path"] == "/threads":
        for number in range(4):
            threading.Thread(target=log, args=(number,)).start()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
# Whoever opens both ends of a pipe is its reader, and may forget to read. Not before the master has said where it
# listens.
STALLED = """
import os

def when_ready(server):
    os.mkfifo("fifo")
    fd = os.open("fifo", os.O_RDWR)
    %s
"""
STDERR = STALLED % "os.dup2(fd, 2)"
BOTH = STALLED % "os.dup2(fd, 2); os.dup2(fd, 1)"
# As if it had been configured so: Gunicorn opens it by its name, and so do workers at USR1.
FILE = STALLED % "server.cfg.set('errorlog', 'fifo'); server.log.setup(server.cfg)"

# More than the pipe has room for (64 KiB), and less than may wait (1 MiB).
FAILURES = 300


class Reader:
    """Reads the pipe of a server, but not before it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.fd = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        self.seen = ""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self.fd)

    def wait(self, pattern: str) -> re.Match[str]:
        """Read until there is a match."""

        def read() -> re.Match[str] | None:
            with suppress(BlockingIOError):
                self.seen += os.read(self.fd, 1 << 20).decode()
            return re.search(pattern, self.seen)

        return until(read, pattern)

    def failures(self) -> list[int]:
        """Which tracebacks have come, whole."""
        return [int(number) for number in re.findall(r"^RuntimeError: number=(\d+)x{900,}$", self.seen, re.MULTILINE)]


def started(serve: Serve, worker: str, *options: str, conf: str = STDERR, app: str = APP, **files: str) -> Gunicorn:
    server = serve("stalled:app", *options, worker=worker, files={"gunicorn.conf.py": conf, "stalled.py": app, **files})
    until(lambda: (server.dir / "fifo").exists() and server.workers(), "its worker")
    return server


def fail(port: int, numbers: range) -> None:
    """Ask for what raises, and for what does not, on one connection after the other."""
    for number in numbers:
        with Connection(("127.0.0.1", port), PATIENCE) as connection:
            assert connection.get(f"/fail?number={number}").status == 500
        with Connection(("127.0.0.1", port), PATIENCE) as connection:
            assert connection.get("/").status == 200


def test_requests_are_answered_and_every_line_comes_later(serve: Serve, worker: str) -> None:
    server = started(serve, worker)
    (pid,) = server.workers()
    fail(server.port, range(FAILURES))
    assert server.workers() == [pid]
    with Reader(server.dir) as reader:
        reader.wait(rf"RuntimeError: number={FAILURES - 1}x+\n")
        assert reader.failures() == list(range(FAILURES))
        # And then it is as before.
        fail(server.port, range(FAILURES, FAILURES + 1))
        reader.wait(rf"RuntimeError: number={FAILURES}x+\n")
        assert server.stop_gracefully() == 0
        reader.wait("Shutting down: Master")
    assert rf"Worker exiting (pid: {pid})" in reader.seen
    assert "lost" not in reader.seen


def test_what_has_no_room_is_counted_and_told_when_the_reader_is_back(serve: Serve, worker: str) -> None:
    server = started(serve, worker)
    total = 1000
    fail(server.port, range(total))
    with Reader(server.dir) as reader:
        lost = reader.wait(r"\[WARNING\] The log <stderr> is written again; (\d+) lines were lost\n")
        kept = reader.failures()
        (before, _) = reader.seen.split("RuntimeError: number=0x")
        lines = before[before.index("Exception in ASGI") :].count("\n") + 1
    # A shorter line may find room that a longer one did not.
    assert kept == sorted(set(kept))
    assert 500 < len(kept) == total - int(lost[1]) / lines
    assert len(re.findall("were lost", reader.seen)) == 1


def test_both_logs_in_one_pipe_keep_their_order(serve: Serve, worker: str) -> None:
    server = started(serve, worker, "--access-logfile", "-", "--access-logformat", "%(r)s %(s)s", conf=BOTH)
    # On one connection no two requests are answered in one turn of the loop, whose access lines leave when it ends.
    with Connection(("127.0.0.1", server.port), PATIENCE) as connection:
        for number in range(FAILURES):
            assert connection.get(f"/fail?number={number}").status == 500
            assert connection.get("/").status == 200
    with Reader(server.dir) as reader:
        reader.wait(rf"number={FAILURES - 1} HTTP/1.1 500\nGET / HTTP/1.1 200\n")
    found = re.findall(r"^(RuntimeError: number=\d+|GET /fail\?number=\d+|GET / )", reader.seen, re.MULTILINE)
    assert found == [
        line
        for number in range(FAILURES)
        for line in (f"RuntimeError: number={number}", f"GET /fail?number={number}", "GET / ")
    ]


def test_a_file_that_is_a_pipe_is_reopened_meanwhile(serve: Serve, worker: str) -> None:
    server = started(serve, worker, conf=FILE)
    (pid,) = server.workers()
    half = FAILURES // 2
    fail(server.port, range(half))
    server.signal(signal.SIGUSR1, pid)
    fail(server.port, range(half, FAILURES))
    with Reader(server.dir) as reader:
        reader.wait(rf"RuntimeError: number={FAILURES - 1}x+\n")
        assert reader.failures() == list(range(FAILURES))
    assert server.workers() == [pid]


def test_an_abort_ends_the_worker_whoever_reads(serve: Serve, worker: str) -> None:
    server = started(serve, worker)
    (pid,) = server.workers()
    fail(server.port, range(FAILURES))
    server.signal(signal.SIGABRT, pid)
    until(lambda: not alive(pid), "its end", 10)
    with Reader(server.dir) as reader:
        # By itself, that is to say.
        reader.wait(rf"Worker \(pid:{pid}\) exited with code 1")
        reader.wait("Booting worker")


def test_with_a_reader_an_abort_loses_nothing(serve: Serve, worker: str) -> None:
    server = started(serve, worker)
    (pid,) = server.workers()
    fail(server.port, range(FAILURES))
    with Reader(server.dir) as reader:
        server.signal(signal.SIGABRT, pid)
        reader.wait(rf"Worker \(pid:{pid}\) exited with code 1")
        assert reader.failures() == list(range(FAILURES))


def test_a_worker_boots_while_nobody_reads(serve: Serve, worker: str) -> None:
    server = started(serve, worker, "--max-requests", str(2 * FAILURES))
    (pid,) = server.workers()
    fail(server.port, range(FAILURES))

    def replaced() -> bool:
        slots = [slot for board in find_boards(server.pid) for slot in board]
        return any(slot.pid not in (0, pid) and slot.state != BOOTING for slot in slots)

    until(replaced, "the worker in its place")
    with Connection(("127.0.0.1", server.port), PATIENCE) as connection:
        assert connection.get("/").status == 200
    with Reader(server.dir) as reader:
        reader.wait(rf"Worker exiting \(pid: {pid}\)")
        assert reader.failures() == list(range(FAILURES))


def test_threads_log_at_the_same_time(serve: Serve, worker: str) -> None:
    server = started(serve, worker)
    with Connection(("127.0.0.1", server.port), PATIENCE) as connection:
        assert connection.get("/threads").status == 200
        fail(server.port, range(FAILURES))
    with Reader(server.dir) as reader:
        for number in range(4):
            reader.wait(rf"thread {number} line 99 x{{1000}}\n")
        reader.wait(rf"RuntimeError: number={FAILURES - 1}x+\n")
        assert reader.failures() == list(range(FAILURES))
    for number in range(4):
        found = re.findall(rf"thread {number} line (\d+) x{{1000}}\n", reader.seen)
        assert found == [str(line) for line in range(100)]


@pytest.mark.parametrize("setup", ["log_config", "logconfig_dict", "basic_config"])
def test_however_logging_is_set_up(serve: Serve, worker: str, setup: str) -> None:
    conf, app = BOTH, APP
    files = {}
    env: dict[str, str] = {}
    if setup == "log_config":
        # Access lines go to stdout, in colours.
        files["log.json"] = json.dumps(LOGGING_CONFIG)
        env = {"UVICORN_LOG_CONFIG": "log.json", "UVICORN_USE_COLORS": "true"}
    elif setup == "logconfig_dict":
        conf += """
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"own": {"()": "uvicorn_worker.logs.json_lines.JsonFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "own", "stream": "ext://sys.stderr"}},
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {"gunicorn.error": {"handlers": [], "propagate": True}, "uvicorn.error": {}, "uvicorn.access": {}},
}
"""
    else:
        app += "\nlogging.basicConfig(format='%(name)s %(message)s')\n"
    server = serve("stalled:app", worker=worker, env=env, files={"gunicorn.conf.py": conf, "stalled.py": app, **files})
    until(lambda: (server.dir / "fifo").exists() and server.workers(), "its worker")
    (pid,) = server.workers()
    for number in range(FAILURES):
        with Connection(("127.0.0.1", server.port), PATIENCE) as connection:
            assert connection.get(f"/own?number={number}").status == 200
            assert connection.get(f"/fail?number={number}").status == 500
    assert server.workers() == [pid]
    with Reader(server.dir) as reader:
        reader.wait(rf"RuntimeError: number={FAILURES - 1}x")
    found = re.findall(r"RuntimeError: number=(\d+)x{900}", reader.seen)
    assert list(dict.fromkeys(found)) == [str(number) for number in range(FAILURES)]
    if setup == "log_config":
        assert "\x1b[31mERROR\x1b[0m" in reader.seen
    # Those of the application's loggers; without any handler, as with log_config, stderr is logging's last resort.
    owns = re.findall(r"own number=(\d+)x{900}", reader.seen)
    assert list(dict.fromkeys(owns)) == [str(number) for number in range(FAILURES)]


def test_the_command() -> None:
    stall = "import os; os.mkfifo('fifo'); os.dup2(os.open('fifo', os.O_RDWR), 2)"
    program = f"{stall}; import runpy; runpy.run_module('uvicorn_worker', run_name='__main__', alter_sys=True)"
    # Where it listens is said in the pipe.
    options = ("stalled:app", "--uds", "socket", "--no-access-log")
    with Command(*options, program=("-c", program), files={"stalled.py": APP}) as server:
        path = server.dir / "socket"
        until(path.exists, "the socket")

        def asked(target: str) -> int:
            with Connection(str(path), PATIENCE) as connection:
                return connection.get(target).status

        until(lambda: not refuses(path), "its start")
        assert [asked(f"/fail?number={number}") for number in range(FAILURES)] == [500] * FAILURES
        assert asked("/") == 200
        with Reader(server.dir) as reader:
            reader.wait(rf"RuntimeError: number={FAILURES - 1}x+\n")
            assert reader.failures() == list(range(FAILURES))


def refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) != 0
