"""Logs that can't be written: a full disk, a reader that has gone, a file that may not be opened any more.

`logging` prints fifty lines for each line that it loses. Here the first is told on stderr, the others are counted, and
the end of it is told again.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.log import Losses

__all__ = ["all_handlers", "guard_handlers", "keep_files_open", "name_of"]


def all_handlers() -> list[logging.Handler]:
    """The handlers of all loggers, each once."""
    named = list(logging.root.manager.loggerDict.values())
    loggers = [logging.root, *(each for each in named if isinstance(each, logging.Logger))]
    return list(dict.fromkeys(handler for logger in loggers for handler in logger.handlers))


def guard_handlers() -> None:
    """Let the handlers of all loggers say once what they can't write; those with an answer of their own keep it."""
    for handler in all_handlers():
        if type(handler).handleError is logging.Handler.handleError and "handleError" not in vars(handler):
            handler.handleError = _Guard(handler)  # type: ignore[method-assign]


def name_of(handler: logging.Handler) -> str:
    """What a handler writes to, for a line about it."""
    file = getattr(handler, "baseFilename", None) or getattr(getattr(handler, "stream", None), "name", None)
    return f"The log {file}" if file else f"The log of {type(handler).__name__}"


class _Guard:
    """Stands for the handleError of one handler."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self._losses = Losses(name_of(handler))
        self._failed = False
        # The emit that the handler had of its own (logs/piped_handlers.py).
        self._own: Any = None

    def __call__(self, record: logging.LogRecord) -> None:
        exc = sys.exc_info()[1]
        self._failed = True
        if self._losses.add(exc) and not isinstance(exc, (OSError, ValueError)):
            # A fault in a formatter, say: where it is, is of interest.
            logging.Handler.handleError(self._handler, record)
        # From now on each line is watched, until one is written.
        own = vars(self._handler).get("emit")
        if getattr(own, "__self__", None) is not self:
            self._own = own
            self._handler.emit = self._emit  # type: ignore[method-assign]

    def _emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        handler = self._handler
        try:
            if self._own is None:
                type(handler).emit(handler, record)
            else:
                self._own(record)
        except Exception:  # noqa: BLE001 - a file that can't be opened
            self(record)
        if not self._failed and self._losses.end():
            if self._own is None:
                del handler.emit
            else:
                handler.emit = self._own  # type: ignore[method-assign]


def keep_files_open(reopen: Callable[[], Any]) -> list[str]:
    """Call `reopen`, which closes and opens all log files; those that can't be opened go on as they are.

    Gives a line for each of these. A worker that has given up its privileges may not open what its master may.
    """
    lines = []
    kept: list[tuple[logging.FileHandler, int]] = []
    for handler in all_handlers():
        stream = getattr(handler, "stream", None)
        if not isinstance(handler, logging.FileHandler) or stream is None:
            continue
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
            os.close(os.open(handler.baseFilename, flags, 0o666))
        except OSError as exc:
            lines.append(f"The log {handler.baseFilename} can't be reopened and goes on as it is: {exc.strerror}")
            fd = os.dup(stream.fileno())
            # What Gunicorn calls to open the file again: FileHandler's own.
            vars(handler)["_open"] = _same_file(handler, fd)
            kept.append((handler, fd))
    try:
        reopen()
    except Exception as exc:  # noqa: BLE001 - whatever a logger of somebody's raises, this is a signal's handler
        lines.append(f"The logs could not be reopened: {exc}")
    finally:
        for handler, fd in kept:
            del vars(handler)["_open"]
            os.close(fd)
    return lines


def _same_file(handler: logging.FileHandler, fd: int) -> Callable[[], Any]:
    # Duplicates: a handler that two loggers have is closed and opened for each of them.
    return lambda: os.fdopen(os.dup(fd), "a", encoding=handler.encoding, errors=handler.errors)
