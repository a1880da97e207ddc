"""Warnings and errors of uvicorn.error are counted in statsd as those of Gunicorn's own log are."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.instrument.statsd import Statsd

from tests.worker.cycles import settings
from uvicorn_worker.worker.statsd import count_lines


def test_lines_are_counted_once_by_their_level(monkeypatch: Any) -> None:
    counted: list[tuple[str, int]] = []
    monkeypatch.setattr(Statsd, "increment", lambda self, name, value, *rest: counted.append((name, value)))
    log = Statsd(settings(statsd_host="127.0.0.1:1"))
    lines = logging.getLogger("uvicorn.error")
    lines.setLevel(logging.INFO)
    try:
        count_lines(log)
        count_lines(log)
        lines.info("all is well")
        lines.warning("careful")
        lines.error("no")
        lines.error("no", exc_info=KeyError("x"))
        lines.critical("the end")
    finally:
        if log.sock is not None:
            log.sock.close()
    assert counted == [(f"gunicorn.log.{kind}", 1) for kind in ("warning", "error", "exception", "critical")]


def test_no_other_logger_is_asked() -> None:
    before = list(logging.getLogger("uvicorn.error").filters)
    count_lines(logging.getLogger("another"))
    assert logging.getLogger("uvicorn.error").filters == before
