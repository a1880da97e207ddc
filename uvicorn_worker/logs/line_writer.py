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
from collections.abc import Callable
from typing import Any

__all__ = ["LineWriter", "plain_handler"]

# A write of so much to a pipe is not mixed with those of others (POSIX; Linux has no less).
_PIPE_BYTES = select.PIPE_BUF
_FILE_BYTES = 65536

_PROBE = "%(x)s {} $y \u20ac"


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

    __slots__ = ("_call_soon", "_formatter", "_handler", "_lines", "_logger")

    def __init__(self, logger: logging.Logger, loop: asyncio.AbstractEventLoop) -> None:
        self._logger = logger
        self._call_soon: Callable[..., Any] = loop.call_soon
        self._lines: list[str] = []
        self._handler: logging.StreamHandler[Any] | None = None
        # The formatter that was found to give the message as it is.
        self._formatter: Any = self
        # What a loop that is ended by a signal has no turn for any more.
        atexit.register(self._flush_at_exit, os.getpid())

    def _flush_at_exit(self, pid: int) -> None:
        # A child that was forked meanwhile has the same lines.
        if os.getpid() == pid:
            self.flush()

    def add(self, line: str) -> bool:
        """Take a line; False where it is to be logged as a record."""
        lines = self._lines
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
        lines, self._lines = self._lines, []
        handler = self._handler
        if not lines or handler is None:
            return
        handler.acquire()
        try:
            _write(handler, lines)
        except Exception:  # noqa: BLE001 - as a handler does: it is told, and costs nothing else
            for line in lines:
                handler.handleError(logging.LogRecord(self._logger.name, logging.INFO, "", 0, line, None, None))
        finally:
            handler.release()


def _write(handler: logging.StreamHandler[Any], lines: list[str]) -> None:
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
    encoding, errors = stream.encoding or "utf-8", stream.errors or "backslashreplace"
    text = terminator.join(lines) + terminator if lines else ""
    data = text.encode(encoding, errors)
    if len(data) > _PIPE_BYTES:
        limit = _FILE_BYTES if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_BYTES
        pieces, size = [b""], 0
        for line in lines:
            piece = (line + terminator).encode(encoding, errors)
            if size and size + len(piece) > limit:
                pieces.append(b"")
                size = 0
            pieces[-1] += piece
            size += len(piece)
    else:
        pieces = [data]
    for piece in pieces:
        while piece:
            piece = piece[os.write(fd, piece) :]  # noqa: PLW2901 - what the kernel did not take
