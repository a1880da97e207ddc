"""Which one of several failing workers reports that the boot failed.

Gunicorn's master ends when it reaps a worker with exit code 3 or 4. Workers that fail at the same time give
it several such codes: the second one is reaped while the master is stopping already, raises again, and the
master dies of a traceback instead of exiting with the code. So one worker alone reports, and prints the one
traceback; the others wait to be stopped by the master, and leave with 0.

The one that reports waits until the master has done forking. Gunicorn 23 ends by raising from its handler of
SIGCHLD, and what is raised while the master is inside fork() is lost: it would start another worker in vain.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

__all__ = ["FailureToken"]

# While it starts workers the master pauses for 0.1 seconds at most between two of them: without a further one for
# so long it has done forking. But it does not fork forever.
_QUIET_SECONDS = 0.3
_MOST_SECONDS = 2.0

_SPAWNED = struct.Struct("d")


class FailureToken:
    """A token that one of the processes forked from the maker can take; made in the master, before the fork."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self.give_back()
        # Shared with every process that is forked from this one.
        self._spawned = mmap.mmap(-1, _SPAWNED.size)

    def worker_made(self) -> None:
        """The master is about to fork a worker."""
        _SPAWNED.pack_into(self._spawned, 0, time.monotonic())

    def wait_for_forks(self) -> None:
        """Wait until the master has forked all of its workers, or for a bounded time."""
        deadline = time.monotonic() + _MOST_SECONDS
        while (now := time.monotonic()) < deadline and now < _SPAWNED.unpack_from(self._spawned)[0] + _QUIET_SECONDS:
            time.sleep(0.02)

    def take(self) -> bool:
        """Whether nobody else has it."""
        try:
            return os.read(self._read_end, 1) == b"1"
        except BlockingIOError:
            return False

    def give_back(self) -> None:
        """Let another process take it."""
        os.write(self._write_end, b"1")
