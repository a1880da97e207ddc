"""A log that somebody reads (a pipe, a socket, a terminal), written without ever waiting for who reads it.

What the reader does not take waits here, up to a bound; beyond that it is lost, which is counted and told on stderr.
`O_NONBLOCK` would hold for everybody who has the same description (the master, other workers, a shell), so a pipe or a
terminal is opened once more, and a socket is asked with each call. Where neither can be done, a thread waits instead.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.log import Losses

__all__ = ["Backlog"]

# How much waits for a reader that does not read, in bytes; how long until it is asked again, and at the end of the
# process, in seconds.
_MOST_WAITING = 1 << 20
_PAUSE = 0.05
_LAST_WAIT = 0.5
# How much a thread is given ahead, in bytes.
_AHEAD = 1 << 18

_UNREAD = BlockingIOError("its reader does not read")


class Backlog:
    """Writes pieces, whole lines each, to the one file at a time that `is_for` was asked about last."""

    __slots__ = ("_call_later", "_is_due", "_key", "_losses", "_size", "_target", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._call_later: Callable[..., Any] = loop.call_later
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._is_due = False
        self._losses = Losses(name)
        self._target: _Direct | _Socket | _Thread | None = None
        self._key = (-1, -1)

    def is_for(self, fd: int, info: os.stat_result) -> bool:
        """Whether somebody reads this file, of which `info` is the state; makes it the one that `write` is about."""
        key = (info.st_dev, info.st_ino)
        if key == self._key:
            return self._target is not None
        # What waits for the reader of another has no more time than a turn has.
        self._leave(0.0)
        self._key = key
        self._target = _target_of(fd, info.st_mode)
        return self._target is not None

    def write(self, pieces: list[bytes]) -> None:
        """Write what the reader takes; keep, or count as lost, what it does not take."""
        for piece in pieces:
            if self._size + len(piece) > _MOST_WAITING:
                self._lose(piece)
            else:
                self._waiting.append(piece)
                self._size += len(piece)
        if not self._is_due:
            self._try_again()

    def _lose(self, piece: bytes) -> None:
        for _ in range(piece.count(b"\n")):
            self._losses.add(_UNREAD)

    def _try_again(self) -> None:
        self._is_due = False
        self._write_waiting()
        if self._waiting:
            self._is_due = True
            try:
                self._call_later(_PAUSE, self._try_again)
            except RuntimeError:
                # The loop is closed.
                self._is_due = False

    def _write_waiting(self) -> None:
        target, waiting = self._target, self._waiting
        if target is None:
            return
        try:
            while waiting:
                taken = target.write(waiting[0])
                self._size -= taken
                if taken == len(waiting[0]):
                    waiting.popleft()
                else:
                    waiting[0] = waiting[0][taken:]
        except BlockingIOError:
            return
        except OSError as exc:
            self._losses.add(exc)
            waiting.clear()
            self._size = 0
            return
        if self._losses.lost:
            self._losses.end()

    def _leave(self, seconds: float) -> None:
        """Give up the file; wait so long for its reader, and count what it has not taken then."""
        target = self._target
        if target is None:
            return
        deadline = time.monotonic() + seconds
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            target.wait(left)
            self._write_waiting()
        for piece in self._waiting:
            self._lose(piece)
        self._waiting.clear()
        self._size = 0
        target.close(max(0.0, deadline - time.monotonic()))
        self._target, self._key = None, (-1, -1)

    def close(self) -> None:
        """The process, or the server, ends: wait a moment for the reader, no longer."""
        self._leave(_LAST_WAIT)
        if self._losses.lost:
            self._losses.end()


def _target_of(fd: int, mode: int) -> _Direct | _Socket | _Thread | None:
    """How a file is written without waiting; None where nobody reads it, such as a file on a disk."""
    if stat.S_ISSOCK(mode):
        return _Socket(fd)
    if not (stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and os.isatty(fd))):
        return None
    try:
        return _Direct(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
    except (AttributeError, OSError):
        # Somebody else's, as that of a master that has given up its privileges; or no Linux, or Windows.
        return _Thread(fd)


class _Direct:
    """A pipe or a terminal that was opened once more."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(seconds * 1000)

    def close(self, seconds: float) -> None:
        os.close(self._fd)


class _Socket:
    """A socket, as systemd gives one for stdout."""

    __slots__ = ("_sock",)

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=os.dup(fd))

    def write(self, data: bytes) -> int:
        return self._sock.send(data, socket.MSG_DONTWAIT)

    def wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        poll.poll(seconds * 1000)

    def close(self, seconds: float) -> None:
        self._sock.close()


class _Thread:
    """Any of them, by a thread that waits for the reader; it is begun with the first piece."""

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None
        self._ends = False

    def write(self, data: bytes) -> int:
        with self._changed:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._size >= _AHEAD:
                raise _UNREAD
            if self._thread is None:
                # It may be in a write for ever: nobody waits for it at the end.
                self._thread = threading.Thread(target=self._run, name="uvicorn-access-log", daemon=True)
                self._thread.start()
            self._pieces.append(data)
            self._size += len(data)
            self._changed.notify_all()
        return len(data)

    def wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._size < _AHEAD, seconds)

    def close(self, seconds: float) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._thread is None or not self._size, seconds)
            if self._thread is None:
                os.close(self._fd)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._ends)
                if not self._pieces:
                    os.close(self._fd)
                    return
                piece = self._pieces.popleft()
            error = _written(self._fd, piece)
            with self._changed:
                self._size -= len(piece)
                self._error = error or self._error
                self._changed.notify_all()


def _written(fd: int, piece: bytes) -> OSError | None:
    """Write all of it; gives why that is not possible."""
    try:
        while piece:
            piece = piece[os.write(fd, piece) :]
    except OSError as exc:
        return exc
    return None
