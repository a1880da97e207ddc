"""A thread that watches what the event loop can't tell of itself: it is started, and ended, again and again.

Python warns of a fork while there are threads (from 3.12 on), so an application's fork finds none of ours: each ends
before, and is started again with the next tick or heartbeat.
"""

from __future__ import annotations

import contextlib
import threading

__all__ = ["WatchThread"]

# How long its end is waited for: it may be held up by the log.
_JOIN_SECONDS = 1.0


class WatchThread:
    """Runs `watch` in a thread called `name`, from `start` to `stop`."""

    name: str

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def start(self) -> None:
        """Watch, unless this is done already, or there are as many threads as the system allows."""
        if self._thread is None:
            self._end = end = threading.Event()
            thread = threading.Thread(target=self.watch, args=(end,), name=self.name, daemon=True)
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        """Watch no more, until `start` is called again; there is no thread then, unless what it does holds it up."""
        thread, self._thread = self._thread, None
        self.end()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_SECONDS)

    def end(self) -> None:
        """Watch no more; also called by the thread itself."""
        self._end.set()

    def watch(self, end: threading.Event) -> None:
        """Look and sleep, until `end` is set."""
        raise NotImplementedError
