"""Where a worker's heartbeat is written to if no file can be made: the disk is read-only or full, there is no /tmp."""

from __future__ import annotations

import os
from typing import Any

from gunicorn.workers.workertmp import WorkerTmp

__all__ = ["MemoryTmp"]


class MemoryTmp(WorkerTmp):
    """Gunicorn's file of a worker, which is in no folder (Linux)."""

    # What Gunicorn 20.1 counts in.
    spinner = 0

    def __init__(self, cfg: Any) -> None:
        descriptor = os.memfd_create("wgunicorn")
        # Its times are set by the worker, which may be another user.
        if (cfg.uid, cfg.gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, cfg.uid, cfg.gid)
        self._tmp = os.fdopen(descriptor, "w+b", 0)
