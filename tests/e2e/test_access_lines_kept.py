"""No access line is lost: at a stop, when files are reopened, when a blocked worker is aborted."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import H11, HTTPTOOLS, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.harness import Gunicorn

    Serve = Callable[..., Gunicorn]

FORM = ("--access-logfile", "access.log", "--access-logformat", "%(U)s")


def pipelined(server: Gunicorn, paths: list[str]) -> None:
    with server.connect() as connection:
        connection.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
        for _ in paths:
            assert connection.response().status == 200


def test_at_a_stop_and_with_several_workers(serve: Serve) -> None:
    server = serve("log_setups:app", *FORM, worker=HTTPTOOLS, workers=2)
    expected = []
    for number in range(6):
        paths = [f"/{number}/{each}" for each in range(50)]
        pipelined(server, paths)
        expected += paths
    assert server.stop_gracefully() == 0
    assert sorted(server.read("access.log").splitlines()) == sorted(expected)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGABRT])
def test_at_a_quick_end(serve: Serve, worker: str, sig: signal.Signals) -> None:
    server = serve("log_setups:app", *FORM, worker=worker)
    paths = [f"/{each}" for each in range(50)]
    pipelined(server, paths)
    (pid,) = server.workers()
    server.signal(sig, pid)
    until(lambda: pid not in server.workers(), "the end of the worker")
    assert server.read("access.log").splitlines() == paths


def test_when_files_are_reopened(serve: Serve) -> None:
    server = serve("log_setups:app", *FORM, worker=H11)
    pipelined(server, ["/before"])
    until(lambda: server.read("access.log"), "the line")
    (server.dir / "access.log").rename(server.dir / "access.log.1")
    server.signal(signal.SIGUSR1)
    until((server.dir / "access.log").exists, "the new file")
    # The master opens its files first, and tells the worker then.
    until(lambda: server.get("/ping").content and server.read("access.log"), "the worker's new file")
    pipelined(server, ["/after"])
    server.stop_gracefully()
    assert server.read("access.log").splitlines()[-1] == "/after"
    assert server.read("access.log.1").splitlines()[0] == "/before"
