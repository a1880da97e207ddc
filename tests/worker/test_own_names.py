"""Subclasses of the worker that have attributes and methods of their own, whatever these are called."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from gunicorn.workers.base import Worker

from tests.names import PLAUSIBLE, names_of, not_own
from tests.worker.process import Start
from uvicorn_worker.core.config import RULES
from uvicorn_worker.server import Config
from uvicorn_worker.server.config import PLACES
from uvicorn_worker.worker.config import WorkerConfig
from uvicorn_worker.worker.surroundings import WorkerSurroundings
from uvicorn_worker.worker.worker import UvicornH2CWorker, UvicornH11Worker, UvicornWorker

# What uvicorn's worker has, what Gunicorn asks for or a worker of its own has, and what docs/api.md tells.
WORKERS = {
    "CONFIG_KWARGS", "_install_sigquit_handler", "_serve", "alive", "callback_notify", "check_config", "config",
    "configure", "loop", "servers", "setup", "wsgi", *dir(Worker), "age", "booted", "nr", "pid", "tmp",
}  # fmt: skip

# Gunicorn's workers have a `log`.
NAMES = [name for name in PLAUSIBLE if name not in WORKERS and name != "log"]


def refuses(*args: object, **kwargs: object) -> Any:
    raise AssertionError("it was called")


def with_methods() -> Any:
    return type("Methods", (UvicornH11Worker,), dict.fromkeys(NAMES, refuses))


def with_attributes() -> Any:
    class Sets(UvicornH11Worker):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for name in (*NAMES, "loop", "servers"):
                setattr(self, name, refuses)
            for name in NAMES:
                setattr(self.config, name, refuses)

    return Sets


def with_properties() -> Any:
    return type("Properties", (UvicornH11Worker,), dict.fromkeys(NAMES, property(refuses)))


@pytest.mark.parametrize("kind", [with_methods, with_attributes, with_properties])
def test_it_serves_and_ends(start: Start, kind: Any) -> None:
    process = start(kind=kind(), timeout=1).serves()
    assert process.get() == (200, b"ok")
    # A heartbeat, and what is done with it.
    before = process.worker.tmp.last_update()
    process.wait(lambda: process.worker.tmp.last_update() > before)
    process.tell(signal.SIGTERM)
    assert process.code() == 0
    assert "it was called" not in process.log


def test_every_name_that_is_not_gunicorns_is_plainly_ours() -> None:
    for kind in (UvicornWorker, UvicornH11Worker, UvicornH2CWorker):
        assert not_own(names_of(kind) - WORKERS) == []


def test_of_its_config_too() -> None:
    config = WorkerConfig(WorkerSurroundings(None))
    assert not_own(names_of(WorkerConfig, config) - {*RULES} - {*PLACES} - names_of(Config)) == []


def test_hooks_find_what_a_worker_of_gunicorns_has(start: Start) -> None:
    class Looks(UvicornH11Worker):
        async def callback_notify(self) -> None:
            self.log.info("loop %s, servers %d", self.loop.is_running(), len(self.servers))
            await super().callback_notify()

    process = start(kind=Looks, timeout=1).serves()
    process.wait_log("loop True, servers 1")
    process.tell(signal.SIGTERM)
    assert process.code() == 0
    assert isinstance(UvicornWorker.loop, type(UvicornWorker.servers))
