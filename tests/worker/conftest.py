"""Fixtures of the tests of workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.records import kept
from tests.worker.process import Process, Start, app
from uvicorn_worker.board import board as module
from uvicorn_worker.worker import loggers
from uvicorn_worker.worker import worker as worker_module
from uvicorn_worker.worker.base import BaseWorker
from uvicorn_worker.worker.worker import UvicornH11Worker, UvicornWorker


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the test's own, which nobody else hears."""
    with kept("tests.worker.trace") as (logger,):
        logger.propagate = False
        yield logger


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts workers of one master, which is the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module.Board, "_of_master", None)
    monkeypatch.setattr(BaseWorker, "_own_token", None)
    monkeypatch.setattr(BaseWorker, "_own_shares", None)
    # How another test's master has left the loggers is nothing to this one's.
    monkeypatch.setattr(loggers, "_followers", {})
    monkeypatch.setattr(loggers, "_levels", {})
    monkeypatch.setattr(worker_module, "_WAIT_FOR_MASTER", 0.2)
    made: list[Process] = []

    def start(load: Callable[[], Any] = lambda: app, kind: type[UvicornWorker] = UvicornH11Worker, **more: Any) -> Any:
        made.append(Process(tmp_path, load, kind, **more))
        return made[-1]

    yield start
    for each in made:
        each.close()
