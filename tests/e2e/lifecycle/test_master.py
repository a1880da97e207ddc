"""The master of this package: whoever is replaced leaves after the one that takes its place has started."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn, control_socket_option, until
from tests.e2e.lifecycle.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

MASTER = "uvicorn_worker.master"
# It needs some time to start, and reports how many others serve while it does.
SLOW = """
import asyncio
import lifecycle_app

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await asyncio.sleep(0.3)
    await lifecycle_app.app(scope, receive, send)
"""
BROKEN = "raise RuntimeError('broken on purpose')\n"


@pytest.fixture
def launch(serve: Serve) -> Serve:
    """Start the master with these options."""

    def start(*options: str, workers: int = 2, **more: object) -> Gunicorn:
        argv = ["-b", "127.0.0.1:0", "-w", str(workers), *control_socket_option(), *options]
        env = {"PYTHONDONTWRITEBYTECODE": "1", **dict(more.pop("env", {}))}  # type: ignore[call-overload]
        files = {"reloaded.py": SLOW, **dict(more.pop("files", {}))}  # type: ignore[call-overload]
        server = serve(module=MASTER, argv=[*argv, "reloaded:app"], files=files, env=env, **more)
        server.wait_started(workers)
        return server

    return start


def starts_before_ends(server: Gunicorn, workers: int) -> bool:
    """Whether at each moment at least as many workers as there should be had started and not ended."""
    serving = 0
    for event in server.events():
        if event.name == "startup":
            serving += 1
        elif event.name == "shutdown":
            serving -= 1
            if serving < workers:
                return False
    return True


def test_hup_boots_the_new_ones_first(launch: Serve) -> None:
    server = launch()
    old = set(server.workers())
    with Load(("127.0.0.1", server.port)) as load:
        server.signal(signal.SIGHUP)
        server.wait_started(4)
        until(lambda: not old & set(server.workers()), "the end of the old workers")
        load.stop()
    server.wait_events("shutdown", 2)
    assert starts_before_ends(server, 2)
    assert len(server.workers()) == 2
    assert server.stop_gracefully() == 0


def test_one_after_the_other(launch: Serve) -> None:
    server = launch(env={"UVICORN_RELOAD_SURGE": "1"}, workers=3)
    old = set(server.workers())
    server.signal(signal.SIGHUP)
    most = 0

    def replaced() -> bool:
        nonlocal most
        running = set(server.workers())
        most = max(most, len(running))
        return len(server.events("startup")) == 6 and not old & running

    until(replaced, "three new workers")
    # Those that drain are there too, for a moment.
    assert most <= 5
    assert starts_before_ends(server, 3)


def test_a_broken_application_and_back(launch: Serve) -> None:
    server = launch()
    old = set(server.workers())
    with Load(("127.0.0.1", server.port)) as load:
        (server.dir / "reloaded.py").write_text(BROKEN)
        server.signal(signal.SIGHUP)
        until(lambda: server.log.count("Other workers serve on") >= 2, "a second try")
        assert old <= set(server.workers())
        # It is tried again and again, so mending it is enough.
        (server.dir / "reloaded.py").write_text(SLOW)
        server.wait_started(4)
        until(lambda: not old & set(server.workers()), "the end of the old workers")
        load.stop()
    assert starts_before_ends(server, 2)
    assert server.stop_gracefully() == 0


def test_broken_settings_change_nothing(launch: Serve) -> None:
    server = launch(files={"gunicorn.conf.py": "workers = 2\n"})
    old = server.workers()
    for text, says in ("workers = (\n", "SyntaxError"), ("workers = 'many'\n", "going on with those of before"):
        (server.dir / "gunicorn.conf.py").write_text(text)
        server.signal(signal.SIGHUP)
        server.wait_log(says)
        assert server.get().status_code == 200
    assert server.workers() == old
    (server.dir / "gunicorn.conf.py").write_text("workers = 2\n")
    server.signal(signal.SIGHUP)
    server.wait_started(4)
    until(lambda: not set(old) & set(server.workers()), "the end of the old workers")


@pytest.mark.parametrize("workers", [1, 2])
def test_max_requests(launch: Serve, workers: int) -> None:
    server = launch("--max-requests", "200", "--max-requests-jitter", "50", workers=workers)
    with Load(("127.0.0.1", server.port)) as load:
        until(lambda: len(server.events("shutdown")) >= 3 or load.failed, "three recycled workers")
        load.stop()
    assert starts_before_ends(server, workers)
    assert "serving on until a replacement has started" in server.log


def test_lifetime(launch: Serve) -> None:
    server = launch(env={"UVICORN_WORKER_LIFETIME": "0.5"}, workers=1)
    server.wait_log(r"Served for worker_lifetime = 0.5 seconds, serving on until a replacement has started")
    server.wait_events("shutdown", 1)
    assert starts_before_ends(server, 1)


NOTED = """
def nworkers_changed(server, new_value, old_value):
    server.log.info("workers: %s, before: %s", new_value, old_value)
"""


def test_ttin_and_ttou(launch: Serve) -> None:
    server = launch(files={"gunicorn.conf.py": NOTED})
    first = set(server.workers())
    server.signal(signal.SIGTTIN)
    server.wait_started(3)
    server.signal(signal.SIGTTOU)
    server.wait_events("shutdown", 1)
    until(lambda: len(server.workers()) == 2, "two workers")
    # The oldest, or the new one where it had run its startup and did not serve yet: tests/master has each.
    assert first & set(server.workers())
    # The hook is called when the number changes, and not when it is looked at.
    assert re.findall(r"workers: (\d), before: (\w+)", server.log) == [("2", "None"), ("3", "2"), ("2", "3")]


def test_a_worker_that_dies_is_replaced(launch: Serve) -> None:
    server = launch()
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_started(3)
    until(lambda: len(server.workers()) == 2, "two workers")


def test_the_first_boot_ends_with_its_code(serve: Serve) -> None:
    argv = ["-b", "127.0.0.1:0", "-w", "2", *control_socket_option(), "reloaded:app"]
    assert serve(module=MASTER, argv=argv, files={"reloaded.py": BROKEN}).wait_exit() == 3


def test_workers_leave_when_the_master_is_killed(launch: Serve) -> None:
    server = launch()
    server.signal(signal.SIGKILL)
    until(lambda: not server.leftovers(), "the end of the workers")


def test_the_worker_class_of_somebody_else(serve: Serve) -> None:
    argv = ["-b", "127.0.0.1:0", "-k", "sync", *control_socket_option(), "wsgi:app"]
    text = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n"
    server = serve(module=MASTER, argv=argv, files={"wsgi.py": text})
    until(lambda: len(server.workers()) == 1, "a worker")
    old = server.workers()
    assert server.get().text == "ok"
    server.signal(signal.SIGHUP)
    until(lambda: len(server.workers()) == 1 and server.workers() != old, "its replacement")
    assert server.get().text == "ok"
