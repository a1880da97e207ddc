"""The event loop of a worker, and the one that is there while the application is imported.

Applications of an older style ask for the event loop when they are imported, and keep it or put something on it.
Others patch it then (nest_asyncio), which uvloop's does not take. So where uvloop is to serve, a loop of asyncio is
set during the import, and when somebody has made use of it, it is the one that serves.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.server.loading import loop_factory

__all__ = ["LoopChoice"]


class LoopChoice:
    """Sets a loop for the import at once; `decide()` gives the one that serves. Raises `ConfigError`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.note: str | None = None
        """What is to be told of the decision, if anything."""
        loop = loop_factory(config)()
        self._is_set = isinstance(loop, asyncio.BaseEventLoop)
        if not self._is_set:
            loop.close()
            loop = asyncio.new_event_loop()
        self.loop = loop
        """That which is set for now."""
        asyncio.set_event_loop(loop)
        self._references = 0

    def watch(self) -> None:
        """The application is loaded next; whoever has the loop by now is not meant."""
        self._references = _references(self.loop)

    def decide(self) -> asyncio.AbstractEventLoop:
        """The loop that serves, which is set."""
        if self._is_set:
            return self.loop
        use = self._use()
        if use and self._config.loop == "auto":
            self.note = f"The application {use} when it was imported, so asyncio's loop serves, not uvloop's."
            return self.loop
        if use:
            self.note = (
                f"The application {use} when it was imported, but another one serves, since loop = "
                f"{self._config.loop!r}: set loop to asyncio if it has to be the same."
            )
        else:
            self.loop.close()
        loop = loop_factory(self._config)()
        asyncio.set_event_loop(loop)
        return loop

    def _use(self) -> str:
        loop: Any = self.loop
        if hasattr(loop, "_nest_patched"):
            return "has patched the event loop (nest_asyncio)"
        if loop.is_closed():
            return ""
        if getattr(loop, "_ready", None) or getattr(loop, "_scheduled", None) or asyncio.all_tasks(loop):
            return "has put work on the event loop"
        del loop
        return "has kept the event loop" if _references(self.loop) > self._references else ""


def _references(loop: object) -> int:
    """How many there are; the same number where PyPy does not count them."""
    count = getattr(sys, "getrefcount", None)
    return 0 if count is None else int(count(loop))
