"""Access lines without records: those of one turn of the event loop leave in one write.

Only where nobody could tell the difference: the logger is logging's own, with one plain handler to a file or a stream,
a formatter whose lines can be made without it (`logs/line_forms.py`), and no filter anywhere. It is looked at anew in
each turn; where it has become anything else, logging does what it does.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import io
import logging
import os
import stat
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any

from uvicorn_worker.core.kernel import write_descriptor
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.logs.backlog import PIPE_BYTES, Backlog, backlog_of, close_backlogs
from uvicorn_worker.logs.guards import name_of
from uvicorn_worker.logs.line_forms import Forms, LineForm
from uvicorn_worker.logs.piped_handlers import PipedEmit

__all__ = ["LineWriter", "close_lines", "close_logs", "flush_lines", "plain_handler"]

# A write of no more than PIPE_BYTES to a pipe is not mixed with those of others (POSIX).
_FILE_BYTES = 65536

MakeRecord = Callable[[CycleView, float], logging.LogRecord]

# Where there are no threads a handler has none.
_NO_LOCK = contextlib.nullcontext()

_writers: weakref.WeakSet[LineWriter] = weakref.WeakSet()


def flush_lines() -> None:
    """Write what was taken, where no turn of the loop may come that does."""
    for writer in list(_writers):
        writer.flush()


def close_lines(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Write what was taken on this loop, or any: an end."""
    for writer in list(_writers):
        if loop is None or writer.loop is loop:
            writer.close()


def close_logs(*most: float) -> None:
    """The process ends: write what was taken, and give readers time, at most so many seconds."""
    close_lines()
    close_backlogs(*most)


# What a loop that is ended by a signal has no turn for any more.
atexit.register(close_logs)


def plain_handler(logger: logging.Logger) -> logging.StreamHandler[Any] | None:
    """The one handler of a logger whose lines need no records; None where they do."""
    if type(logger) is not logging.Logger or logger.filters or len(logger.handlers) != 1:
        return None
    if logger.propagate and _has_handlers_above(logger):
        return None
    handler: Any = logger.handlers[0]
    kind = type(handler)
    if (kind is not logging.StreamHandler and kind is not logging.FileHandler) or handler.filters:
        return None
    # `emit` is set while the log can't be written.
    attributes = vars(handler)
    if "emit" in attributes and type(attributes["emit"]) is not PipedEmit:
        return None
    if handler.level > logging.INFO or "format" in attributes or "handle" in vars(logger):
        return None
    if logging.getLogRecordFactory() is not logging.LogRecord:
        return None
    plain: logging.StreamHandler[Any] = handler
    return plain


def _has_handlers_above(logger: logging.Logger) -> bool:
    above: logging.Logger | None = logger
    while above is not None and above.propagate:
        above = above.parent
        if above is not None and above.handlers:
            return True
    return False


class LineWriter:
    """An access log: `log` is told of each response.

    `forms` gives what makes the lines of a formatter, `make_record` a record where logging is to write it.
    """

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_call_soon",
        "_context",
        "_form",
        "_forms",
        "_handler",
        "_lines",
        "_logger",
        "_looked",
        "_make_record",
        "_pid",
        "_seen",
        "_stream",
        "loop",
    )

    def __init__(
        self, logger: logging.Logger, loop: asyncio.AbstractEventLoop, forms: Forms, make_record: MakeRecord
    ) -> None:
        self.loop = loop
        self._logger = logger
        self._forms = forms
        self._make_record = make_record
        self._call_soon: Callable[..., Any] = loop.call_soon
        # What is written at the end of a turn is of no request's context.
        self._context = contextvars.Context()
        # A child that is forked later has the same lines, and they are not its own.
        self._pid = os.getpid()
        # What was taken in this turn; where there is some, more may be put to it.
        self._lines: list[str] = []
        # The plain handler, what makes the lines of its formatter, and what all of them were like when that was found.
        self._handler: logging.StreamHandler[Any] | None = None
        self._form: LineForm | None = None
        self._seen: tuple[Any, ...] | None = None
        self._backlog: Backlog | None = None
        # The stream that was found to be no reader's, and until when that is believed.
        self._stream: Any = None
        self._looked = 0.0
        _writers.add(self)

    def log(self, cycle: CycleView) -> None:
        """Write the line of a response, at the latest when this turn of the loop ends."""
        # With the first of a turn the logger is looked at.
        if self._lines or self._begins():
            form: Any = self._form
            self._lines.append(form(cycle, monotonic() - cycle.started))
        elif self._logger.isEnabledFor(logging.INFO):
            self._logger.handle(self._make_record(cycle, monotonic() - cycle.started))

    def _begins(self) -> bool:
        """Whether lines may be taken in this turn; they are written when it ends."""
        logger, handler, seen = self._logger, self._handler, self._seen
        if not logger.isEnabledFor(logging.INFO):
            return False
        if (
            seen is None
            or handler is None
            or logger.propagate
            or logger.__dict__ != seen[0]
            or handler.__dict__ != seen[1]
            or (handler.formatter is not None and _looks_of(handler.formatter) != seen[2])
            or logging.getLogRecordFactory() is not logging.LogRecord
        ) and not self._look():
            return False
        try:
            self._call_soon(self.flush, context=self._context)
        except RuntimeError:
            # The loop is closed.
            return False
        return True

    def _look(self) -> bool:
        """Find out whether the logger is a plain one, and how its lines are made."""
        self._seen = None
        handler = plain_handler(self._logger)
        if handler is None:
            return False
        formatter = handler.formatter
        self._form = self._forms(formatter)
        if self._form is None:
            return False
        self._handler = handler
        self._seen = (
            _copy_of(self._logger),
            _copy_of(handler),
            None if formatter is None else tuple(map(dict, _looks_of(formatter))),
        )
        return True

    def flush(self) -> None:
        """Write what was taken."""
        lines, handler = self._lines, self._handler
        if not lines or handler is None:
            return
        self._lines = []
        # As handler.acquire() does.
        with handler.lock or _NO_LOCK:
            try:
                self._write(handler, lines)
            except Exception:  # noqa: BLE001 - as a handler does: it is told, and costs nothing else
                for line in lines:
                    handler.handleError(logging.LogRecord(self._logger.name, logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Write what was taken, in the process that has taken it."""
        if os.getpid() == self._pid:
            self.flush()
            # Held on to, it would keep a pipe open that others close.
            self._backlog = None

    def _write(self, handler: logging.StreamHandler[Any], lines: list[str]) -> None:
        if handler.stream is None and isinstance(handler, logging.FileHandler):
            # A file that was to be opened late, or was closed by a dictConfig(): emit() opens it.
            record = logging.LogRecord("", logging.INFO, "", 0, lines.pop(0), None, None)
            formatter, handler.formatter = handler.formatter, None
            try:
                handler.emit(record)
            finally:
                handler.formatter = formatter
            if not lines:
                return
        stream, terminator = handler.stream, handler.terminator
        try:
            # Asked each time: a number that was closed may be another file's. What is no file as Python opens them may
            # have one all the same, and do more than write to it, as what copies stdout to two places.
            fd = stream.fileno() if type(stream) is io.TextIOWrapper else -1
        except (OSError, ValueError):
            fd = -1
        if fd < 0:
            stream.write("".join([line + terminator for line in lines]))
            handler.flush()
            return
        encoding, errors = stream.encoding or "utf-8", stream.errors or "backslashreplace"
        data = (terminator.join(lines) + terminator).encode(encoding, errors)
        limit = PIPE_BYTES
        is_known = stream is self._stream and monotonic() <= self._looked
        if not is_known:
            backlog = self._backlog
            if backlog is None or not backlog.is_for(fd):
                self._backlog = backlog = backlog_of(fd, name_of(handler))
            if backlog is not None:
                if not backlog.waits:
                    stream.flush()
                # Lines stay whole where others write as well.
                backlog.write(_pieces(lines, terminator, encoding, errors, data, limit))
                return
            self._stream, self._looked = stream, monotonic() + 1.0
        # What was written by somebody else comes before.
        stream.flush()
        if len(data) > limit:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                limit = _FILE_BYTES
            for piece in _pieces(lines, terminator, encoding, errors, data, limit):
                _write_all(fd, piece)
        elif (written := write_descriptor(fd, data)) < len(data):
            _write_all(fd, data[written:])


def _copy_of(each: Any) -> dict[str, Any]:
    """The attributes of a logger or a handler, as they are now."""
    return {name: list(value) if type(value) is list else value for name, value in vars(each).items()}


def _looks_of(formatter: logging.Formatter) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a formatter is like: where that is as it was, so are its lines."""
    attributes = formatter.__dict__
    return attributes, attributes["_style"].__dict__


def _pieces(lines: list[str], terminator: str, encoding: str, errors: str, data: bytes, limit: int) -> list[bytes]:
    """The lines, which are `data` together, as they are written: so much with each call, and none in two."""
    if len(data) <= limit:
        return [data]
    more = len(terminator)
    sizes = [len(line) + more for line in lines]
    if sum(sizes) != len(data):
        # Not a byte for each character.
        encoded = [(line + terminator).encode(encoding, errors) for line in lines]
        sizes, data = list(map(len, encoded)), b"".join(encoded)
    pieces: list[bytes] = []
    begin = at = 0
    for size in sizes:
        if at > begin and at + size - begin > limit:
            pieces.append(data[begin:at])
            begin = at
        at += size
    return [*pieces, data[begin:]]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        # What the kernel did not take.
        data = data[write_descriptor(fd, data) :]
