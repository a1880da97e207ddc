"""Formatters with the names and arguments of uvicorn's, for logging configurations that were made for it.

A configuration may name them where uvicorn is not installed: `logs/log_config.py` puts these in their place.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from copy import copy
from http import HTTPStatus
from typing import Any, ClassVar, Literal

from uvicorn_worker.logs.levels import LEVELS, TRACE

__all__ = [
    "FORMATTED_CONFIG",
    "LOGGING_CONFIG",
    "LOG_LEVELS",
    "TRACE_LOG_LEVEL",
    "AccessFormatter",
    "ColourizedFormatter",
    "DefaultFormatter",
    "usual_config",
]

TRACE_LOG_LEVEL = TRACE
LOG_LEVELS: dict[str, int] = dict(LEVELS)

LOGGING_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "default": {
            "()": "uvicorn_worker.logs.formatters.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "uvicorn_worker.logs.formatters.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
            "use_colors": None,
        },
    },
    "handlers": {
        "default": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "default"},
        "access": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "access"},
    },
    "loggers": {
        "uvicorn": {"level": "INFO", "handlers": ["default"], "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"level": "INFO", "handlers": ["access"], "propagate": False},
    },
}
"""What uvicorn does where nothing else is said: its lines on stderr, access lines on stdout."""

FORMATTED_CONFIG: dict[str, Any] = {
    **LOGGING_CONFIG,
    "formatters": {**LOGGING_CONFIG["formatters"], "access": LOGGING_CONFIG["formatters"]["default"]},
}
"""The same for access lines of a form of one's own: the formatter of uvicorn's writes none but uvicorn's."""


def usual_config(access_log_format: str | None) -> dict[str, Any]:
    """The one of these that writes access lines as they are to be; None: as uvicorn's."""
    return LOGGING_CONFIG if access_log_format is None else FORMATTED_CONFIG


# Colours of a terminal (ECMA-48, SGR).
_RED, _GREEN, _YELLOW, _BLUE, _CYAN, _BRIGHT_RED, _BRIGHT_WHITE = 31, 32, 33, 34, 36, 91, 97
# Where a level's name ends, with its colon.
_PREFIX_WIDTH = 9


def _in(colour: int) -> Callable[[Any], str]:
    """What puts a text in a colour."""
    return lambda text: f"\x1b[{colour}m{text}\x1b[0m"


def _is_terminal(stream: Any) -> bool:
    """Whether it is one; a program without a console has no streams, and what stands for one may not know."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


class ColourizedFormatter(logging.Formatter):
    """A formatter with `%(levelprefix)s`, the level's name in its colour.

    `use_colors` None: where stdout is a terminal. With colours, a record's `color_message` is shown for its message.
    """

    level_name_colors: ClassVar[dict[int, Callable[[Any], str]]] = {
        TRACE: _in(_BLUE),
        logging.DEBUG: _in(_CYAN),
        logging.INFO: _in(_GREEN),
        logging.WARNING: _in(_YELLOW),
        logging.ERROR: _in(_RED),
        logging.CRITICAL: _in(_BRIGHT_RED),
    }
    """What is made of the names of the levels."""

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        use_colors: bool | None = None,
    ) -> None:
        super().__init__(fmt, datefmt, style)
        self.use_colors = self.should_use_colors() if use_colors is None else use_colors

    def should_use_colors(self) -> bool:
        """Whether there are colours where `use_colors` says nothing."""
        return _is_terminal(sys.stdout)

    def color_level_name(self, level_name: str, level_no: int) -> str:
        """The level's name in its colour."""
        return self.level_name_colors.get(level_no, str)(level_name)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is that of logging
        record = copy(record)
        attributes, name = record.__dict__, record.levelname
        padding = " " * (_PREFIX_WIDTH - 1 - len(name))
        if self.use_colors:
            name = self.color_level_name(name, record.levelno)
            if "color_message" in attributes:
                record.msg = attributes["color_message"]
                record.message = record.getMessage()
        attributes["levelprefix"] = f"{name}:{padding}"
        return super().formatMessage(record)


class DefaultFormatter(ColourizedFormatter):
    """The same for stderr."""

    def should_use_colors(self) -> bool:
        """Whether stderr is a terminal."""
        return _is_terminal(sys.stderr)


class AccessFormatter(ColourizedFormatter):
    """The same for records of uvicorn.access: `client_addr`, `request_line`, and `status_code` with its phrase."""

    status_code_colours: ClassVar[dict[int, Callable[[Any], str]]] = {
        1: _in(_BRIGHT_WHITE),
        2: _in(_GREEN),
        3: _in(_YELLOW),
        4: _in(_RED),
        5: _in(_BRIGHT_RED),
    }
    """What is made of statuses, by their first digits."""

    def get_status_code(self, status_code: int) -> str:
        """The status and its phrase, as in `200 OK`."""
        try:
            text = f"{status_code} {HTTPStatus(status_code).phrase}"
        except ValueError:
            text = f"{status_code} "
        return self.status_code_colours.get(status_code // 100, str)(text) if self.use_colors else text

    # Of its own, so that a subclass that sets these three in another way can leave it out:
    # `super(AccessFormatter, self).formatMessage(record)`.
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is that of logging
        record = copy(record)
        arguments: Any = record.args
        client_addr, method, full_path, http_version, status_code = arguments
        request_line = f"{method} {full_path} HTTP/{http_version}"
        if self.use_colors:
            request_line = f"\x1b[1m{request_line}\x1b[0m"
        record.__dict__.update(
            client_addr=client_addr, request_line=request_line, status_code=self.get_status_code(int(status_code))
        )
        return super().formatMessage(record)
