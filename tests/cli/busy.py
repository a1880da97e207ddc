"""A file that is written again and again, as a log is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["busy"]

PATIENCE = 30.0


@contextlib.contextmanager
def busy(path: Path) -> Iterator[threading.Thread]:
    """The thread that writes it; it lives for longer than anything here has to take."""
    over = threading.Event()

    def write() -> None:
        end = time.monotonic() + PATIENCE
        with path.open("w") as log:
            while time.monotonic() < end and not over.wait(0.01):
                log.write("a line\n")
                log.flush()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()
