"""A Gunicorn configuration file (``-c python:boot_hooks``) that reports what the master holds before it forks."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
from typing import Any

from eventlog import event


def _report(name: str) -> None:
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:  # the one that listed the folder
            continue
    seen = {
        "threads": threading.active_count(),
        "sockets": sum(link.startswith("socket:") for link in links),
        "pollers": sum("eventpoll" in link for link in links),
        "loops": sum(isinstance(thing, asyncio.AbstractEventLoop) for thing in gc.get_objects()),
    }
    event(name, json.dumps(seen))


def when_ready(server: Any) -> None:
    _report("when_ready")


def pre_fork(server: Any, worker: Any) -> None:
    _report("pre_fork")
