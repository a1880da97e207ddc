"""A log that somebody reads (a pipe, a socket, a terminal), written without ever waiting for who reads it.

What the reader does not take waits here, up to a bound, and a thread waits for the reader; beyond that it is lost,
which is counted and told. `O_NONBLOCK` would hold for everybody who has the same description (the master, other
workers, a shell), so a pipe or a terminal is opened once more, and a socket is asked with each call. Where neither can
be done, the thread writes all of it.

There is one `Backlog` for a file, whoever writes to it: lines of both logs keep their order where both are one pipe.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
import time
import weakref
from collections import deque

from uvicorn_worker.core.kernel import write_descriptor
from uvicorn_worker.core.log import Losses, OwnLog

__all__ = ["PIPE_BYTES", "Backlog", "backlog_of", "close_backlogs", "opened_again"]

# How much waits for a reader that does not read, in bytes; how long the end of the process waits for one that takes
# nothing, and for one that takes little at a time, in seconds.
_MOST_WAITING = 1 << 20
_LAST_WAIT = 0.5
_LONGEST_WAIT = 5.0
# Between two looks: at a reader that takes little at a time; at whether losses are over.
_PAUSE = 0.001
_LONG_PAUSE = 0.1
# How much is written with one call where that may wait: where there is room, there is so much (POSIX).
# Windows has no name for it.
PIPE_BYTES: int = getattr(select, "PIPE_BUF", 4096)

_UNREAD = BlockingIOError("its reader does not read")

# By process, device and inode. A child that is forked begins anew: what waits is its parent's, and so is the thread.
_backlogs: weakref.WeakValueDictionary[tuple[int, int, int], Backlog] = weakref.WeakValueDictionary()


def backlog_of(fd: int, name: str) -> Backlog | None:
    """What writes to an open file that somebody reads; None where nobody does, as of a file on a disk.

    `name` is for what is said of it. None also where there is no descriptor left for it.
    """
    info = os.fstat(fd)
    if not _is_read(fd, info.st_mode):
        return None
    key = _key_of(fd, info)
    backlog = _backlogs.get(key)
    if backlog is None:
        try:
            target = _target_of(fd, info.st_mode)
        except OSError:
            return None
        backlog = _backlogs[key] = Backlog(key, target, name)
    return backlog


def close_backlogs(most: float = _LONGEST_WAIT) -> None:
    """The process ends: wait for readers that go on reading, at most so many seconds, and for others a moment."""
    deadline = time.monotonic() + most
    for backlog in list(_backlogs.values()):
        if backlog.key[0] == os.getpid():
            backlog.close(deadline)


def opened_again(fd: int) -> int | None:
    """A descriptor of one's own, that never waits, of a pipe or a terminal; None where there can't be one."""
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode) or not _is_read(fd, mode):
            return None
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (AttributeError, OSError):
        # Somebody else's, as that of a master that has given up its privileges; or no Linux, or Windows.
        return None


class Backlog:
    """Writes pieces, whole lines each; called from any thread, and by handlers of signals in the middle of that.

    No caller waits for the lock: a handler of logging is locked around it, and what a signal says in the middle of a
    write may want the lock of that handler. So each leaves its pieces, and who has the lock looks after all of them.
    """

    def __init__(self, key: tuple[int, int, int], target: _Target, name: str) -> None:
        self.key = key
        self._target = target
        # What nobody has looked at yet, and behind it in time, what is kept for the reader, and how much that is.
        self._new: deque[bytes] = deque()
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()
        # It has the first piece of those that are kept, and writes it without the lock.
        self._thread: threading.Thread | None = None
        self._losses = Losses(name)
        # Whether what came last could not be written, for another reason than that it would have to wait.
        self._failed = False

    def is_for(self, fd: int) -> bool:
        """Whether it is what this process writes to this file with."""
        return self.key == _key_of(fd, os.fstat(fd))

    @property
    def waits(self) -> bool:
        """Whether there is something that the reader has not taken yet."""
        return bool(self._kept or self._new)

    def write(self, pieces: list[bytes], patience: float = 0.0) -> None:
        """Write what the reader takes; keep, or count as lost, what it does not take.

        With `patience`, in seconds, a thread that has to write it has so long before the caller goes on.
        """
        is_patient = patience > 0 and self._target.may_wait and not self.waits
        self._new.extend(pieces)
        # Again, where somebody has left one while this had the lock.
        while self._new and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        if is_patient:
            until = time.monotonic() + patience
            while self.waits and time.monotonic() < until:
                time.sleep(_PAUSE)

    # With the lock -----------------------------------------------------------------------------------

    def _look(self, at_last: bool = False) -> None:
        """Write what can be written, keep the rest; `at_last`, also where that may wait."""
        if not self._target.may_wait or at_last:
            # While there is a thread, and something for it, others would be in its way.
            if self._kept and self._thread is None:
                self._write_from(self._kept)
            if not self._kept:
                self._write_from(self._new)
        self._keep()
        if self._thread is None and (self._kept or (self._losses.lost and not self._failed)):
            self._begin_thread()

    def _write_from(self, pieces: deque[bytes]) -> None:
        try:
            while pieces:
                self._took(pieces, self._target.write(pieces[0]))
        except BlockingIOError:
            pass
        except OSError as exc:
            self._fail(exc)

    def _took(self, pieces: deque[bytes], taken: int) -> None:
        self._failed = False
        if pieces is self._kept:
            self._size -= taken
        if taken < len(pieces[0]):
            pieces[0] = pieces[0][taken:]
        else:
            pieces.popleft()

    def _keep(self) -> None:
        """Nothing is too long for an empty place: it is not the reader's fault that there is so much of it."""
        while self._new:
            piece = self._new[0]
            if self._size and self._size + len(piece) > _MOST_WAITING:
                self._lose(piece, _UNREAD)
            else:
                self._kept.append(piece)
                self._size += len(piece)
            self._new.popleft()

    def _lose(self, piece: bytes, exc: OSError) -> None:
        for _ in range(max(1, piece.count(b"\n"))):
            self._losses.add(exc)

    def _fail(self, exc: OSError) -> None:
        """It can't be written: its reader has gone, say."""
        self._failed = True
        for pieces in (self._kept, self._new):
            while pieces:
                self._lose(pieces[0], exc)
                pieces.popleft()
        self._size = 0

    def _begin_thread(self) -> None:
        # It may be in a write for ever: nobody waits for it at the end.
        self._thread = thread = threading.Thread(target=self._run, name="uvicorn-worker-log", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # There are no more threads, as at the end of the process: the next line tries again.
            pass
        finally:
            if not thread.is_alive():
                self._thread = None

    # The thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        is_over = False
        # Not by who is the thread: there may be the next one, as soon as this one has said that it goes.
        while not is_over:
            lines: list[str] = []
            with self._lock:
                self._keep()
                piece = self._kept[0] if self._kept else None
                if piece is None:
                    is_told = self._failed or self._losses.end(lines.append)
                    if is_told and not lines:
                        self._thread = None
                        is_over = True
            # Without the lock, since these lines come back to it where the error log is the same file.
            for line in lines:
                OwnLog().warning("%s", line)
            if piece is not None:
                self._write_kept(piece)
            elif not lines and not is_over:
                time.sleep(_LONG_PAUSE)
        self.write([])

    def _write_kept(self, piece: bytes) -> None:
        try:
            taken = self._target.write(piece)
        except BlockingIOError:
            time.sleep(_PAUSE)
            self._target.wait(None)
        except OSError as exc:
            with self._lock:
                self._fail(exc)
        else:
            with self._lock:
                # The end of the process may have overtaken it.
                if self._kept and self._kept[0] is piece:
                    self._took(self._kept, taken)

    # The end -----------------------------------------------------------------------------------------

    def close(self, deadline: float) -> None:
        """Wait for the reader as long as it reads, until `deadline` (`time.monotonic()`) at most; the rest is lost."""
        size, quiet_until = self._size, time.monotonic() + _LAST_WAIT
        while self.waits and (left := min(deadline, quiet_until) - time.monotonic()) > 0:
            if self._lock.acquire(timeout=left):
                try:
                    self._look(at_last=self._thread is None)
                finally:
                    self._lock.release()
            if self._thread is None:
                self._target.wait(left)
            else:
                time.sleep(_PAUSE)
            if self._size < size:
                size, quiet_until = self._size, time.monotonic() + _LAST_WAIT
        if self._lock.acquire(timeout=_LAST_WAIT):
            try:
                if self.waits:
                    self._fail(_UNREAD)
                # On stderr, if that takes it: the error log may be this one.
                self._losses.end(at_last=True)
            finally:
                self._lock.release()


def _key_of(fd: int, info: os.stat_result) -> tuple[int, int, int]:
    # On Windows pipes have no numbers.
    return os.getpid(), info.st_dev, info.st_ino or -1 - fd


def _is_read(fd: int, mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(fd))


def _target_of(fd: int, mode: int) -> _Target:
    """How such a file is written."""
    if stat.S_ISSOCK(mode):
        return _Socket(fd)
    again = opened_again(fd)
    return _Waiting(os.dup(fd)) if again is None else _Target(again)


class _Target:
    """A descriptor of one's own; `write` gives how much was taken, and raises `BlockingIOError` where nothing is."""

    may_wait = False
    """Whether `write` may wait all the same, so that it is for a thread."""

    _fd = -1

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> int:
        """Write some of it."""
        return write_descriptor(self._fd, data)

    def wait(self, seconds: float | None) -> bool:
        """Wait until something is taken, at most so long; gives whether it is."""
        if not hasattr(select, "poll"):
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class _Socket(_Target):
    """A socket, as systemd gives one for stdout."""

    def __init__(self, fd: int) -> None:
        super().__init__(os.dup(fd))
        blocking = os.get_blocking(fd)
        # One of C's: see `write_descriptor`.
        self._sock = socket.SocketType(fileno=self._fd)
        if socket.getdefaulttimeout() is not None:
            # Which has made it a non-blocking one, for everybody who has it.
            self._sock.settimeout(None)
            os.set_blocking(fd, blocking)

    def write(self, data: bytes) -> int:
        """Write some of it."""
        return self._sock.send(data, socket.MSG_DONTWAIT)

    def __del__(self) -> None:
        if hasattr(self, "_sock"):
            self._sock.detach()
        super().__del__()


class _Waiting(_Target):
    """Any of them, as it is: between a look and the write others who have it may take the room."""

    may_wait = True

    def write(self, data: bytes) -> int:
        """Write some of it."""
        if not self.wait(0):
            raise _UNREAD
        return write_descriptor(self._fd, data[:PIPE_BYTES])
