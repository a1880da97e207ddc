"""The resident memory of this process: `limit_max_memory`, and what is given back to the system after a peak."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.log import OwnLog

__all__ = ["HeapTrim", "MemoryWatch", "keep_freed_memory", "resident_bytes", "resident_memory"]

# How often, on average. Drawn anew each time, so that workers that
# grow alike are not replaced at the same moment.
CHECK_SECONDS = 2.0

# How often, in ticks, it is looked whether a peak is over; and at how many looks in a row it must be.
LOOK_TICKS = 4
LOOKS = 2
# What is given back is worth the while from so many MiB on, and from this part of what there was before the peak.
LEAST_GROWTH = 4
GROWTH_PART = 0.125

# How much memory that was freed at its end the heap keeps; what is larger than half of it is mapped apart, as before.
KEPT_BYTES = 8388608

_STATM = Path("/proc/self/statm")
_MIB = 1048576


def _resident() -> int:
    """The resident set size of this process in bytes; raises OSError where it can't be known.

    Linux tells (proc(5)); elsewhere it is asked of psutil, where that is installed.
    """
    try:
        # Without a buffer: what looks for reads that hold up the loop (blockbuster) looks at buffered ones.
        with open(_STATM, "rb", buffering=0) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError as exc:
        try:
            psutil: Any = importlib.import_module("psutil")
        except ImportError:
            raise OSError(exc.errno, f"{_STATM} can't be read, and psutil is not installed") from None
        try:
            return int(psutil.Process().memory_info().rss)
        except psutil.Error:
            # Without /proc it can't know either.
            raise OSError(exc.errno, f"{_STATM} can't be read, nor by psutil") from None


def resident_memory() -> int:
    """The resident set size of this process in MiB; raises OSError where it can't be known."""
    return _resident() // _MIB


def resident_bytes() -> int:
    """The resident set size in bytes; 0 where it can't be known."""
    try:
        return _resident()
    except OSError:
        return 0


def keep_freed_memory() -> None:
    """Let the allocator keep `KEPT_BYTES` that were freed for what comes next, until `HeapTrim` gives them back.

    The heap of glibc gives back whatever is above 128 KiB, so that two bodies of 64 KiB that are read and let go in one
    turn of the loop cost system calls, and a page fault for each 4 KiB of the next two. The bounds grow with the
    largest block that was mapped and freed (mallopt(3), M_MMAP_THRESHOLD), unless the operator has set them
    (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_): this is such a block, which nobody writes to. Other allocators
    have nothing like it, and don't mind.
    """
    bytes(KEPT_BYTES // 2)


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
            raise ConfigError(f"option limit_max_memory = {self._limit}: {exc.strerror}") from None
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
        # Where there is no descriptor left for it, that is no reason never to look again.
        size = _resident_or_none()
        if size is not None and size > self._limit:
            self._on_full(size)
        else:
            self._schedule(loop)


class HeapTrim:
    """Gives memory back to the system when a peak is over.

    The allocator of glibc keeps what was freed below anything that is still in use: buffers of TLS and of compression
    lie between objects that live on, and after a peak a process stays as large as it was then. A trim takes some
    0.1 ms for each MiB that is given back, so it is only done when little is under way, once after a peak.
    """

    def __init__(self, log: OwnLog) -> None:
        self._log = log
        self._ticks = 0
        # The most that was under way at once since the last trim; how often in a row it was less than half of it.
        self._peak = 0
        self._calm = 0
        # MiB after the last trim: what has come since then may be free.
        self._floor = _resident_or_none()
        self._trim: Callable[[], object] | None = None
        self._is_known = False

    def on_tick(self, load: int) -> None:
        """Twice a second; `load` is how many connections and requests there are."""
        self._peak = max(self._peak, load)
        self._ticks += 1
        if self._ticks % LOOK_TICKS:
            return
        if not self._peak or load > self._peak // 2:
            self._calm = 0
            return
        self._calm += 1
        if self._calm >= LOOKS:
            self._calm, self._peak = 0, load
            self._give_back()

    def _give_back(self) -> None:
        size, floor = _resident_or_none(), self._floor
        if size is not None and floor is not None and size - floor < max(LEAST_GROWTH, floor * GROWTH_PART):
            return
        if not self._is_known:
            self._is_known, self._trim = True, _find_trim()
        if self._trim is None:
            return
        begun = time.perf_counter()
        self._trim()
        seconds = time.perf_counter() - begun
        self._floor = _resident_or_none()
        if size is not None and self._floor is not None:
            self._log.debug("Memory after a peak: %d MiB, of %d, in %.1f ms.", self._floor, size, seconds * 1000)


def _resident_or_none() -> int | None:
    try:
        return resident_memory()
    except OSError:
        return None


def _find_trim() -> Callable[[], object] | None:
    """What makes the allocator give back what is free; None where it has no such call: musl's does it anyway."""
    try:
        import ctypes  # a megabyte, for those alone who have had a peak

        library = ctypes.CDLL(None)
    except (ImportError, OSError, TypeError):
        return None
    # The one that was preloaded comes first: there, glibc's would find nothing to do.
    if hasattr(library, "mi_collect"):
        library.mi_collect.argtypes, library.mi_collect.restype = [ctypes.c_bool], None
        return partial(library.mi_collect, True)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim.argtypes = [ctypes.c_size_t]
        return partial(library.malloc_trim, 0)
    if hasattr(library, "malloc_zone_pressure_relief"):
        library.malloc_zone_pressure_relief.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        library.malloc_zone_pressure_relief.restype = ctypes.c_size_t
        return partial(library.malloc_zone_pressure_relief, None, 0)
    return None
