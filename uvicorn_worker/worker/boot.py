"""Which one of several failing workers reports that the boot failed.

Gunicorn's master ends when it reaps a worker with exit code 3 or 4. Workers that fail at the same time give
it several such codes: the second one is reaped while the master is stopping already, raises again, and the
master dies of a traceback instead of exiting with the code. So one worker alone reports, and prints the one
traceback; the others wait to be stopped by the master, and leave with 0.
"""

from __future__ import annotations

import os

__all__ = ["FailureToken"]


class FailureToken:
    """A token that one of the processes forked from the maker can take; made in the master, before the fork."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self.give_back()

    def take(self) -> bool:
        """Whether nobody else has it."""
        try:
            return os.read(self._read_end, 1) == b"1"
        except BlockingIOError:
            return False

    def give_back(self) -> None:
        """Let another process take it."""
        os.write(self._write_end, b"1")
