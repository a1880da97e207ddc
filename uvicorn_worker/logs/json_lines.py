"""A line of JSON for each record: `--log-format json` of the command, and for logging configurations."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

__all__ = ["JSON_CONFIG", "JsonFormatter", "JsonTime"]

# What every record has (`logging.LogRecord`), and what formats make of it: the rest was given by who has logged.
_USUAL = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {
    "message",
    "asctime",
    "color_message",
    "taskName",
}


class JsonTime:
    """RFC 3339 in UTC with milliseconds, of seconds since the epoch; the text of a second is made once."""

    __slots__ = ("_from", "_now", "_second", "_text", "_until")

    def __init__(self) -> None:
        self._second, self._text = -1, ""
        # The text of the last millisecond, and within what all times have it.
        self._now, self._from, self._until = "", 0.0, 0.0

    def __call__(self, created: float) -> str:
        if self._from < created < self._until:
            return self._now
        # As datetime does it: microseconds are rounded, to even where it is a half, and milliseconds are cut off.
        second = int(created)
        micros = round((created - second) * 1_000_000)
        if micros >= 1_000_000:
            second, micros = second + 1, micros - 1_000_000
        if second != self._second:
            self._text = datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second
        millis = micros // 1000
        self._now = now = f"{self._text}.{millis:03d}Z"
        # A microsecond less at both ends, within which it may be rounded.
        self._from, self._until = second + (millis * 1000 + 1) / 1_000_000, second + (millis * 1000 + 998) / 1_000_000
        return now


class JsonFormatter(logging.Formatter):
    """time (RFC 3339, UTC), level, logger, pid and message; what was given as `extra`; an error's traceback.

    Of an access line the parts: client_addr, method, path, http_version, status_code, bytes, duration.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        shown: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        args = record.args
        if record.name == "uvicorn.access" and isinstance(args, tuple) and len(args) == 5:
            shown |= dict(zip(("client_addr", "method", "path", "http_version", "status_code"), args, strict=True))
        shown |= {name: value for name, value in vars(record).items() if name not in _USUAL and name[:1] != "_"}
        if record.exc_info:
            shown["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            shown["stack"] = self.formatStack(record.stack_info)
        return json.dumps(shown, default=str, ensure_ascii=False)


def _handler(stream: str) -> dict[str, Any]:
    return {"class": "logging.StreamHandler", "stream": f"ext://sys.{stream}", "formatter": "json"}


JSON_CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "uvicorn_worker.logs.json_lines.JsonFormatter"}},
    "handlers": {"default": _handler("stderr"), "access": _handler("stdout")},
    "loggers": {
        "uvicorn": {"level": "INFO", "handlers": ["default"], "propagate": False},
        "uvicorn.error": {"level": "INFO"},
        "uvicorn.access": {"level": "INFO", "handlers": ["access"], "propagate": False},
    },
}
"""A configuration for logging.config.dictConfig that writes all of it so."""
