"""``timeout`` kills a worker whose event loop stands still, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import H11, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


@pytest.mark.long
def test_long_startup_and_long_request_outlive_the_timeout(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--timeout", "2", worker=worker, env={"PROBE_LIFESPAN": "4"})
    with server.connect() as connection:
        assert connection.get("/").status == 200
        assert connection.get("/sleep?s=5").body == b"slept"
    assert "WORKER TIMEOUT" not in server.log
    assert [event.pid for event in server.events("startup")] == server.workers()


def test_blocked_loop_is_killed_with_its_stack_in_the_log(serve: Serve) -> None:
    server = serve("probe:app", "--timeout", "2", "-c", "python:hooks", worker=H11)
    blocked = server.wait_started()[0].pid
    with server.connect() as connection:
        connection.request("/block?s=60")
        server.wait_log(rf"WORKER TIMEOUT \(pid:{blocked}\)")
        assert connection.response().status == 503
    until(lambda: blocked not in server.workers(), "the end of the blocked worker")
    assert [event.pid for event in server.wait_events("worker_abort")] == [blocked]
    assert "view_that_blocks" in server.log
    assert server.get().headers["x-pid"] == str(server.wait_started(2)[1].pid)
    assert len(server.workers()) == 1
