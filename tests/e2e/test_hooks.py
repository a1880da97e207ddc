"""Gunicorn's hooks: each is called once, at its time, with objects that can be used."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[..., Gunicorn]


def details(server: Gunicorn, name: str, count: int = 1) -> list[Any]:
    return [json.loads(event.detail) for event in server.wait_events(name, count)]


def test_request_hooks(serve: Serve, worker: str) -> None:
    server = serve("probe:app", "-c", "python:request_hooks", worker=worker)
    with server.connect() as connection:
        first = connection.get("/view?a=1", "X-In: incoming")
        refused = connection.get("/refused")
        failed = connection.get("/fail")
        seen = details(server, "post_request", 3)
    assert (first.status, refused.status, failed.status) == (200, 500, 500)
    (pid, *request), *_ = details(server, "pre_request", 3)
    assert [pid] == server.workers()
    assert request == ["GET", "/view?a=1", "incoming"]
    view, refusal, failure = seen
    assert view[:4] == ["/view?a=1", "/view", "200 OK", 13]
    assert view[4]["x-out"] == "outgoing"
    assert refusal[2] == failure[2] == "500 Internal Server Error"
    assert [event.detail for event in server.events("request")] == ["/view", "/fail"]
    assert server.log.count("Exception in pre_request hook: GET /refused") == 1
    assert "RuntimeError: not this one" in server.log


def test_process_hooks_are_called_once_and_in_order(serve: Serve) -> None:
    server = serve("probe:app", "-c", "python:hooks", worker=HTTPTOOLS)
    server.wait_started()
    (pid,) = server.workers()
    assert server.stop_gracefully() == 0
    names = ["import", "post_worker_init", "startup", "shutdown", "worker_exit", "child_exit"]
    events = [event for event in server.events() if event.name in names]
    assert [event.name for event in events] == names
    # child_exit runs in the master, and names the worker.
    assert [event.pid for event in events[:-1]] == [pid] * 5
    assert (events[-1].pid, events[-1].detail) == (server.pid, str(pid))
    assert server.events("worker_int") == server.events("worker_abort") == []


def test_a_quick_stop_calls_worker_int(serve: Serve) -> None:
    server = serve("probe:app", "-c", "python:hooks", worker=H11)
    server.wait_started()
    (pid,) = server.workers()
    server.signal(signal.SIGQUIT)
    assert server.wait_exit() == 0
    assert [event.pid for event in server.events("worker_int")] == [pid]
    assert [event.pid for event in server.events("worker_exit")] == [pid]
