"""``max_requests``: workers are replaced, and a client that heeds ``Connection: close`` never notices."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.harness import PATIENCE, Gunicorn, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def test_workers_recycle_without_an_error_for_a_keep_alive_client(serve: Serve, worker: str) -> None:
    options = ("--max-requests", "10", "--max-requests-jitter", "5", "-c", "python:hooks")
    server = serve("probe:app", *options, worker=worker)
    answered: Counter[str] = Counter()
    connection = server.connect()
    deadline = time.monotonic() + PATIENCE
    try:
        while len(answered) < 4 and time.monotonic() < deadline:
            response = connection.get("/")
            assert response.body == b"Hello, world!"
            answered[response.headers["x-pid"]] += 1
            if response.closes:
                assert connection.rest() == b""
                connection.close()
                connection = server.connect()
    finally:
        connection.close()
    *recycled, _last = answered.values()
    assert len(recycled) >= 3
    # 10 to 15, and what came while its replacement has started.
    assert all(count >= 10 for count in recycled), answered
    exits = [str(event.pid) for event in server.wait_events("worker_exit", len(recycled))]
    assert exits[: len(recycled)] == list(answered)[: len(recycled)]
    for name in ("worker_exit_age", "child_exit_age"):
        ages = [event.detail for event in server.wait_events(name, len(recycled))]
        assert ages[: len(recycled)] == [str(number) for number in range(1, len(recycled) + 1)]
    assert len(server.events("shutdown")) >= len(recycled)
    assert "exited with code" not in server.log


def test_fresh_connections_see_no_error_either(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "--max-requests", "10", worker=worker, workers=2)
    pids = set()

    def several() -> bool:
        pids.add(server.get().headers["x-pid"])
        return len(pids) >= 4

    until(several, "workers that were replaced")
