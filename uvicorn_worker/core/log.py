"""The logger uvicorn.error, as the core writes on it: no line of a log costs a request or the loop.

A filter or a handler may raise, and a log may be full or gone. That is told on stderr, once until it is over, and what
could not be written is counted. What a client has sent is escaped, so that it can't make lines of its own.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.kernel import write_descriptor

__all__ = [
    "QUIET_SECONDS",
    "ErrorLog",
    "Losses",
    "OwnLog",
    "count",
    "escaped",
    "say_on_stderr",
    "write_stderr",
    "write_stdout",
]

# What comes and goes is over when it has not come for so many seconds.
QUIET_SECONDS = 5.0


def count(number: int, noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def escaped(text: str) -> str:
    """A client's text for a log, as nginx escapes it: `\\x0A` for what does not print, quotes, backslashes."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join([each if each.isprintable() and each not in '"\\' else _code(each) for each in text])


def _code(character: str) -> str:
    number = ord(character)
    data = bytes([number]) if number < 256 else character.encode("utf-8", "surrogatepass")
    return "".join([f"\\x{octet:02X}" for octet in data])


def say_on_stderr(line: str) -> None:
    """Write a line on stderr, if there is one and it takes a line without being waited for."""
    if sys.__stderr__ is None:
        # It was closed when Python began: by now the number may be that of a client's connection, or of a file.
        return
    try:
        if select.select([], [2], [], 0)[1]:
            write_descriptor(2, f"[{os.getpid()}] {line}\n".encode("utf-8", "replace"))
    except (OSError, ValueError):
        # There is no stderr, or it is the log that can't be written.
        pass


def write_stderr(text: str) -> None:
    """Write what the command says on sys.stderr; nothing where there is none, as for a program without a console."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.write(text)


def write_stdout(text: str) -> None:
    """Write what was asked for on sys.stdout; nothing where that is closed, as of who wants the exit code alone."""
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.write(text)


class Losses:
    """How many lines a log has lost since it was found that it can't be written.

    A log that fails for some of its lines alone (a filter that raises, a disk that is full again at once) would be told
    of with each of them: what begins again so soon is counted, and told when it has been over for a while.
    """

    __slots__ = ("_comes_and_goes", "_ended", "_last", "lost", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = 0
        self._last = self._ended = -math.inf
        self._comes_and_goes = False

    def add(self, exc: BaseException | None) -> bool:
        """One more; True where it is the first, of which stderr was told."""
        self.lost += 1
        self._last = time.monotonic()
        if self.lost > 1:
            return False
        if self._last - self._ended < QUIET_SECONDS:
            self._comes_and_goes = True
            return False
        reason = " ".join(f"{type(exc).__name__}: {exc}".split())
        say_on_stderr(f"{self.name} can't be written, lines are lost until it can: {escaped(reason)}")
        return True

    def end(self, say: Callable[[str], Any] = say_on_stderr, *, at_last: bool = False) -> bool:
        """A line was written again, which `say` is told; False where that is not believed yet.

        `at_last`: it must be believed, since the process ends.
        """
        if not self.lost:
            return True
        now = time.monotonic()
        if self._comes_and_goes and now - self._last < QUIET_SECONDS and not at_last:
            return False
        lost, self.lost = self.lost, 0
        self._comes_and_goes, self._ended = False, now
        say(f"{self.name} is written again; {lost} {'line was' if lost == 1 else 'lines were'} lost")
        return True


class OwnLog:
    """uvicorn.error for what the server says of itself; nothing that logging raises comes out of it."""

    __slots__ = ("logger",)

    _losses = Losses("The log uvicorn.error")

    def __init__(self) -> None:
        self.logger = logging.getLogger("uvicorn.error")

    def debug(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """Log at this level; as the methods of logging, in this and in those that follow."""
        self._write(logging.DEBUG, message, args, exc_info)

    def info(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """See `debug`."""
        self._write(logging.INFO, message, args, exc_info)

    def warning(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """See `debug`."""
        self._write(logging.WARNING, message, args, exc_info)

    def error(self, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """See `debug`."""
        self._write(logging.ERROR, message, args, exc_info)

    def log(self, level: int, message: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """See `debug`."""
        self._write(level, message, args, exc_info)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is that of logging
        """Whether lines of this level are written."""
        return self.logger.isEnabledFor(level)

    def _write(self, level: int, message: str, args: tuple[Any, ...], exc_info: BaseException | None) -> None:
        losses = self._losses
        if not self.logger.isEnabledFor(level):
            return
        try:
            # The line is that of the caller's caller.
            self.logger.log(level, message, *self._shown(args), exc_info=exc_info, stacklevel=3)
        except Exception as exc:  # noqa: BLE001 - a filter or a handler of somebody's raises what it likes
            losses.add(exc)
        else:
            if losses.lost:
                losses.end()

    def _shown(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments as they are logged."""
        return args


class ErrorLog(OwnLog):
    """The same for what clients and applications do: text among the arguments is escaped."""

    __slots__ = ()

    def _shown(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple([escaped(str(each)) if isinstance(each, (str, BaseException)) else each for each in args])
