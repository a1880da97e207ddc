"""What a stop waits for, for how long, and what it says meanwhile."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import HTTPTOOLS, Gunicorn, until
from tests.e2e.raw import Truncated

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def test_an_idle_worker_is_gone_at_once(serve: Serve, worker: str) -> None:
    server = serve("lifecycle_app:app", "--log-level", "debug", worker=worker, workers=2)
    server.wait_log("Ready in")
    assert server.stop_gracefully() == 0
    assert len(re.findall(r"Drained in \d+\.\d s: nothing was cut\.", server.log)) == 2


def test_a_request_longer_than_the_timeout(serve: Serve) -> None:
    server = serve("lifecycle_app:app", "--timeout", "2", "--graceful-timeout", "15", worker=HTTPTOOLS)
    with server.connect() as connection:
        connection.request("/sleep?s=4.5")
        server.wait_events("sleeping")
        server.signal(signal.SIGTERM)
        response = connection.response()
    assert (response.body, response.closes) == (b"slept", True)
    assert server.wait_exit() == 0
    assert "WORKER TIMEOUT" not in server.log
    assert len(server.events("shutdown")) == 1
    for line in ("Draining: 1 request, 0 WebSockets, 0 streams, 0 idle connections; ", "Still draining: 1 request, "):
        assert line in server.log


def test_requests_are_taken_while_a_load_balancer_leaves(serve: Serve) -> None:
    server = serve("lifecycle_app:app", worker=HTTPTOOLS, env={"UVICORN_TIMEOUT_DRAIN_DELAY": "3"})
    with server.connect() as kept:
        assert kept.get("/health").body == b"ready"
        server.signal(signal.SIGTERM)
        until(lambda: kept.get("/health").status == 503, "the health check to fail")
        response = server.get("/health")
        assert (response.status_code, response.text) == (503, "stopping")
        assert server.get("/").status_code == 200
        assert not kept.get("/").closes
    assert server.wait_exit() == 0
    assert "Stopping: accepting for another " in server.log


def test_endless_streams_are_told_before_the_end(serve: Serve) -> None:
    server = serve("lifecycle_app:app", "--graceful-timeout", "2", worker=HTTPTOOLS)
    with server.connect() as connection:
        connection.request("/stream")
        server.wait_events("streaming")
        server.signal(signal.SIGTERM)
        assert connection.response().body == b"tickbye"
    assert server.wait_exit() == 0
    assert "0 requests, 0 WebSockets, 1 stream, 0 idle connections" in server.log
    assert [event.name for event in server.events()][-2:] == ["told", "shutdown"]


def test_a_long_poll_does_not_hold_it_up(serve: Serve) -> None:
    server = serve("lifecycle_app:app", "--graceful-timeout", "60", worker=HTTPTOOLS)
    with server.connect() as connection:
        connection.request("/poll")
        server.wait_events("polling")
        server.signal(signal.SIGTERM)
        response = connection.response()
    assert (response.status, response.headers["retry-after"], response.closes) == (503, "1", True)
    assert server.wait_exit() == 0
    assert [event.name for event in server.events()][-2:] == ["told", "shutdown"]
    assert "ERROR" not in server.log


def test_threads_that_run_on_do_not_hold_it_up(serve: Serve) -> None:
    server = serve("lifecycle_app:app", "--graceful-timeout", "5", worker=HTTPTOOLS)
    with server.connect() as connection:
        connection.request("/thread?s=60")
        server.wait_events("in-thread")
        server.signal(signal.SIGTERM)
        assert connection.response().status == 503
    assert server.wait_exit() == 0
    assert len(server.events("shutdown")) == 1
    assert "Cutting what is left after " in server.log
    assert re.search(r"\n  GET /thread\?s=60 for \d.*, from 127\.0\.0\.1:\d+", server.log)
    assert re.search(r"Leaving without waiting any longer; threads that still run: \S+_0", server.log)
    assert "SIGKILL" not in server.log


def test_a_worker_that_is_blocked_in_c_says_with_what(serve: Serve) -> None:
    # With an access log ages are exact, and so is their order.
    server = serve("lifecycle_app:app", "--timeout", "2", "--access-logfile", "-", worker=HTTPTOOLS)
    pid = server.wait_started()[0].pid
    with server.connect() as connection, server.connect() as other:
        other.request("/sleep?s=60")
        server.wait_events("sleeping")
        connection.request("/crunch?who=me")
        server.wait_log(r"The event loop has stood still for [2-9]\.\d s, with 2 requests in flight:")
        found = server.wait_log(r"\n  (GET /sleep.*)\n  (GET /crunch.*)\n")
        assert not found.group(1).endswith("(it has the event loop)")
        assert re.fullmatch(
            r"GET /crunch\?who=me for .* s, from 127\.0\.0\.1:\d+ \(it has the event loop\)", found.group(2)
        )
        for each in (connection, other):
            try:
                assert each.response().status == 503
            except Truncated:
                pass
    until(lambda: server.workers() not in ([], [pid]), "another worker")
    assert "lifecycle_app.py" in server.log  # the stack
    assert server.log.count("The event loop has stood still") == 1


EARLY = """
import asyncio, os, signal
from pathlib import Path

def factory():
    # Between the fork and the worker's own handlers of signals.
    try:
        Path("first").touch(exist_ok=False)
        os.kill(os.getpid(), signal.{name})
    except FileExistsError:
        pass
    return asyncio.new_event_loop()
"""
EARLY_CONF = """
from uvicorn_worker import UvicornWorker
worker_class = UvicornWorker.configure(loop="early:factory")
pythonpath = "."
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT"])
def test_a_worker_that_is_told_to_stop_in_its_first_moment(serve: Serve, name: str) -> None:
    server = serve("lifecycle_app:app", files={"early.py": EARLY.format(name=name), "gunicorn.conf.py": EARLY_CONF})
    first, second = (int(pid) for pid in until(lambda: booted(server), "a second worker"))
    assert server.wait_started()[0].pid == second
    assert f"Worker exiting (pid: {first})" in server.log
    assert server.get().headers["x-pid"] == str(second)


def booted(server: Gunicorn) -> list[str] | None:
    found = re.findall(r"Booting worker with pid: (\d+)", server.log)
    return found if len(found) >= 2 else None
