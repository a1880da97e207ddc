"""Processes that the application starts: they have nothing of the worker's, and the worker does not wait for them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn, alive, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Serve = Callable[..., Gunicorn]

#: As for Python's own word on forks of a process that has threads, from 3.12 on.
WARNINGS = {"PYTHONWARNINGS": "always::DeprecationWarning"}
#: Far longer than a test is waited for: who waits for a child until its end, does not end in time.
GRACE = "60"


@pytest.fixture
def children() -> Iterator[list[int]]:
    """Processes that end with the test, whoever is their parent then."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


#: A process of the master's, as one that fetches or cleans something for all workers.
HELPER = """
import multiprocessing
import time
from eventlog import event
def help_out():
    event("helper")
    while True:
        time.sleep(1)
def on_starting(server):
    multiprocessing.get_context("fork").Process(target=help_out, daemon=True).start()
"""


def start(server: Gunicorn, children: list[int], *paths: str) -> None:
    for path in paths:
        children.append(int(server.get(path).text))
        assert alive(children[-1])


def test_children_neither_listen_nor_hear_the_signals_of_the_worker(serve: Serve, children: list[int]) -> None:
    server = serve("lifecycle_app:app", "--graceful-timeout", GRACE, worker=HTTPTOOLS, env=WARNINGS)
    start(server, children, "/fork", "/process?method=fork", "/process?method=spawn")
    start(server, children, "/process?method=fork&daemon=1", "/pool")
    assert server.stop_gracefully() == 0
    with pytest.raises(OSError, match="refused"):
        server.connect()
    forked, plain, spawned, daemon, pooled = children
    # These are their parent's, as Python has it.
    until(lambda: not alive(daemon) and not alive(pooled), "the end of the daemon and of the pool")
    for pid in (forked, plain, spawned):
        assert alive(pid)
        os.kill(pid, signal.SIGTERM)
    until(lambda: not any(map(alive, children)), "the end of the children")
    assert "DeprecationWarning" not in server.log
    assert "Traceback" not in server.log


def test_a_reload_does_not_wait_for_them(serve: Serve, children: list[int]) -> None:
    server = serve("lifecycle_app:app", "--graceful-timeout", GRACE, worker=H11, env=WARNINGS)
    first = server.wait_started()[0].pid
    start(server, children, "/process?method=fork", "/process?method=forkserver", "/pool")
    server.signal(signal.SIGHUP)
    until(lambda: not alive(first), "the end of the old worker")
    assert int(server.get("/").headers["x-pid"]) == server.events("startup")[1].pid
    assert alive(children[0])
    assert "DeprecationWarning" not in server.log


def test_a_process_of_the_master_is_not_ended_with_a_worker(serve: Serve, children: list[int], worker: str) -> None:
    server = serve("lifecycle_app:app", worker=worker, files={"gunicorn.conf.py": HELPER})
    children.append(server.wait_events("helper")[0].pid)
    first = server.wait_started()[0].pid
    server.signal(signal.SIGHUP)
    until(lambda: not alive(first), "the end of the old worker")
    server.wait_started(2)
    assert alive(children[0])
    assert server.stop_gracefully() == 0
    until(lambda: not alive(children[0]), "its end with the master")
    assert "Traceback" not in server.log


def test_a_pool_that_is_at_work_has_the_time_that_requests_have(serve: Serve, children: list[int]) -> None:
    server = serve("lifecycle_app:app", "--graceful-timeout", "2", worker=HTTPTOOLS)
    start(server, children, "/pool?busy=1")
    assert server.stop_gracefully() == 0
    until(lambda: not alive(children[0]), "the end of the pool")
    assert "Leaving without waiting any longer" in server.log
    assert "SIGKILL" not in server.log


@pytest.mark.parametrize(("by", "code"), [("exit", b"3"), ("error", b"1"), ("return", b"1")])
def test_a_child_that_comes_back_into_the_event_loop_ends(serve: Serve, worker: str, by: str, code: bytes) -> None:
    server = serve("lifecycle_app:app", worker=worker)
    with server.connect() as connection, server.connect() as other:
        assert other.get("/").status == 200
        response = connection.get(f"/fork-and-return?by={by}")
        assert response.body == code
        # Of both there is one answer, and the loop of the worker goes on as before.
        for each in (connection, other):
            assert each.get("/").headers["x-pid"] == response.headers["x-pid"]
    assert not server.events("went-on")
    assert len(server.workers()) == 1


def test_a_connection_that_the_worker_closes_is_closed(serve: Serve, worker: str, children: list[int]) -> None:
    server = serve("lifecycle_app:app", worker=worker)
    with server.connect() as connection:
        connection.send(b"GET /fork-and-close HTTP/1.0\r\nHost: test\r\n\r\n")
        response = connection.response()
        children.append(int(response.body))
        assert connection.rest() == b""
    assert alive(children[0])
