"""Request metrics, as they arrive at a statsd daemon."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.glogging import Logger
from gunicorn.instrument.statsd import Statsd

from tests.http1.apps import body as body_of
from tests.http1.apps import respond, start
from tests.scripted import get
from tests.worker.cycles import cycle_of, headless_cycle, records_of, settings
from uvicorn_worker.worker.statsd import metrics_hook, never_wait


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with records_of("gunicorn.access", "gunicorn.error"):
        yield


@pytest.fixture
def daemon() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        yield sock


def log_of(sock: socket.socket, **values: Any) -> Any:
    name = sock.getsockname()
    host = f"unix://{name}" if isinstance(name, str) else "{}:{}".format(*name)
    return Statsd(settings(statsd_host=host, **values))


def received(sock: socket.socket, count: int = 3) -> list[str]:
    return [re.sub(r":[\d.]+\|(ms|h)", ":N|time", sock.recv(1000).decode()) for _ in range(count)]


def test_what_gunicorn_sends(daemon: socket.socket) -> None:
    log = log_of(daemon)
    metrics_hook(log)(cycle_of(get(), respond(start(404), body_of(b""))))
    assert received(daemon) == [
        "gunicorn.request.duration:N|time",
        "gunicorn.requests:1|c|@1.0",
        "gunicorn.request.status.404:1|c|@1.0",
    ]
    log.sock.close()


def test_prefix_and_tags(daemon: socket.socket) -> None:
    log = log_of(daemon, statsd_prefix="shop", dogstatsd_tags="env:test")
    metrics_hook(log)(headless_cycle(400))
    assert received(daemon)[2] == "shop.gunicorn.request.status.400:1|c|@1.0|#env:test"
    log.sock.close()


def test_the_duration_is_in_milliseconds(daemon: socket.socket) -> None:
    log, cycle = log_of(daemon), headless_cycle(200)
    cycle.started -= 2.5
    metrics_hook(log)(cycle)
    seen = re.fullmatch(r"gunicorn\.request\.duration:([\d.]+)\|(ms|h)", daemon.recv(1000).decode())
    assert seen is not None
    assert 2500 <= float(seen[1]) < 60_000
    log.sock.close()


def test_no_line_is_written(daemon: socket.socket) -> None:
    log = log_of(daemon, accesslog="/dev/null")
    with records_of("gunicorn.access") as records:
        metrics_hook(log)(headless_cycle(200))
    assert records.lines == []
    log.sock.close()


class TestASlowDaemon:
    def test_metrics_are_lost_and_nothing_waits(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(str(tmp_path / "s"))
            daemon.settimeout(20)
            log = log_of(daemon)
            never_wait(log)
            with records_of("gunicorn.error") as records:
                for _ in range(2000):
                    log.increment("a.count", 1)
            assert records.lines == []
            assert daemon.recv(1000) == b"a.count:1|c|@1.0"
            log.sock.close()

    def test_a_logger_without_a_socket_is_left_alone(self, daemon: socket.socket) -> None:
        never_wait(Logger(settings()))
        log = log_of(daemon)
        log.sock.close()
        log.sock = None  # as Gunicorn leaves it when the daemon can't be found
        never_wait(log)
        assert log.sock is None
        metrics_hook(log)(headless_cycle(200))
