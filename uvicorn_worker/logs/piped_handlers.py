"""Handlers of logging that write to a pipe, a socket or a terminal: a line waits for its reader, and nobody else does.

A worker that logs an error would stand still in `write()` where its stderr is full and nobody reads it, until it is
killed for that. So what `emit` does is done here, with a `Backlog` in the place of the stream. Handler, stream,
formatter and filters stay what they are. It is for logging's own handlers, on files as Python opens them: what is none
of that, or becomes something else, is left to logging, and so are lines of a child that the process forks.
"""

from __future__ import annotations

import io
import logging
import os
from typing import Any, TypeGuard

from uvicorn_worker.logs.backlog import Backlog, backlog_of
from uvicorn_worker.logs.guards import all_handlers, name_of

__all__ = ["PipedEmit", "unblock_handlers"]

# How long a line is waited for that a thread has to write, in seconds: it is to be there when the process crashes.
_PATIENCE = 0.01

# That of the last resort, too, which has the records of an application that has set up nothing.
_KINDS = (logging.StreamHandler, logging.FileHandler, getattr(logging, "_StderrHandler", logging.StreamHandler))


def unblock_handlers() -> None:
    """Let no handler that there is now wait for its reader; to be called again where there may be others."""
    for handler in (*all_handlers(), logging.lastResort):
        if not _is_loggings(handler):
            continue
        own = vars(handler).get("emit")
        if own is None or (isinstance(own, PipedEmit) and own.pid != os.getpid()):
            emit = PipedEmit(handler)
            if emit.find() is not None:
                handler.emit = emit  # type: ignore[method-assign]


def _is_loggings(handler: logging.Handler | None) -> TypeGuard[logging.StreamHandler[Any]]:
    """Whether it is of logging's own classes, and nobody has put something in the place of their method."""
    kind: Any = type(handler)
    return kind in _KINDS and getattr(kind.emit, "__module__", None) == "logging"


class PipedEmit:
    """Stands for the `emit` of one handler, in one process."""

    def __init__(self, handler: logging.StreamHandler[Any]) -> None:
        self.pid = os.getpid()
        self._handler = handler
        self._backlog: Backlog | None = None

    def find(self) -> Backlog | None:
        """Where lines go; None where the handler's own way is to be taken."""
        stream = self._handler.stream
        if type(stream) is not io.TextIOWrapper or os.getpid() != self.pid:
            return None
        try:
            # Asked each time: it may lead to another file, as after USR1.
            fd = stream.fileno()
            if self._backlog is None or not self._backlog.is_for(fd):
                self._backlog = backlog_of(fd, name_of(self._handler))
        except (OSError, ValueError):
            # It is closed, or no file: logging has its words for it.
            return None
        return self._backlog

    def __call__(self, record: logging.LogRecord) -> None:
        handler = self._handler
        backlog = self.find()
        if backlog is None:
            type(handler).emit(handler, record)
            return
        # As StreamHandler.emit() does.
        try:
            line = handler.format(record) + handler.terminator
            stream = handler.stream
            data = line.encode(stream.encoding, stream.errors)
            if not backlog.waits:
                # What was written by somebody else comes before.
                stream.flush()
            backlog.write([data], _PATIENCE)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - as logging does
            handler.handleError(record)
