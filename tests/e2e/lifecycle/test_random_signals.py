"""Signals to master and workers in random order, while a client asks: nothing is lost but by a kill, or left behind."""

from __future__ import annotations

import random
import signal
import threading
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.e2e.harness import H11, HTTPTOOLS, Gunicorn, alive

SIGNALS = ["HUP", "HUP", "TTIN", "TTIN", "TTOU", "USR1", "WINCH", "worker TERM", "worker KILL", "worker USR1", "pause"]
APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""


class Asking(threading.Thread):
    """A client that asks, each time on a connection of its own, until it is told to end."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.answered = 0
        self.failed: list[str] = []
        self.ends = threading.Event()

    def run(self) -> None:
        while not self.ends.is_set():
            try:
                assert httpx.get(self.url, timeout=30).text == "ok"
                self.answered += 1
            except Exception as exc:  # noqa: BLE001 - it is told by the test
                self.failed.append(repr(exc))
            time.sleep(0.02)


def happen(gunicorn: Gunicorn, what: str, rng: random.Random) -> None:
    """One of the signals; a worker that it is for may have gone."""
    whom, _, name = what.rpartition(" ")
    if what == "pause":
        time.sleep(0.5)
        return
    with suppress(ProcessLookupError, IndexError):
        pid = rng.choice(gunicorn.workers()) if whom else None
        gunicorn.signal(getattr(signal, f"SIG{name}"), pid)


@pytest.mark.long
@pytest.mark.parametrize("worker", [HTTPTOOLS, H11, "uvicorn_worker.UvicornH2CWorker"])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_left(worker: str, seed: int) -> None:
    rng = random.Random(seed)
    steps = [rng.choice(SIGNALS) for _ in range(12)]
    end = rng.choice(["TERM", "INT", "QUIT"])
    options: list[Any] = ["--pid", "pid", "--graceful-timeout", "5"]
    with Gunicorn("ok:app", *options, worker=worker, workers=2, files={"ok.py": APP}) as gunicorn:
        gunicorn.wait_log("Ready")
        asking = Asking(gunicorn.url)
        asking.start()
        try:
            for step in steps:
                happen(gunicorn, step, rng)
                time.sleep(rng.choice([0, 0.05, 0.5]))
            # All may have been told to leave.
            gunicorn.signal(signal.SIGTTIN)
            time.sleep(1)
            assert alive(gunicorn.pid)
        finally:
            asking.ends.set()
            asking.join()
        gunicorn.signal(getattr(signal, f"SIG{end}"))
        assert gunicorn.wait_exit() == 0, (steps, end)
        assert asking.answered, steps
        assert "worker KILL" in steps or asking.failed == [], steps
        assert gunicorn.read("pid") == ""
        assert gunicorn.leftovers() == [], steps
