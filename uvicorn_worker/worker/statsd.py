"""Request metrics by Gunicorn's statsd logger, whether or not there is an access log."""

from __future__ import annotations

import logging
import socket
import sys
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from uvicorn_worker.core.runtime import AccessHook, CycleView

__all__ = ["count_lines", "metrics_hook", "never_wait", "statsd_class"]


def statsd_class() -> Any:
    """Gunicorn's statsd logger; None where nobody has imported it, so that no logger can be one."""
    module = sys.modules.get("gunicorn.instrument.statsd")
    return None if module is None else module.Statsd


def _is_statsd(log: Any) -> bool:
    kind = statsd_class()
    return kind is not None and isinstance(log, kind)


class _Status:
    """A response of which only the status is of interest."""

    __slots__ = ("status",)

    def __init__(self, status: int) -> None:
        self.status = status


class _WithoutLine:
    """A statsd logger whose `access` writes metrics and no line; everything else is the logger's own."""

    access_log_enabled = False
    # Where Gunicorn's logger has no access_log_enabled yet, it looks at the settings.
    cfg = SimpleNamespace(accesslog=None, logconfig=None, logconfig_dict=None, logconfig_json=None, syslog=False)

    def __init__(self, log: Any) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def metrics_hook(log: Any) -> AccessHook:
    """Count each response, and measure how long it took, under the names that Gunicorn gives the metrics."""
    quiet = _WithoutLine(log)
    access = statsd_class().access

    def count(cycle: CycleView) -> None:
        elapsed = timedelta(seconds=time.monotonic() - cycle.started)
        access(quiet, _Status(cycle.status), None, None, elapsed)

    return count


class _NeverWaiting:
    """A datagram socket that loses what has no room in the receiver's queue."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, data: bytes) -> None:
        try:
            # A flag of this one call: O_NONBLOCK would be shared with Gunicorn's master. By C's method: what looks for
            # calls that hold up the loop (blockbuster) takes Python's for one.
            socket.SocketType.send(self._sock, data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def never_wait(log: Any) -> None:
    """Let a statsd logger lose metrics rather than hold up the event loop.

    Over a unix socket, sending waits for a daemon that is slow or stopped.
    """
    if _is_statsd(log) and isinstance(log.sock, socket.socket):
        log.sock = _NeverWaiting(log.sock)


class _LineCount(logging.Filter):
    """Counts the lines of a logger as a statsd logger counts those that are logged through it; lets all pass."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            kind = "exception" if record.exc_info and record.levelno == logging.ERROR else record.levelname.lower()
            self._log.increment(f"gunicorn.log.{kind}", 1)
        return True


def count_lines(log: Any) -> None:
    """Count the warnings and errors on uvicorn.error as `gunicorn.log.*` too: "Exception in ASGI application", say."""
    logger = logging.getLogger("uvicorn.error")
    if _is_statsd(log) and not any(isinstance(each, _LineCount) for each in logger.filters):
        logger.addFilter(_LineCount(log))
