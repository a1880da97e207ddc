"""What the command passes on to Gunicorn."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest

from tests.e2e.command.harness import APP, Command
from tests.e2e.harness import PATIENCE, until
from tests.e2e.raw import Connection

CONF = """
import os
bind = "127.0.0.1:0"
workers = 2
wsgi_app = "app:app"
worker_class = "mine.Mine"
def when_ready(server):
    print("timeout", server.cfg.timeout, flush=True)
"""
MINE = """
from uvicorn_worker import UvicornH11Worker
class Mine(UvicornH11Worker):
    CONFIG_KWARGS = {"server_header": False}
"""


def test_a_configuration_file_under_the_command_line() -> None:
    files = {"g.py": CONF, "mine.py": MINE, "app.py": APP}
    line = ["-c", "g.py", "--gunicorn", "timeout=77", "--header", "x-a: b", "--workers", "1", "--preload"]
    with Command(*line, files=files) as server:
        ready = server.wait_log(r"Ready in .*")
        assert "1 process, loop asyncio, HTTP/1.1 (h11)" in ready
        assert "timeout 77" in server.out
        answer = server.get()
        assert answer.headers["x-a"] == "b"
        assert "server" not in answer.headers
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0


def test_lines_of_json_and_a_worker_class() -> None:
    with Command("app:app", "--port", "0", "--worker-class", "h11", "--log-format", "json") as server:
        server.wait_log(r"Ready in .*")
        assert server.get("/a?b").status_code == 200
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        lines = [json.loads(line) for line in server.log.splitlines()]
        assert any("h11" in line["message"] for line in lines)
        (access,) = [json.loads(line) for line in server.out.splitlines() if line.startswith("{")]
        assert (access["method"], access["path"], access["status_code"]) == ("GET", "/a", 200)


def test_no_access_lines_of_several_workers() -> None:
    with Command("app:app", "--port", "0", "--workers", "2", "--no-access-log") as server:
        server.wait_log(r"Ready in .*")
        assert server.get("/a?b").status_code == 200
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert "/a?b" not in server.out + server.log


DIRTY = """
from gunicorn.dirty.app import DirtyApp
class Adds(DirtyApp):
    def init(self): pass
    def add(self, a, b): return a + b
    def close(self): pass
"""
ASKS_DIRTY = """
import asyncio
from gunicorn.dirty import get_dirty_client_async
async def app(scope, receive, send):
    assert scope["type"] == "http"
    if scope["path"] == "/slow":
        print("asked", flush=True)
        await asyncio.sleep(1)
    body = b"%d" % await (await get_dirty_client_async()).execute_async("dirty:Adds", "add", 1, 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": body})
"""


dirty_workers = pytest.mark.skipif(find_spec("gunicorn.dirty") is None, reason="this Gunicorn has no dirty workers")


def _asks_dirty() -> tuple[list[str], dict[str, str]]:
    """A command line and its files; by one name Gunicorn's masters would end each other's dirty arbiters."""
    settings = ["dirty_apps=dirty:Adds", "dirty_workers=1", f"proc_name=asks-{uuid.uuid4().hex}"]
    line = ["asks:app", "--port", "0", "--workers", "2", *(word for each in settings for word in ("--gunicorn", each))]
    return line, {"dirty.py": DIRTY, "asks.py": ASKS_DIRTY}


@dirty_workers
def test_dirty_workers_are_there_until_the_last_request() -> None:
    """Gunicorn's own master tells them to leave in the moment of TERM (findings/gunicorn-dirty-stop.sh)."""
    line, files = _asks_dirty()
    with Command(*line, files=files) as server:
        server.wait_log(r"Ready in .*")
        until(lambda: server.get("/").status_code == 200 or None, "the dirty worker")
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(server.get, "/slow")
            until(lambda: "asked" in server.out or None, "the request in the application")
            server.signal(signal.SIGTERM)
            assert slow.result().text == "3"
        assert server.wait_exit() == 0
        if sys.version_info < (3, 12):
            # Since then it is ended when the time is over (findings/gunicorn-dirty-slow-stop.sh).
            assert re.search(r"Dirty arbiter \(pid:\d+\) exited", server.log)


@dirty_workers
def test_two_masters_of_one_name_have_dirty_workers_each() -> None:
    """As of a service on two ports; Gunicorn's own end each other's (findings/gunicorn-dirty-same-name.sh)."""
    line, files = _asks_dirty()
    with Command(*line, files=files) as first, Command(*line, files=files) as second:
        for server in (first, second):
            server.wait_log(r"Dirty worker \d+ listening")
            server.wait_log(r"Ready in .*")
        for server in (first, second):
            assert server.get("/").text == "3"
            assert "Killing orphaned" not in server.log
            server.signal(signal.SIGTERM)
            assert server.wait_exit() == 0
            assert server.log.count("Spawned dirty arbiter") == 1


@pytest.mark.parametrize("home", ["/dev/null", "nowhere"])
def test_no_control_socket_where_it_has_no_place(home: str) -> None:
    """As of a user without a home; a folder that is not made is none that lies about."""
    with Command("app:app", "--port", "0", "--workers", "2", env={"XDG_RUNTIME_DIR": "", "HOME": home}) as server:
        server.wait_log(r"Ready in .*")
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert "Control server error" not in server.log
        assert not (server.dir / "nowhere").exists()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("line", [(), ("--workers", "2"), ("--workers", "2", "--http2-cleartext", "both")])
def test_http2_in_cleartext_with_however_many_workers(line: tuple[str, ...]) -> None:
    with Command("app:app", "--port", "0", "--http2", *line) as server:
        server.wait_log(r"Ready in .*")
        with Connection(("127.0.0.1", server.port), PATIENCE) as connection:
            connection.send(PREFACE)
            # Three bytes of length, and the type: SETTINGS.
            assert connection.socket.recv(4, socket.MSG_WAITALL)[3:] == b"\x04"


@pytest.mark.parametrize(
    ("setting", "says"),
    [("timeot=3", "did you mean timeout?"), ("timeout=x", "--gunicorn timeout=x: "), ("timeout", "must be NAME=VALUE")],
)
def test_a_mistake_is_one_line(setting: str, says: str) -> None:
    with Command("app:app", "--port", "0", "--gunicorn", setting) as server:
        assert server.wait_exit() in (1, 2)
        assert says in server.log
        assert "Traceback" not in server.log
