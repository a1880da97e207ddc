"""The field lines that head every response: date, server, and those of the option headers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from uvicorn_worker.core.clock import date_line
from uvicorn_worker.core.config import Config

__all__ = ["DefaultLines"]

# What is said of the connection and of the message's framing, for each response as it is.
_OF_EACH = frozenset([b"connection", b"content-length", b"proxy-connection", b"transfer-encoding"])


class DefaultLines:
    """`lines` as HTTP/1.1 writes them, names in lower case; a new object each time that they change."""

    __slots__ = ("_extra", "_is_given", "_sends_date", "_server", "closes", "heads", "lines", "names")

    def __init__(self, config: Config) -> None:
        # Whether `Connection: close` is among them, which is for HTTP/1.1 alone, and what the protocol says by itself.
        self._extra, names, self.closes = _lines_of(config.headers)
        self._server = b"server: uvicorn\r\n" if config.server_header and b"server" not in names else b""
        self._sends_date = config.date_header and b"date" not in names
        # The names of which the application's own field takes the place of ours.
        self.names = names | {b"date", b"server"}
        self.lines = b""
        self._is_given = False
        # Whole heads that a protocol has made with these lines; they are good for as long as the lines are.
        self.heads: dict[tuple[Any, ...], Any] = {}
        self.refresh()

    def refresh(self) -> None:
        """Make the lines anew; called each second, for the date."""
        if self._is_given:
            return
        date = date_line(time.time()) if self._sends_date else b""
        lines = date + self._server + self._extra
        if lines != self.lines:
            self.lines = lines
            self.heads.clear()

    def give(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """From now on it is these, until others are given: the date, too, is up to who gives them."""
        lines, names, _ = _lines_of(fields)
        self._is_given = True
        self.names = names | {b"date", b"server"}
        if lines != self.lines:
            self.lines = lines
            self.heads.clear()

    def without(self, names: set[bytes]) -> bytes:
        """The lines but for those whose names the application has set itself."""
        lines = self.lines.split(b"\r\n")[:-1]
        return b"".join(line + b"\r\n" for line in lines if line.partition(b":")[0] not in names)


def _lines_of(fields: Iterable[tuple[str | bytes, str | bytes]]) -> tuple[bytes, frozenset[bytes], bool]:
    """The field lines, the names in them, and whether they close connections."""
    lines, names, closes = [], set(), False
    for name, value in fields:
        raw_name = (name.encode("latin-1") if isinstance(name, str) else name).lower()
        raw_value = value.encode("latin-1") if isinstance(value, str) else value
        if raw_name in _OF_EACH:
            closes = closes or (raw_name == b"connection" and b"close" in raw_value.lower())
            continue
        lines.append(raw_name + b": " + raw_value + b"\r\n")
        names.add(raw_name)
    return b"".join(lines), frozenset(names), closes
