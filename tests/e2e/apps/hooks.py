"""A Gunicorn configuration file (``-c python:hooks``) whose hooks report that they were called."""

from __future__ import annotations

from typing import Any

from eventlog import event


def worker_int(worker: Any) -> None:
    event("worker_int", worker.pid)


def worker_abort(worker: Any) -> None:
    event("worker_abort", worker.pid)


def worker_exit(server: Any, worker: Any) -> None:
    event("worker_exit", worker.pid)
    event("worker_exit_age", worker.age)


def child_exit(server: Any, worker: Any) -> None:
    event("child_exit", worker.pid)
    event("child_exit_age", worker.age)


def post_worker_init(worker: Any) -> None:
    event("post_worker_init", worker.pid)
