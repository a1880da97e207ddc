"""`limit_max_memory`: the resident memory of this process, looked at every few seconds."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path

from uvicorn_worker.core.errors import ConfigError

__all__ = ["MemoryWatch", "resident_memory"]

# How often, on average. Drawn anew each time, so that workers that
# grow alike are not replaced at the same moment.
CHECK_SECONDS = 2.0

_STATM = Path("/proc/self/statm")
_MIB = 1048576


def resident_memory() -> int:
    """The resident set size of this process in MiB; raises OSError where the system does not tell (proc(5))."""
    return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE") // _MIB


class MemoryWatch:
    """Calls `on_full` with the size once it is above `limit` MiB."""

    def __init__(self, limit: int, on_full: Callable[[int], None]) -> None:
        self._limit = limit
        self._on_full = on_full
        self._handle: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look; raises `ConfigError` where nothing can be seen."""
        try:
            size = resident_memory()
        except OSError as exc:
            raise ConfigError(f"option limit_max_memory = {self._limit}: {_STATM} can't be read: {exc}") from None
        if size > self._limit:
            # Every replacement would start as large, and be replaced: a loop that serves nobody.
            logging.getLogger("uvicorn.error").error(
                "limit_max_memory = %d is less than the %d MiB that the application takes at its start: not applied.",
                self._limit,
                size,
            )
            return
        self._schedule(loop)

    def stop(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(CHECK_SECONDS * random.uniform(0.5, 1.5), self._check, loop)  # noqa: S311 - spreads, no secret

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        size = resident_memory()
        if size > self._limit:
            self._on_full(size)
        else:
            self._schedule(loop)
