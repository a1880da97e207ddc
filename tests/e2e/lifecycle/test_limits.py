"""Limits on connections, file descriptors and memory."""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import HTTPTOOLS, Gunicorn
from tests.e2e.raw import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def waits(connection: Connection) -> bool:
    """Whether no answer comes soon."""
    connection.socket.settimeout(0.3)
    try:
        connection.response()
    except TimeoutError:
        return True
    finally:
        connection.socket.settimeout(20)
    return False


def test_worker_connections(serve: Serve) -> None:
    server = serve("lifecycle_app:app", "--worker-connections", "2", worker=HTTPTOOLS)
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(server.connect()) for _ in range(3))
        assert first.get().status == 200
        assert second.get().status == 200
        third.request()
        assert waits(third)
        first.close()
        assert third.response().status == 200
    server.wait_log("worker_connections. = 2 again, after ")
    assert server.log.count("worker_connections) = 2 are held") == 1


def test_worker_connections_left_alone_limit_nothing(serve: Serve) -> None:
    server = serve("lifecycle_app:app", worker=HTTPTOOLS)
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(1050)]
        for connection in connections[-60:]:
            assert connection.get().status == 200


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are set as on Linux")
def test_running_out_of_file_descriptors(serve: Serve) -> None:
    server = serve("lifecycle_app:app", worker=HTTPTOOLS)
    assert server.get().status_code == 200
    (pid,) = server.workers()
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    with ExitStack() as stack:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 8, hard))
        connections = [stack.enter_context(server.connect()) for _ in range(20)]
        for connection in connections:
            connection.request()
        server.wait_log("Accepting no connections for now: Too many open files")
        # Those beyond the limit wait, and none of them is dropped.
        for connection in connections:
            assert connection.response().status == 200
            connection.close()
    server.wait_log("Accepting connections again, after ")
    assert server.get().status_code == 200
    assert server.log.count("Accepting no connections for now") == 1
    assert server.workers() == [pid]


def test_limit_max_memory(serve: Serve) -> None:
    server = serve("lifecycle_app:app", worker=HTTPTOOLS, env={"UVICORN_LIMIT_MAX_MEMORY": "300"})
    first = server.get().headers["x-pid"]
    with server.connect() as connection:
        connection.request("/hold?mb=300")
        assert connection.response().status == 200
    server.wait_log("MiB of memory, more than limit_max_memory = 300, serving on until a replacement has started.")
    server.wait_events("shutdown", 1)
    assert server.get().headers["x-pid"] != first
    assert "exited with code" not in server.log
