"""TERM lets requests finish, QUIT and INT do not; whichever way, a worker exits through Gunicorn's normal path."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from inspect import getsource
from typing import TYPE_CHECKING

import pytest
from gunicorn.arbiter import Arbiter

from tests.e2e.harness import HTTPTOOLS, Gunicorn, alive, control_socket_option, until
from tests.e2e.raw import Connection, Truncated

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]

#: Seconds: of requests and of a grace that nobody waits for, far above what a wait for an event is given.
LONG = 600


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def sleeping(server: Gunicorn, stack: ExitStack, count: int, seconds: float) -> list[Connection]:
    """``count`` connections whose request is being served."""
    connections = [stack.enter_context(server.connect()) for _ in range(count)]
    for connection in connections:
        connection.request(f"/sleep?s={seconds:g}")
    server.wait_events("sleeping", count)
    return connections


def gave_up(connection: Connection) -> bool:
    """Whether the server told the client, in one way or the other, that its request was not completed."""
    try:
        return connection.response().status == 503
    except Truncated:
        return True


def test_term_finishes_requests_in_flight_and_exits_cleanly(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "-c", "python:hooks", worker=worker, workers=2)
    workers = sorted(event.pid for event in server.wait_started(2))
    with ExitStack() as stack:
        connections = sleeping(server, stack, 8, 1.5)
        server.signal(signal.SIGTERM)
        responses = [connection.response() for connection in connections]
        assert [response.body for response in responses] == [b"slept"] * 8
        assert all(response.closes for response in responses)
        assert [connection.rest() for connection in connections] == [b""] * 8
    assert server.wait_exit() == 0
    for name in ("shutdown", "worker_exit", "atexit"):
        assert sorted(event.pid for event in server.events(name)) == workers, name
    assert not server.events("worker_int")
    assert server.leftovers() == []
    assert "Traceback" not in server.log


def test_term_closes_the_listening_socket_at_once(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--graceful-timeout", str(LONG), worker=worker)
    with server.connect() as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\na")
        server.wait_events("request")
        server.signal(signal.SIGTERM)
        until(lambda: refuses(server.port), "new connections to be refused")
        connection.send(b"b")  # only now the request can be done
        assert connection.response().status == 200
    assert server.wait_exit() == 0


def test_term_lets_a_client_finish_its_upload(serve: Serve, worker: str) -> None:
    server = serve("probe:app", worker=worker)
    with server.connect() as connection, server.connect() as idle:
        assert idle.get("/").status == 200
        connection.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n" + b"a" * 100_000)
        server.wait_events("request", 2)
        server.signal(signal.SIGTERM)
        assert idle.rest() == b""  # a quiet connection is closed: the stop is under way
        connection.send(b"a" * 100_000)
        response = connection.response()
        assert response.body.startswith(b"200000 ")
        assert response.closes
    assert server.wait_exit() == 0


def test_graceful_timeout_bounds_the_wait(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--graceful-timeout", "2", "-c", "python:hooks", worker=worker)
    with ExitStack() as stack:
        (connection,) = sleeping(server, stack, 1, LONG)
        server.signal(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert gave_up(connection)
    assert len(server.events("shutdown")) == 1
    assert len(server.events("worker_exit")) == 1
    assert "SIGKILL" not in server.log


@pytest.mark.parametrize("signum", [signal.SIGQUIT, signal.SIGINT], ids=lambda signum: signum.name)
def test_quit_and_int_are_quick(serve: Serve, worker: str, signum: signal.Signals) -> None:
    options = ("--graceful-timeout", str(LONG), "-c", "python:hooks")
    server = serve("probe:app", *options, worker=worker, workers=2)
    workers = sorted(event.pid for event in server.wait_started(2))
    with ExitStack() as stack:
        connections = sleeping(server, stack, 4, LONG)
        server.signal(signum)
        assert server.wait_exit() == 0
        assert all(gave_up(connection) for connection in connections)
    for name in ("shutdown", "worker_int", "worker_exit", "atexit"):
        assert sorted(event.pid for event in server.events(name)) == workers, name
    assert server.leftovers() == []


IMPORTING = """
import time
from eventlog import event

event("importing")
while True:
    time.sleep(0.05)
"""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
def test_who_imports_the_application_is_not_waited_for(serve: Serve, worker: str, signum: signal.Signals) -> None:
    options = ("--graceful-timeout", str(LONG), "--timeout", str(LONG), "-c", "python:hooks")
    server = serve("slow:app", *options, worker=worker, workers=2, files={"slow.py": IMPORTING})
    workers = sorted(event.pid for event in server.wait_events("importing", 2))
    server.signal(signum)
    assert server.wait_exit() == 0
    assert sorted(event.pid for event in server.events("worker_exit")) == workers
    assert "Traceback" not in server.log
    assert server.leftovers() == []


TOLD_AGAIN = """
import os, signal, sys

class Late:
    # Goes when Python has taken its handlers of signals back.
    def __del__(self, kill=os.kill, arguments=(os.getpid, signal.SIGTERM)):
        kill(arguments[0](), arguments[1])

def worker_exit(server, worker):
    os.kill(os.getpid(), signal.SIGTERM)
    sys.late = Late()
"""


def test_who_was_told_in_its_import_is_told_again(serve: Serve, worker: str) -> None:
    # A master that is told to stop between two forks tells the second worker of it twice: with Gunicorn 23 by the queue
    # it has inherited, and when the first is heard. Killed by that, it would be reported as an error.
    options = ("--graceful-timeout", str(LONG), "--timeout", str(LONG), "-c", "python:told_again")
    files = {"slow.py": IMPORTING, "told_again.py": TOLD_AGAIN}
    server = serve("slow:app", *options, worker=worker, files=files)
    server.wait_events("importing", 1)
    assert server.stop_gracefully() == 0
    assert "was sent" not in server.log
    assert "[ERROR]" not in server.log


STARLETTE = """
import contextlib
from eventlog import event
from starlette.applications import Starlette

@contextlib.asynccontextmanager
async def lifespan(app):
    event("startup")
    yield
    event("shutdown")

app = Starlette(lifespan=lifespan)
"""


@pytest.mark.parametrize("module", ["gunicorn", "uvicorn_worker.master"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGABRT], ids=lambda signum: signum.name)
def test_a_lifespan_of_starlette_is_shut_down(serve: Serve, module: str, signum: signal.Signals) -> None:
    """It says that its shutdown has failed where it is cancelled instead."""
    argv = ["-b", "127.0.0.1:0", "-k", HTTPTOOLS, *control_socket_option(), "starlette_lifespan:app"]
    server = serve(module=module, argv=argv, files={"starlette_lifespan.py": STARLETTE})
    pid = server.wait_started(1)[0].pid
    # It has started altogether, and is idle again.
    assert server.get().status_code == 404
    # ABRT is for a worker, INT for the master.
    server.signal(signum, *([pid] if signum == signal.SIGABRT else []))
    assert server.wait_events("shutdown", 1)[0].pid == pid
    if signum == signal.SIGINT:
        assert server.wait_exit() == 0
    else:
        until(lambda: not alive(pid), "the end of the worker")
    assert "CancelledError" not in server.log
    assert "shutdown failed" not in server.log


@pytest.mark.parametrize("signum", [signal.SIGQUIT, signal.SIGINT], ids=lambda signum: signum.name)
def test_quit_after_term_ends_a_draining_worker(serve: Serve, worker: str, signum: signal.Signals) -> None:
    server = serve("probe:app", "--graceful-timeout", str(LONG), "-c", "python:hooks", worker=worker)
    with ExitStack() as stack:
        (connection,) = sleeping(server, stack, 1, LONG)
        idle = stack.enter_context(server.connect())
        assert idle.get("/").status == 200
        (pid,) = server.workers()
        server.signal(signal.SIGTERM, pid)
        assert idle.rest() == b""
        assert alive(pid)
        server.signal(signum, pid)
        until(lambda: not alive(pid), "the end of the worker")
        assert gave_up(connection)
    assert [event.pid for event in server.events("worker_int")] == [pid]
    assert pid in [event.pid for event in server.events("worker_exit")]
    assert server.get().headers["x-pid"] != str(pid)


@pytest.mark.skipif("SIG_QUEUE" not in getsource(Arbiter.stop), reason="this Gunicorn takes no signal while it stops")
def test_quit_after_term_ends_a_draining_master(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--graceful-timeout", str(LONG), "-c", "python:hooks", worker=worker)
    with ExitStack() as stack:
        (connection,) = sleeping(server, stack, 1, LONG)
        idle = stack.enter_context(server.connect())
        assert idle.get("/").status == 200
        server.signal(signal.SIGTERM)
        assert idle.rest() == b""
        server.signal(signal.SIGQUIT)
        assert server.wait_exit() == 0
        assert gave_up(connection)
    assert len(server.events("worker_int")) == 1


def test_workers_of_a_killed_master_drain_and_go(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "-c", "python:hooks", worker=worker, workers=2)
    workers = sorted(event.pid for event in server.wait_started(2))
    with ExitStack() as stack:
        (connection,) = sleeping(server, stack, 1, 2)
        os.kill(server.pid, signal.SIGKILL)
        server.wait_exit()
        response = connection.response()
        assert (response.body, response.closes) == (b"slept", True)
    until(lambda: not server.leftovers(), "the end of the workers")
    assert sorted(event.pid for event in server.events("shutdown")) == workers


def test_an_application_that_exits_does_not_end_its_worker(serve: Serve, worker: str) -> None:
    """In the first step of a request too, which runs inside the event loop's read where tasks start eagerly."""
    server = serve("probe:app", worker=worker)
    first = server.wait_started()[0].pid
    with server.connect() as connection:
        connection.request("/exit?code=7")
        assert connection.response().status == 500
    assert server.get().headers["x-pid"] == str(first)
