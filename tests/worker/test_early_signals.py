"""A worker that is told to leave in its first moment, when it still has the handlers of its master."""

from __future__ import annotations

import queue
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from uvicorn_worker.worker.early_signals import keep_signals

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Master:
    """Its queue is that of Gunicorn 23 (a list), or that of Gunicorn 27."""

    def __init__(self, kind: str) -> None:
        self.SIG_QUEUE: Any = [] if kind == "list" else queue.SimpleQueue()

    def signal(self, sig: int, frame: object) -> None:
        if isinstance(self.SIG_QUEUE, list):
            self.SIG_QUEUE.append(sig)
        else:
            self.SIG_QUEUE.put_nowait(sig)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {sig: signal.getsignal(sig) for sig in STOPS}
    yield
    for sig, handler in before.items():
        signal.signal(sig, handler)


@pytest.mark.parametrize("kind", ["list", "queue"])
def test_what_the_master_has_kept_in_the_child_is_told(kind: str) -> None:
    master, told = Master(kind), []
    for sig in STOPS:
        signal.signal(sig, master.signal)
    signal.raise_signal(signal.SIGTERM)
    master.signal(signal.SIGHUP, None)
    keep_signals(lambda sig, _: told.append(sig))
    assert told == [signal.SIGTERM]
    signal.raise_signal(signal.SIGQUIT)
    assert told == [signal.SIGTERM, signal.SIGQUIT]


def test_handlers_of_others_keep_nothing() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    told: list[int] = []
    keep_signals(lambda sig, _: told.append(sig))
    assert told == []
    signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGTERM]
