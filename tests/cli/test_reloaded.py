"""The process that serves under `--reload`, as the watching process sees it: a real one, and its pipe."""

from __future__ import annotations

import contextlib
import http.client
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.sockets import listen
from uvicorn_worker.board.board import Board, Slot
from uvicorn_worker.cli.reloaded import FAILED, SERVES, serve_until_told
from uvicorn_worker.logs import backlog
from uvicorn_worker.server import Config

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is forked"),
    # Of threads of those that run the tests.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

PATIENCE = 30.0

APP = """
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        LIFESPAN
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    length = [] if path == "/stream" else [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    if path == "/in-two-pieces":
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"k"})
        return
    if path == "/stream":
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        try:
            await asyncio.sleep(60)
        finally:
            print("let go", flush=True)
    await send({"type": "http.response.body", "body": b"ok"})
"""


class Serving:
    """One process that serves, and the ends of its pipe, its sockets, its log and its place on the board."""

    def __init__(self, folder: Path, source: str, *, name: str = "app", is_first: bool = True, **options: Any) -> None:
        (folder / "served.py").write_text(source)
        self.sock = listen()
        self.sock.listen()
        self.output = folder / "output"
        self.output.touch()
        self.board = Board()
        slot = self.board.add(1)
        assert slot is not None
        self.slot: Slot = slot
        kind = multiprocessing.get_context("fork")
        self.pipe, its = kind.Pipe()
        config = Config(f"served:{name}", loop="asyncio", **options)
        arguments = (config, is_first, its)
        self.process = kind.Process(target=self._run, args=arguments)
        self.process.start()
        its.close()

    def _run(self, config: Config, is_first: bool, its: Connection) -> None:
        # What it prints and logs is in a file from its first moment on.
        fd = os.open(self.output, os.O_WRONLY | os.O_APPEND)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        log = logging.getLogger("uvicorn.error")
        log.handlers, log.propagate = [logging.StreamHandler(sys.stderr)], False
        log.setLevel(logging.INFO)
        serve_until_told(config, None, [self.sock], its, self.pipe, is_first, self.board, self.slot)

    def word(self) -> bytes:
        assert self.pipe.poll(PATIENCE), self.output.read_text()
        return self.pipe.recv_bytes()

    def get(self, path: str = "/") -> tuple[int, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.sock.getsockname()[1], timeout=PATIENCE)
        with contextlib.closing(client):
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read().decode()

    def ended(self) -> int | None:
        self.process.join(PATIENCE)
        return self.process.exitcode

    def tell(self, sig: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, sig)

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.sock.close()


Start = Callable[..., Serving]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "served", raising=False)
    made: list[Serving] = []

    def start(source: str = APP.replace("LIFESPAN", "pass"), **more: Any) -> Serving:
        made.append(Serving(tmp_path, source, **more))
        return made[-1]

    yield start
    for each in made:
        each.close()


FACTORY = (
    APP.replace("LIFESPAN", "pass")
    + """
def create():
    asyncio.get_running_loop()
    MAKES
    return app
"""
)


def test_a_factory_is_called_where_the_loop_runs(start: Start) -> None:
    serving = start(FACTORY.replace("MAKES", "pass"), name="create", factory=True)
    assert serving.word() == SERVES
    assert serving.get() == (200, "ok")


def test_an_import_that_asks_for_a_loop_is_made_where_it_runs(start: Start) -> None:
    serving = start("import asyncio\nloop = asyncio.get_running_loop()\n" + APP.replace("LIFESPAN", "pass"))
    assert serving.word() == SERVES
    assert serving.get() == (200, "ok")


def test_a_factory_that_fails_is_shown(start: Start) -> None:
    serving = start(FACTORY.replace("MAKES", "1 / 0"), name="create", factory=True)
    assert serving.word() == FAILED
    status, page = serving.get()
    assert status == 500
    assert "ZeroDivisionError" in page


def test_it_tells_that_it_serves_and_leaves_at_term(start: Start) -> None:
    serving = start()
    assert serving.word() == SERVES
    assert serving.get() == (200, "ok")
    assert serving.slot.pid == serving.process.pid
    serving.tell(signal.SIGTERM)
    assert serving.ended() == 0
    assert serving.slot.left
    log = serving.output.read_text()
    assert "Ready in" in log
    # What --reload itself has chosen is nothing that the operator has said.
    assert "timeout_drain" not in log
    assert f"Finished server process [{serving.process.pid}]" in log


def test_it_lets_go_of_streams_at_once_where_another_one_comes(start: Start) -> None:
    serving = start()
    assert serving.word() == SERVES
    with socket.create_connection(serving.sock.getsockname(), PATIENCE) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while not got.endswith(b"o\r\n"):
            got += client.recv(65536)
        serving.tell(signal.SIGHUP)
        assert serving.ended() == 0
        while client.recv(65536):
            pass
    assert "let go" in serving.output.read_text()
    # The socket is the watching process's, and the next one answers what waits in it.
    assert serving.sock.fileno() != -1


def test_a_response_of_known_length_that_has_begun_is_finished(start: Start) -> None:
    serving = start()
    assert serving.word() == SERVES
    with socket.create_connection(serving.sock.getsockname(), PATIENCE) as client:
        client.sendall(b"GET /in-two-pieces HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while not got.endswith(b"o"):
            got += client.recv(65536)
        serving.tell(signal.SIGHUP)
        assert client.recv(65536) == b"k"
    assert serving.ended() == 0


def test_it_leaves_when_the_watching_process_is_gone(start: Start) -> None:
    serving = start()
    assert serving.word() == SERVES
    serving.pipe.close()
    assert serving.ended() == 0
    assert "Application shutdown complete." in serving.output.read_text()


def test_the_next_one_starts_the_application_when_the_one_before_is_gone(start: Start) -> None:
    serving = start(APP.replace("LIFESPAN", "print('starts', flush=True)"), is_first=False)
    assert not serving.pipe.poll(0.3)
    assert "starts" not in serving.output.read_text()
    serving.pipe.send_bytes(b"go")
    assert serving.word() == SERVES
    assert "starts" in serving.output.read_text()


def test_the_next_one_does_not_start_where_nobody_says_so(start: Start) -> None:
    serving = start(APP.replace("LIFESPAN", "print('starts', flush=True)"), is_first=False)
    serving.pipe.close()
    assert serving.ended() == 0
    assert serving.output.read_text() == ""


def test_told_while_it_loads_it_is_gone_at_once(start: Start, tmp_path: Path) -> None:
    serving = start("import os, time\nos.mkdir('loading')\ntime.sleep(60)\n")
    while not (tmp_path / "loading").exists():
        assert serving.process.is_alive()
        serving.process.join(0.01)
    # Ctrl+C is heard by the watching process, too, which sees to its end.
    serving.tell(signal.SIGINT)
    serving.tell(signal.SIGHUP)
    assert serving.ended() == 0
    assert "Traceback" not in serving.output.read_text()


@pytest.mark.parametrize(
    ("source", "shown", "logged"),
    [
        ("import no_such_module_at_all\n", "no_such_module_at_all", "Traceback"),
        ("def app(:\n", "SyntaxError", "SyntaxError"),
        ("import sys\nsys.exit('not today')\n", "not today", "SystemExit: not today"),
        ("application = 1\n", "there is no 'app'", "there is no 'app'"),
        (APP.replace("LIFESPAN", "raise KeyError('no database')"), "no database", "no database"),
    ],
    ids=["import", "syntax", "exit", "name", "startup"],
)
def test_what_can_not_be_loaded_is_shown_until_it_is_told(start: Start, source: str, shown: str, logged: str) -> None:
    serving = start(source, lifespan="on")
    assert serving.word() == FAILED
    status, page = serving.get()
    assert status == 500
    assert shown in page
    assert logged in serving.output.read_text()
    assert "Ready in" not in serving.output.read_text()
    serving.tell(signal.SIGHUP)
    assert serving.ended() == 0


def test_options_that_can_not_be_had_are_said_and_end_it(start: Start, tmp_path: Path) -> None:
    serving = start(ssl_certfile=str(tmp_path / "no.pem"))
    assert serving.ended() == 1
    assert "no.pem" in serving.output.read_text()
    assert "Traceback" not in serving.output.read_text()


def test_its_last_lines_are_not_lost_where_their_reader_is_slow(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """multiprocessing ends a process without `atexit`: what waits for the reader is waited for before."""
    monkeypatch.setattr(backlog, "_LAST_WAIT", PATIENCE)
    os.mkfifo(tmp_path / "output")
    reader = os.open(tmp_path / "output", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "output", os.O_WRONLY | os.O_NONBLOCK)
    try:
        serving = start()
        assert serving.word() == SERVES
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        serving.tell(signal.SIGTERM)
        os.close(writer)
        # It has come to its end by then, mostly.
        time.sleep(0.3)
        os.set_blocking(reader, True)
        lines = b""
        while piece := os.read(reader, 1024):
            lines += piece
        assert serving.ended() == 0
        assert b"Finished server process" in lines
    finally:
        os.close(reader)
