"""Under Gunicorn's own master: a worker that is to be replaced leaves after the one that takes its place serves.

Gunicorn replaces a worker when it is gone. So the worker asks the master for one more (TTIN), and when that serves for
one less (TTOU): the master tells the oldest to leave, and the worker says by its age that this is itself.

    NOBODY ─► ASKED      TTIN was sent
              GRANTED    the master has made a worker
              THANKED    TTOU was sent; ─► NOBODY when its TERM has come

One worker at a time does this, who has the lock; it falls free with a process that dies. What the master counts must be
right in the end, whatever comes between. A reload (HUP) counts anew, and a worker that was told to leave meanwhile, or
has died, leaves behind one too many, of which somebody tells the master. In doubt there is one worker too many until
the next reload, and never one too few.

A master that is root's can't be signalled by workers that have given that up (Gunicorn's `user`). What they would send
is written down, and the master sends it to itself when it looks at them, which it does once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import signal
import tempfile
import time
from collections.abc import Callable
from typing import ClassVar

from uvicorn_worker.board.board import SERVING, Board, Slot

__all__ = ["Relief"]

NOBODY, ASKED, GRANTED, THANKED = range(4)
# What is shared: the state, and which signals the master is to send to itself.
_STATE, _MORE, _LESS = range(3)
_WRITTEN_DOWN = {signal.SIGTTIN: _MORE, signal.SIGTTOU: _LESS}

# How often a worker that waits looks, in seconds.
LOOK_SECONDS = 0.1
# How long it waits for the master to hear of it: a reload of Gunicorn 27 waits for the old workers.
HEARD_SECONDS = 120.0


class Relief:
    """What the workers of one master have in common for this; made in the master, before the first fork."""

    _of_master: ClassVar[Relief | None] = None

    @classmethod
    def of_master(cls) -> Relief:
        """That of this process, which is a master: made when it is first asked for."""
        relief = cls._of_master
        if relief is None or relief._owner != os.getpid():
            relief = cls._of_master = cls()
        return relief

    @classmethod
    def settings_read(cls) -> None:
        """In the master: how many workers there should be is read from the settings, at the start and at HUP."""
        relief = cls._of_master
        if relief is None or relief._owner != os.getpid():
            return
        if relief._state in (ASKED, GRANTED):
            # It is forgotten that there is one more; should TTIN still be on its way, there is one too many.
            relief._state = NOBODY
        elif relief._state == THANKED:
            # One less is yet to come, behind this, and would be one too few.
            os.kill(relief._owner, signal.SIGTTIN)

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._shared = mmap.mmap(-1, 1 + len(_WRITTEN_DOWN))
        # Locks of POSIX belong to a process: the file is shared with all that are forked. None: there can be none.
        self._file = _make_file()
        self._has_lock = self._scales = False
        self._since = 0.0

    @property
    def _state(self) -> int:
        return self._shared[_STATE]

    @_state.setter
    def _state(self, value: int) -> None:
        self._shared[_STATE] = value

    def looked_at(self) -> None:
        """In the master, again and again: send what a worker may not."""
        if os.getpid() == self._owner:
            for number, place in _WRITTEN_DOWN.items():
                if self._shared[place]:
                    self._shared[place] = 0
                    os.kill(self._owner, number)

    def worker_made(self) -> None:
        """In the master: it is about to fork a worker."""
        # A master that does not heed TTIN would be stopped by it.
        self._scales = callable(signal.getsignal(signal.SIGTTIN)) and callable(signal.getsignal(signal.SIGTTOU))
        if self._state == ASKED:
            self._state = GRANTED

    # In a worker -------------------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        """Whether the master is there, and one that can be asked."""
        return self._scales and self._file is not None and os.getppid() == self._owner

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.kill(self._owner, number)
        except PermissionError:
            self._shared[_WRITTEN_DOWN[number]] = 1

    def seek(self, loop: asyncio.AbstractEventLoop, board: Board, slot: Slot, leave: Callable[[], None]) -> None:
        """See to it that the worker of `slot` is replaced; `leave` is called where that can't be."""
        if slot.state != SERVING:
            return
        if not self.available:
            leave()
            return
        if not self._has_lock:
            if self._take_lock():
                self._begin()
        elif self._state == NOBODY:
            # A reload has come between, by which this one is told to leave, unless it is one of the new ones.
            self._free_lock()
        elif self._state in (ASKED, THANKED):
            if time.monotonic() > self._since + HEARD_SECONDS:
                self._free_lock()
                leave()
                return
        elif any(each.started >= self._since and each.state == SERVING and each.alive for each in board):
            # The oldest is the one that the master tells.
            slot.age = 0
            self._thank()
        loop.call_later(LOOK_SECONDS, self.seek, loop, board, slot, leave)

    def _begin(self) -> None:
        if self._state == GRANTED:
            # Of one that has died.
            self._thank()
            self._state = NOBODY
            self._free_lock()
            return
        self._since = time.monotonic()
        self._state = ASKED
        self._signal(signal.SIGTTIN)

    def _thank(self) -> None:
        self._since = time.monotonic()
        self._state = THANKED
        self._signal(signal.SIGTTOU)

    def told(self) -> None:
        """This worker leaves, since it was told to."""
        if self._has_lock:
            if self._state in (ASKED, GRANTED) and self.available:
                # Not by us: there is one too many.
                self._signal(signal.SIGTTOU)
            self._state = NOBODY
            self._free_lock()

    def look_after(self) -> None:
        """Called now and then by each worker: one that has died while it was replaced has left behind one too many."""
        if self._state == GRANTED and not self._has_lock and self.available and self._take_lock():
            if self._state == GRANTED:
                self._begin()
            else:
                self._free_lock()

    def _take_lock(self) -> bool:
        if self._file is None:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            # Another has it.
            return False
        except OSError:
            # A file system that has no locks: nobody gets one.
            self._file = None
            return False
        self._has_lock = True
        return True

    def _free_lock(self) -> None:
        self._has_lock = False
        if self._file is not None:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _make_file() -> int | None:
    """A file without a name: in memory, since where everything is read-only Gunicorn needs but its worker_tmp_dir."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.memfd_create("uvicorn-worker-relief")
    try:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError:
        return None
