"""Ctrl+C in a terminal in which Gunicorn runs: a graceful stop that says what it waits for.

The terminal sends INT to all processes at once. Gunicorn's master takes it for a quick stop, and sends QUIT to its
workers, then waits for them as long as graceful_timeout says. So a worker that has INT from the terminal drains, the
QUIT that follows is the master's word for the same Ctrl+C, and another Ctrl+C ends it at once.
"""

from __future__ import annotations

import os
import signal

__all__ = ["OVERTAKEN_SECONDS", "ByHand", "in_foreground"]

# How long a QUIT waits for the INT that it may have overtaken: 1.3 ms were seen, where another thread got the INT.
OVERTAKEN_SECONDS = 0.1


def in_foreground() -> bool:
    """Whether this process is in the foreground of a terminal, whose Ctrl+C reaches it; also in a signal handler."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class ByHand:
    """Which signals of a stop mean one."""

    def __init__(self, always: bool) -> None:
        """`always`: INT drains wherever it comes from, and the master sends TERM for it, and QUIT for the next one."""
        self._always = always
        self._interrupted = False
        self._awaits_quit = False

    def drains(self, sig: int, stopping: bool) -> bool:
        """Whether this signal is a Ctrl+C that drains, or belongs to one; `stopping`: another has begun a stop."""
        if sig != signal.SIGINT:
            return False
        if self._always:
            # The master's TERM for the same Ctrl+C may overtake it. One after another stop reaches the master, too.
            first, self._interrupted = not self._interrupted, True
            return first
        if stopping:
            return False
        # The master's QUIT may come while this looks.
        self._awaits_quit = True
        by_hand = in_foreground()
        self._awaits_quit = self._awaits_quit and by_hand
        return by_hand

    def may_have_overtaken(self, sig: int, stopping: bool) -> bool:
        """Whether this is a QUIT that may belong to a Ctrl+C of which this process has not seen the INT yet.

        The handler of INT may be what the one of QUIT interrupts, or come after it: the QUIT is to wait a moment.
        """
        return sig == signal.SIGQUIT and not stopping and not self._always and in_foreground()

    def repeats(self, sig: int) -> bool:
        """Whether it says again what was said; a second time it does not."""
        was, self._awaits_quit = self._awaits_quit, False
        return was and sig == signal.SIGQUIT
