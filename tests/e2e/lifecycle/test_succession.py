"""Reloads under plain Gunicorn leave no gap, and do not end the service when the application is broken."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import HTTPTOOLS, Gunicorn, until
from tests.e2e.lifecycle.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

# Its lifespan startup waits until the file `go` is there.
WAITING = """
import asyncio, os
import lifecycle_app
from eventlog import event

async def app(scope, receive, send):
    if scope["type"] == "lifespan" and os.path.exists("wait"):
        event("waiting")
        while os.path.exists("wait"):
            await asyncio.sleep(0.02)
    await lifecycle_app.app(scope, receive, send)
"""
BROKEN = "raise RuntimeError('broken on purpose')\n"


def starts_before_ends(server: Gunicorn, workers: int) -> bool:
    """Whether at each moment at least as many workers as there should be had started and not ended."""
    serving = 0
    for event in server.events():
        serving += {"startup": 1, "shutdown": -1}.get(event.name, 0)
        if event.name == "shutdown" and serving < workers:
            return False
    return True


def write(server: Gunicorn, text: str) -> None:
    (server.dir / "reloaded.py").write_text(text)


@pytest.fixture
def server(serve: Serve) -> Gunicorn:
    """Two workers that have started; what they serve can be changed."""
    found = serve(
        "reloaded:app",
        "--log-level",
        "debug",
        worker=HTTPTOOLS,
        workers=2,
        files={"reloaded.py": WAITING},
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    # Both serve: one that is told to leave while it starts does so.
    found.wait_log("Ready in")
    return found


def test_the_old_serve_until_the_new_have_started(server: Gunicorn) -> None:
    old = set(server.workers())
    (server.dir / "wait").touch()
    with Load(("127.0.0.1", server.port)) as load:
        server.signal(signal.SIGHUP)
        server.wait_events("waiting", 2)
        server.wait_log("serving on until a new worker has started")
        before = load.answered.total()
        until(lambda: load.answered.total() > before or load.failed, "answers meanwhile")
        assert old <= set(server.workers())
        (server.dir / "wait").unlink()
        until(lambda: not old & set(server.workers()), "the end of the old workers")
        load.stop()
    assert len(server.events("shutdown")) == 2


def test_a_stop_meanwhile_is_a_stop(server: Gunicorn) -> None:
    """Those that start are told, too: the old ones see that nobody is to come."""
    old = set(server.workers())
    (server.dir / "wait").touch()
    server.signal(signal.SIGHUP)
    server.wait_events("waiting", 2)
    # As the master does at a stop, but for that it may be waiting for the old ones for a while.
    for pid in server.workers():
        os.kill(pid, signal.SIGTERM)
    until(lambda: not old & set(server.workers()), "the end of the old workers")
    (server.dir / "wait").unlink()


def test_a_quick_stop_meanwhile_is_quick(server: Gunicorn) -> None:
    (server.dir / "wait").touch()
    server.signal(signal.SIGHUP)
    server.wait_events("waiting", 2)
    old = min(server.workers())
    os.kill(old, signal.SIGQUIT)
    until(lambda: old not in server.workers(), "its end")
    (server.dir / "wait").unlink()


def test_a_broken_application_does_not_end_the_service(server: Gunicorn) -> None:
    old = set(server.workers())
    with Load(("127.0.0.1", server.port)) as load:
        write(server, BROKEN)
        server.signal(signal.SIGHUP)
        server.wait_log("The new workers could not start: the old ones serve on")
        until(lambda: set(server.workers()) == old, "the old workers alone")
        # One report of the two that failed.
        assert server.log.count("Traceback") == 1
        assert server.log.count("Other workers serve on") == 1

        write(server, WAITING)
        server.signal(signal.SIGHUP)
        new = {event.pid for event in server.wait_started(4)[2:]}
        # The master does not wait for those that are to stay: graceful_timeout is 30 seconds, our patience is shorter.
        until(lambda: set(server.workers()) == new, "the new workers alone")
        load.stop()
    assert len(server.events("shutdown")) == 2
    assert server.stop_gracefully() == 0


def test_the_old_ones_stop_at_once_after_a_reload_that_failed(server: Gunicorn) -> None:
    write(server, BROKEN)
    server.signal(signal.SIGHUP)
    server.wait_log("The new workers could not start: the old ones serve on")
    until(lambda: len(server.workers()) == 2, "the old workers alone")
    assert server.stop_gracefully() == 0
    assert len(server.events("shutdown")) == 2


def test_a_worker_that_dies_is_replaced_again_and_again_while_others_serve(server: Gunicorn) -> None:
    """With a pause between two tries, and once the application is mended, for good."""
    write(server, BROKEN)
    killed, left = server.workers()
    os.kill(killed, signal.SIGKILL)
    until(lambda: server.log.count("Other workers serve on") == 2, "a second try")
    write(server, WAITING)
    server.wait_started(3)
    assert left in server.workers()
    assert server.stop_gracefully() == 0


def test_the_first_boot_ends_with_its_code(serve: Serve) -> None:
    server = serve("reloaded:app", worker=HTTPTOOLS, workers=2, files={"reloaded.py": BROKEN})
    assert server.wait_exit() == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_at_max_requests_leaves_after_its_replacement_has_started(serve: Serve, workers: int) -> None:
    server = serve(
        "lifecycle_app:app",
        "--max-requests",
        "200",
        "--max-requests-jitter",
        "50",
        worker=HTTPTOOLS,
        workers=workers,
    )
    server.wait_started(workers)
    with Load(("127.0.0.1", server.port)) as load:
        until(lambda: len(server.events("shutdown")) >= 3 or load.failed, "three recycled workers")
        load.stop()
    assert starts_before_ends(server, workers)
    assert "serving on until a replacement has started" in server.log
    assert server.stop_gracefully() == 0


def test_a_worker_that_dies_while_it_is_replaced_leaves_no_other_too_many(serve: Serve) -> None:
    """The master was asked for one more, and nobody is left who would ask for one less."""
    options = ("--max-requests", "20")
    server = serve("reloaded:app", *options, worker=HTTPTOOLS, workers=1, files={"reloaded.py": WAITING})
    server.wait_started(1)
    (old,) = server.workers()
    (server.dir / "wait").touch()
    for _ in range(20):
        server.get()
    server.wait_events("waiting", 1)
    os.kill(old, signal.SIGKILL)
    (server.dir / "wait").unlink()
    server.wait_log("Handling signal: ttou")
    until(lambda: len(server.workers()) == 1, "one worker")
    assert server.get().status_code == 200
