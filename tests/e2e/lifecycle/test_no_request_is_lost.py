"""Workers come and go under load, and every request is answered."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import HTTPTOOLS, Gunicorn, alive, until
from tests.e2e.lifecycle.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def loaded(server: Gunicorn) -> Load:
    """Load that has reached every worker."""
    return Load(("127.0.0.1", server.port))


def started(server: Gunicorn, count: int) -> list[int]:
    return [event.pid for event in server.wait_started(count)]


def test_hup(serve: Serve, worker: str) -> None:
    server = serve("lifecycle_app:app", worker=worker, workers=2)
    old = set(started(server, 2))
    with loaded(server) as load:
        server.signal(signal.SIGHUP)
        new = set(started(server, 4)) - old
        until(lambda: not old & set(server.workers()), "the end of the old workers")
        until(lambda: {str(pid) for pid in new} <= set(load.answered) or load.failed, "an answer of each new worker")
        load.stop()
    assert server.wait_events("shutdown", 2)


def test_max_requests(serve: Serve, worker: str) -> None:
    options = ("--max-requests", "150", "--max-requests-jitter", "50")
    server = serve("lifecycle_app:app", *options, worker=worker, workers=2)
    started(server, 2)
    with loaded(server) as load:
        until(lambda: len(server.events("shutdown")) >= 3 or load.failed, "three recycled workers")
        load.stop()
    assert "exited with code" not in server.log


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is one process that gets the connections")
@pytest.mark.parametrize("workers", [1, 2])
def test_max_requests_with_sockets_of_their_own(serve: Serve, workers: int) -> None:
    """Somebody listens, also when the only worker is replaced."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        address = reserved.getsockname()
        options = ("--reuse-port", "--max-requests", "100", "--max-requests-jitter", "20")
        bind = f"127.0.0.1:{address[1]}"
        server = serve("lifecycle_app:app", *options, worker=HTTPTOOLS, workers=workers, bind=bind)
        started(server, workers)
        with Load(address) as load:
            until(lambda: len(server.events("shutdown")) >= 3 or load.failed, "three recycled workers")
            load.stop()
        assert "reuse_port with one worker" not in server.log


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is one process that gets the connections")
def test_hup_with_sockets_of_their_own(serve: Serve, worker: str) -> None:
    with socket.socket() as reserved:
        # Bound and not listening: nobody else gets the port, and no connection comes here.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        address = reserved.getsockname()
        server = serve("lifecycle_app:app", "--reuse-port", worker=worker, workers=2, bind=f"127.0.0.1:{address[1]}")
        old = set(started(server, 2))
        with Load(address) as load:
            server.signal(signal.SIGHUP)
            started(server, 4)
            until(lambda: not old & set(server.workers()), "the end of the old workers")
            load.stop()
        assert len(server.events("shutdown")) == 2


def test_ttin_and_ttou(serve: Serve) -> None:
    server = serve("lifecycle_app:app", worker=HTTPTOOLS)
    started(server, 1)
    with loaded(server) as load:
        for expected in (2, 3):
            server.signal(signal.SIGTTIN)
            started(server, expected)
        for gone in (1, 2):
            server.signal(signal.SIGTTOU)
            server.wait_events("shutdown", gone)
        until(lambda: len(server.workers()) == 1 or load.failed, "one worker")
        load.stop()


def test_usr2_then_term_of_the_old_master(serve: Serve) -> None:
    server = serve("lifecycle_app:app", "--pid", "gunicorn.pid", worker=HTTPTOOLS, workers=2, script=True)
    old = set(started(server, 2))
    with loaded(server) as load:
        server.signal(signal.SIGUSR2)
        new_master = int(until(lambda: server.read("gunicorn.pid.2"), "the pidfile of the new master"))
        new = set(started(server, 4)) - old
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        until(lambda: {str(pid) for pid in new} <= set(load.answered) or load.failed, "an answer of each new worker")
        load.stop()
    os.kill(new_master, signal.SIGTERM)
    until(lambda: not alive(new_master), "the end of the new master")
    assert len(server.events("shutdown")) == 4
