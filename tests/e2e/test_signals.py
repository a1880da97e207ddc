"""The signals that do not end the server, and what apps see of signal handling."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def test_term_handler_belongs_to_an_object_with_should_exit(serve: Serve, worker: str) -> None:
    # sse-starlette looks there to learn that the server is stopping
    assert serve("probe:app", worker=worker).get("/report").json()["should_exit"] is True


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH], ids=lambda signum: signum.name)
def test_worker_ignores_signals_meant_for_the_master(serve: Serve, worker: str, signum: signal.Signals) -> None:
    server = serve("probe:app", worker=worker)
    with server.connect() as connection:
        pid = int(connection.get("/").headers["x-pid"])
        server.signal(signum, pid)
        for _ in range(3):
            assert connection.get("/").headers["x-pid"] == str(pid)
    assert server.workers() == [pid]
    assert "Traceback" not in server.log


def test_usr1_reopens_the_log_files(serve: Serve, worker: str) -> None:
    logs = ("--access-logfile", "access.log", "--error-logfile", "error.log")
    server = serve("probe:app", *logs, worker=worker)

    def logged(path: str) -> bool:
        server.get(path)
        return path in server.read("access.log")

    until(lambda: logged("/before"), "the access line")
    for name in ("access.log", "error.log"):
        (server.dir / name).rename(server.dir / f"{name}.1")
    server.signal(signal.SIGUSR1)
    until(lambda: logged("/meanwhile"), "a line in the new access log")
    old = server.read("access.log.1")
    assert "/before" in old
    until(lambda: logged("/after"), "the access line")
    assert server.get("/fail").status_code == 500
    until(lambda: "the view went wrong" in server.read("error.log"), "the traceback in the new error log")
    assert server.read("access.log.1") == old
    assert "the view went wrong" not in server.read("error.log.1")


def test_hup_replaces_the_workers_while_requests_go_on(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker, workers=2)
    old = {event.pid for event in server.wait_started(2)}
    enough = threading.Event()

    def ask() -> list[int]:
        answered_by = []
        while not enough.is_set():
            response = server.get()
            assert response.text == "Hello, world!"
            answered_by.append(int(response.headers["x-pid"]))
        return answered_by

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        try:
            server.signal(signal.SIGHUP)
            server.wait_started(4)
            until(lambda: not old & set(server.workers()), "the end of the old workers")
        finally:
            enough.set()
        answered_by = {pid for client in clients for pid in client.result()}
    new = {event.pid for event in server.events("startup")} - old
    assert len(new) == 2
    assert answered_by & new
    assert set(server.workers()) == new
    assert {event.pid for event in server.events("shutdown")} == old
