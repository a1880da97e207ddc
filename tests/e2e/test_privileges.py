"""What a service of the system, or of a container, may not do: signal a master that is root's, write to a disk."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.harness import Gunicorn

    Serve = Callable[..., Gunicorn]

# Loaded by the master, as hashlib is, which Gunicorn asks for: the workers may not be let into the folders of those who
# run the tests.
APP = """\
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
"""

needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="user: only root may have one")


def of_another_user(serve: Serve, worker: str, settings: str = "", workers: int = 1) -> Gunicorn:
    config = f"import hashlib\npreload_app = True\nuser = group = 65534\n{settings}\n"
    return serve("app:app", files={"app.py": APP, "gunicorn.conf.py": config}, worker=worker, workers=workers)


@needs_root
def test_workers_of_another_user_are_replaced(serve: Serve, worker: str) -> None:
    """`max_requests`, where the master is root's, and its workers may not signal it."""
    server = of_another_user(serve, worker, "max_requests = 5")
    server.wait_log("Ready in")
    [first] = server.workers()
    assert os.stat(f"/proc/{first}").st_uid == 65534

    def replaced() -> bool:
        assert server.get().text == "hello"
        time.sleep(0.02)
        return first not in server.workers()

    until(replaced, "a worker in the place of the first")
    assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log


@needs_root
def test_workers_of_another_user_leave_when_they_are_told_to(serve: Serve, worker: str) -> None:
    """Also such as are to be replaced, and would take one more worker back."""
    server = of_another_user(serve, worker, "max_requests = 1\ngraceful_timeout = 60", workers=2)
    server.wait_log("Ready in")
    assert server.get().text == "hello"
    server.wait_log("Limit of 1 request reached")
    assert server.stop_gracefully() == 0
    # None of them was killed.
    assert server.log.count("Worker exiting") == server.log.count("Booting worker")
    assert "Traceback" not in server.log


NOWHERE = """\
import os
import tempfile

def nowhere(*args):
    raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/var/tmp', '/usr/tmp', '/srv']")

# As with `docker run --read-only`.
tempfile._get_default_tempdir = nowhere
max_requests = 5
timeout = 2

def when_ready(server):
    mask = os.umask(0o022)
    os.umask(mask)
    server.log.info("umask %o", mask)
"""


@pytest.mark.parametrize("folder", ["", "/dev/shm"])  # noqa: S108 - it is what is asked for
def test_nothing_is_written_but_the_heartbeat(serve: Serve, worker: str, folder: str) -> None:
    if not (os.access(folder, os.W_OK) if folder else hasattr(os, "memfd_create")):
        pytest.skip("neither /dev/shm nor files in memory")
    config = f"{NOWHERE}worker_tmp_dir = {folder or None!r}\n"
    server = serve("app:app", files={"app.py": APP, "gunicorn.conf.py": config}, worker=worker)
    server.wait_log("Ready in")
    [first] = server.workers()
    # For longer than it would live without a heartbeat.
    time.sleep(4)
    assert server.workers() == [first]
    os.umask(mask := os.umask(0o022))
    assert f"umask {mask:o}" in server.log

    def replaced() -> bool:
        assert server.get().text == "hello"
        return first not in server.workers()

    until(replaced, "a worker in the place of the first")
    assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log


@needs_root
def test_a_worker_that_may_have_no_threads_serves_all_the_same(serve: Serve, worker: str) -> None:
    """Those that watch, and tell of what blocks the loop, are tried for again; nothing else waits for them."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\ntimeout = 2"
    server = of_another_user(serve, worker, limit)
    server.wait_log("Ready in")
    [first] = server.workers()
    assert len(os.listdir(f"/proc/{first}/task")) == 1
    # For longer than it would live without a heartbeat.
    time.sleep(4)
    assert server.get().text == "hello"
    assert server.workers() == [first]
    assert server.stop_gracefully() == 0
    assert "Traceback" not in server.log
