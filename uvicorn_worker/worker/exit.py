"""The end of the process, in time: Python would wait for the threads that an application has left, while they run."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
import threading
import time
from typing import Any

from gunicorn.arbiter import Arbiter

from uvicorn_worker.core.explained import explained
from uvicorn_worker.logs.line_writer import close_logs
from uvicorn_worker.server import Server
from uvicorn_worker.worker.forked import end_children

__all__ = ["close_loop", "ignore_the_master", "leave_in_time", "report_unless_exit", "spare_the_master"]

# What is kept back of the time, so that the master does not kill first; and what hooks have where none is left.
_MARGIN = 0.2
_LEAST = 0.05
# How long a server that is cut off in the middle may take, of which two seconds are for the lifespan shutdown.
_STOP_SECONDS = 3.0
# How long tasks that the application left running may take to end once they were cancelled.
_CANCEL_SECONDS = 0.5
# What ends the master: they are for workers that can't boot, and for nothing else.
_BOOT_CODES = (Arbiter.WORKER_BOOT_ERROR, Arbiter.APP_LOAD_ERROR)


def spare_the_master(code: Any) -> Any:
    """The code to exit with where `code` was asked for, which must not tell the master that no worker can boot."""
    return 1 if code in _BOOT_CODES else code


def report_unless_exit(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own report of an error, but for the SystemExit with which a signal handler left a task."""
    if not isinstance(context.get("exception"), SystemExit):
        loop.default_exception_handler(context)


def close_loop(loop: asyncio.AbstractEventLoop, main: asyncio.Task[None] | None, server: Server) -> None:
    """End what still runs on a loop, and close it.

    `main` runs the server. Where something has ended the loop before it (ABRT, an exit that the application asked for),
    it is cancelled first, and alone: its end runs the lifespan shutdown, for which the lifespan's task must be alive.
    """
    try:
        if main is not None and not main.done():
            main.cancel()
            loop.run_until_complete(asyncio.wait([main], timeout=_STOP_SECONDS))
        # What is cancelled now may say so; nobody is to take it for a failure.
        server.own_abandon()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_SECONDS))
        closing = loop.create_task(loop.shutdown_asyncgens())
        loop.run_until_complete(asyncio.wait([closing], timeout=_CANCEL_SECONDS))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def ignore_the_master() -> None:
    """What it says from here on comes too late to change anything, and would only end hooks in the middle."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def leave_in_time(log: Any, exit_by: float, code: int = 0) -> None:
    """End the process with `code` at `exit_by` (`time.monotonic()`), whatever threads or hooks still run then.

    A request that was given up may have a thread at work: it can't be cancelled, and the interpreter would wait
    for it.
    """
    if exit_by == math.inf:
        return

    def leave() -> None:
        running = [
            thread.name
            for thread in threading.enumerate()
            if not thread.daemon and thread is not threading.main_thread()
        ]
        log.warning(
            "Leaving without waiting any longer; threads that still run: %s %s",
            ", ".join(running) or "none",
            explained("it-does-not-stop-or-takes-long-to"),
        )
        end_children()
        with contextlib.suppress(Exception):
            close_logs(_MARGIN / 2)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(code)

    timer = threading.Timer(max(exit_by - _MARGIN - time.monotonic(), _LEAST), leave)
    timer.daemon = True
    # RuntimeError: there are as many threads as the system allows. The master ends this process then.
    with contextlib.suppress(RuntimeError):
        timer.start()
