"""Access lines without records: those of one turn of the event loop leave in one write.

Only where nobody could tell the difference: the logger is logging's own, with one plain handler to a file or a stream,
a formatter that gives the message as it is, and no filter anywhere. It is looked at anew in each turn; where it has
become anything else, logging does what it does.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import select
import stat
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.log import Losses

__all__ = ["LineWriter", "flush_lines", "plain_handler"]

# A write of so much to a pipe is not mixed with those of others (POSIX; Linux has no less).
_PIPE_BYTES = select.PIPE_BUF
_FILE_BYTES = 65536
# How much waits for a reader that does not read, in bytes; how long until it is asked again, and at the end of the
# process, in seconds.
_MOST_WAITING = 1 << 20
_PAUSE = 0.05
_LAST_WAIT = 0.5

_PROBE = "%(x)s {} $y \u20ac"


_writers: weakref.WeakSet[LineWriter] = weakref.WeakSet()


def flush_lines() -> None:
    """Write what was taken, where no turn of the loop may come that does."""
    for writer in list(_writers):
        writer.flush()


def plain_handler(logger: logging.Logger) -> logging.StreamHandler[Any] | None:
    """The one handler of a logger whose lines need no records; None where they do."""
    if type(logger) is not logging.Logger or logger.filters or logger.propagate or len(logger.handlers) != 1:
        return None
    handler: Any = logger.handlers[0]
    kind = type(handler)
    if (kind is not logging.StreamHandler and kind is not logging.FileHandler) or handler.filters:
        return None
    # `emit` is set while the log can't be written.
    if handler.level > logging.INFO or "emit" in vars(handler) or "handle" in vars(logger):
        return None
    if logging.getLogRecordFactory() is not logging.LogRecord:
        return None
    plain: logging.StreamHandler[Any] = handler
    return plain


def _gives_the_message(formatter: logging.Formatter | None) -> bool:
    if formatter is None:
        return True
    record = logging.LogRecord("x", logging.INFO, "", 0, _PROBE, None, None)
    return type(formatter) is logging.Formatter and formatter.format(record) == _PROBE


class LineWriter:
    """Writes lines to the plain handler of a logger; `add` refuses a line where there is none."""

    __slots__ = ("__weakref__", "_call_soon", "_formatter", "_handler", "_logger", "_pipe", "lines")

    def __init__(self, logger: logging.Logger, loop: asyncio.AbstractEventLoop) -> None:
        self._logger = logger
        self._call_soon: Callable[..., Any] = loop.call_soon
        # What was taken in this turn; where there is some, more may be put to it.
        self.lines: list[str] = []
        self._pipe = _Pipe(loop, f"The log of {logger.name}")
        self._handler: logging.StreamHandler[Any] | None = None
        # The formatter that was found to give the message as it is.
        self._formatter: Any = self
        _writers.add(self)
        # What a loop that is ended by a signal has no turn for any more.
        atexit.register(self._flush_at_exit, os.getpid())

    def _flush_at_exit(self, pid: int) -> None:
        # A child that was forked meanwhile has the same lines.
        if os.getpid() == pid:
            self.close()

    def close(self) -> None:
        """Write what was taken, as far as there is somebody who reads it."""
        self.flush()
        self._pipe.close()

    def add(self, line: str) -> bool:
        """Take a line; False where it is to be logged as a record."""
        lines = self.lines
        if not lines:
            handler = plain_handler(self._logger)
            if handler is None:
                return False
            if handler.formatter is not self._formatter:
                if not _gives_the_message(handler.formatter):
                    return False
                self._formatter = handler.formatter
            self._handler = handler
            try:
                self._call_soon(self.flush)
            except RuntimeError:
                # The loop is closed.
                return False
        lines.append(line)
        return True

    def flush(self) -> None:
        """Write what was taken."""
        lines, self.lines = self.lines, []
        handler = self._handler
        if not lines or handler is None:
            return
        handler.acquire()
        try:
            _write(handler, lines, self._pipe)
        except Exception:  # noqa: BLE001 - as a handler does: it is told, and costs nothing else
            for line in lines:
                handler.handleError(logging.LogRecord(self._logger.name, logging.INFO, "", 0, line, None, None))
        finally:
            handler.release()


def _write(handler: logging.StreamHandler[Any], lines: list[str], pipe: _Pipe | None = None) -> None:
    if handler.stream is None and isinstance(handler, logging.FileHandler):
        # A file that was to be opened late, or was closed by a dictConfig(): emit() opens it.
        record = logging.LogRecord("", logging.INFO, "", 0, lines.pop(0), None, None)
        handler.emit(record)
    stream, terminator = handler.stream, handler.terminator
    try:
        fd = stream.fileno()
    except (AttributeError, OSError, ValueError):
        stream.write("".join([line + terminator for line in lines]))
        handler.flush()
        return
    stream.flush()
    pieces = _pieces(lines, terminator, stream.encoding or "utf-8", stream.errors or "backslashreplace", fd)
    if pipe is not None and pipe.is_for(fd):
        pipe.write(pieces)
        return
    for piece in pieces:
        while piece:
            piece = piece[os.write(fd, piece) :]  # noqa: PLW2901 - what the kernel did not take


def _pieces(lines: list[str], terminator: str, encoding: str, errors: str, fd: int) -> list[bytes]:
    """The lines as they are written, one piece with each call."""
    data = [(line + terminator).encode(encoding, errors) for line in lines]
    if sum(map(len, data)) <= _PIPE_BYTES:
        return [b"".join(data)] if data else []
    limit = _FILE_BYTES if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_BYTES
    pieces: list[list[bytes]] = [[]]
    size = 0
    for line in data:
        if size and size + len(line) > limit:
            pieces.append([])
            size = 0
        pieces[-1].append(line)
        size += len(line)
    return [b"".join(piece) for piece in pieces]


class _Pipe:
    """A pipe, written without ever waiting for its reader: what it does not take waits here, up to a bound."""

    __slots__ = ("_call_later", "_fd", "_is_due", "_key", "_losses", "_size", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._call_later: Callable[..., Any] = loop.call_later
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._is_due = False
        self._losses = Losses(name)
        # The pipe opened once more, since O_NONBLOCK would be everybody's; -1: none.
        self._fd, self._key = -1, (-1, -1)

    def is_for(self, fd: int) -> bool:
        """Whether this is a pipe that can be written so; makes it the one that `write` is about."""
        info = os.fstat(fd)
        if not stat.S_ISFIFO(info.st_mode):
            return False
        key = (info.st_dev, info.st_ino)
        if key != self._key:
            self._key = key
            if self._fd >= 0:
                os.close(self._fd)
            try:
                self._fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                self._fd = -1
        return self._fd >= 0

    def write(self, pieces: list[bytes]) -> None:
        """Write what the pipe takes; keep, or count as lost, what it does not take."""
        for piece in pieces:
            if self._size + len(piece) > _MOST_WAITING:
                for _ in range(piece.count(b"\n")):
                    self._losses.add(BlockingIOError("its reader does not read"))
            else:
                self._waiting.append(piece)
                self._size += len(piece)
        self._try_again() if not self._is_due else None

    def _try_again(self) -> None:
        self._is_due = False
        self.write_waiting()
        if self._waiting:
            self._is_due = True
            try:
                self._call_later(_PAUSE, self._try_again)
            except RuntimeError:
                self._is_due = False

    def write_waiting(self) -> None:
        """Write what waits, as far as the pipe takes it."""
        waiting = self._waiting
        try:
            while waiting:
                taken = os.write(self._fd, waiting[0])
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

    def close(self) -> None:
        """The process ends: wait a moment for the reader, no longer."""
        deadline = time.monotonic() + _LAST_WAIT
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            select.select([], [self._fd], [], left)
            self.write_waiting()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._key = -1, (-1, -1)
