"""Limits on a request: Gunicorn's limit_request_line, _fields and _field_size, for both parsers, and the body's.

A head that arrived in one small read can only break the limit on the number of fields, which the protocol
counts itself. All others come here.
"""

from __future__ import annotations

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.http1.unreadable import RTSP

__all__ = ["BODY_HIGH_WATER", "PartialHead", "PartialLines", "body_too_long", "check_head", "too_many_fields"]

# Reading from the client pauses while more than this of bodies waits for the application.
BODY_HIGH_WATER = 65536

# What the request line has besides method and target: two spaces and "HTTP/1.1".
_LINE_REST = 10

# The start of a head that is not to be told from noise: method and version of a line without its target.
_LINE_SLACK = 64


def check_head(config: Config, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Check the sizes of a whole head (raises `RequestRefused`)."""
    line_size = len(method) + len(url) + _LINE_REST
    if config.limit_request_line and line_size > config.limit_request_line:
        raise _line_too_long(config)
    longest = config.limit_request_field_size
    if longest and any(len(name) + len(value) > longest for name, value in headers):
        raise _field_too_long(config)


class PartialHead:
    """Checks what has come of a head that a callback parser is at, each field once."""

    __slots__ = ("_in_line", "_seen", "_told", "line_tail")

    def __init__(self) -> None:
        # How many fields were looked at, and what they took.
        self._seen = self._told = 0
        # Whether the request line is under way, and how what has come of it ends.
        self._in_line = True
        self.line_tail = b""

    def is_rtsp(self, piece: bytes) -> bool:
        """Whether `piece`, by which the head goes on, makes the request line one of RTSP's."""
        if not self._in_line:
            return False
        if not self.line_tail:
            piece = piece.lstrip(b"\r\n")
        line, end, _ = (self.line_tail + piece).partition(b"\n")
        self._in_line = not end
        self.line_tail = b"" if end else line[1 - len(RTSP) :]
        return RTSP in line

    def check(self, config: Config, size: int, url: bytes | None, headers: list[tuple[bytes, bytes]]) -> None:
        """`size` bytes have come so far (raises `RequestRefused`).

        What no callback has told of yet is the line or the field that is under way.
        """
        line_limit, field_limit = config.limit_request_line, config.limit_request_field_size
        if url is None:
            if size > max(line_limit, _LINE_SLACK):
                raise RequestRefused(400, "no request line")
            return
        if line_limit and len(url) > line_limit:
            raise _line_too_long(config)
        if len(headers) > config.limit_request_fields:
            raise too_many_fields(config)
        if not field_limit:
            return
        for name, value in headers[self._seen :]:
            if len(name) + len(value) > field_limit:
                raise _field_too_long(config)
            self._told += len(name) + len(value) + 4
        self._seen = len(headers)
        under_way = size - len(url) - self._told - _LINE_SLACK
        if under_way > field_limit:
            raise _line_too_long(config) if not headers and under_way <= line_limit else _field_too_long(config)


class PartialLines:
    """Checks a head that has not ended, as it comes."""

    __slots__ = ("_config", "_fields", "_size")

    def __init__(self, config: Config) -> None:
        self._config = config
        # How many lines of fields have begun, and the size of the line that is under way.
        self._fields = -1
        self._size = 0

    def add(self, data: bytes) -> None:
        """More of it has come (raises `RequestRefused`)."""
        config = self._config
        for number, part in enumerate(data.split(b"\n")):
            if number or self._fields < 0:
                self._fields += 1
                self._size = 0
            self._size += len(part)
            if self._fields == 0:
                if config.limit_request_line and self._size - 1 > config.limit_request_line:
                    raise _line_too_long(config)
            elif config.limit_request_field_size and self._size > config.limit_request_field_size + 3:
                raise _field_too_long(config)
        if self._fields > config.limit_request_fields + 1:
            raise too_many_fields(config)


def too_many_fields(config: Config) -> RequestRefused:
    """More fields than limit_request_fields."""
    return RequestRefused(431, f"the head has more than {config.limit_request_fields} fields")


def body_too_long(limit: int) -> RequestRefused:
    """A longer body than limit_request_body."""
    return RequestRefused(413, f"the request body is longer than {limit} bytes")


def _line_too_long(config: Config) -> RequestRefused:
    return RequestRefused(414, f"the request line is longer than {config.limit_request_line} bytes")


def _field_too_long(config: Config) -> RequestRefused:
    return RequestRefused(431, f"a header field is longer than {config.limit_request_field_size} bytes")
