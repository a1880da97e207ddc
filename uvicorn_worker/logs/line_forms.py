"""What makes an access line as a formatter does, without a record: for the formatters that nearly everyone has.

    logging.Formatter that gives the message        Gunicorn's, and `%(message)s`
    AccessFormatter, ours or uvicorn's              with uvicorn's own format, without colours
    JsonFormatter                                   ours

A form is found by the formatter's class, and where it may be somebody's it has to agree with it on a record. Each form
makes what is plain: where something that a client has sent is to be escaped, the formatter is asked.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from json.encoder import encode_basestring
from typing import Any

from uvicorn_worker.core.asgi import raw_path_of
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.logs.atoms import Atoms, compile_format, compile_line

__all__ = ["Forms", "LineForm", "gunicorn_forms", "uvicorn_forms"]

LineForm = Callable[[CycleView, float], str]
"""The line of a response, without its end, by the seconds that it has taken."""

Forms = Callable[[logging.Formatter | None], LineForm | None]
"""What makes the lines of a formatter; None where only it can."""

MakeRecord = Callable[[CycleView, float], logging.LogRecord]

# How many addresses and texts of JSON lines are remembered, and how long both together may be.
MOST_TEXTS = 1024
LONGEST_TEXT = 256
_PROBE = "%(x)s {} $y \u20ac"
# By their names: who has a formatter has imported its module, and nobody else has to.
_UVICORNS = (("uvicorn.logging", "AccessFormatter"), ("uvicorn_worker.logs.formatters", "AccessFormatter"))
_JSON = ("uvicorn_worker.logs.json_lines", "JsonFormatter")


def _gives_the_message(formatter: logging.Formatter | None) -> bool:
    if formatter is None:
        return True
    if type(formatter) is not logging.Formatter:
        return False
    record = logging.LogRecord("x", logging.INFO, "", 0, _PROBE, None, None)
    try:
        return formatter.format(record) == _PROBE
    except Exception:  # noqa: BLE001 - it names what access lines have, and this has not
        return False


def _is_json(formatter: logging.Formatter | None) -> bool:
    kind = type(formatter)
    return (kind.__module__, kind.__qualname__) == _JSON and "format" not in vars(formatter)


def _is_uvicorns(formatter: logging.Formatter | None) -> bool:
    """Whether the formatter writes access lines as uvicorn does on no terminal."""
    kind = type(formatter)
    # Others are asked for nothing: a formatter may count what it formats.
    if formatter is None or (kind.__module__, kind.__qualname__) not in _UVICORNS:
        return False
    from uvicorn_worker.logs.formatters import LOGGING_CONFIG

    if vars(formatter).get("_fmt") != LOGGING_CONFIG["formatters"]["access"]["fmt"]:
        return False
    for status in (200, 302, 404, 500, 599):
        args = ("a:1", "GET", "/?b", "1.1", status)
        record = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d', args, None)
        if formatter.format(record) != f'INFO:     a:1 - "GET /?b HTTP/1.1" {_status_text(status)}':
            return False
    return True


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} "


_STATUS_TEXTS = {each.value: _status_text(each.value) for each in HTTPStatus}


# Gunicorn's ------------------------------------------------------------------------------------------------------


def gunicorn_forms(name: str, access_log_format: str) -> Forms:
    """The forms of a logger whose message is a line of Gunicorn's atoms."""
    make_line = compile_line(access_log_format)

    def forms(formatter: logging.Formatter | None) -> LineForm | None:
        if _gives_the_message(formatter):
            return make_line
        return _json_message(name, make_line) if _is_json(formatter) else None

    return forms


def _json_message(name: str, make_line: LineForm) -> LineForm:
    from uvicorn_worker.logs.json_lines import JsonTime

    json_time, between = JsonTime(), _between(name)

    def make(cycle: CycleView, elapsed: float) -> str:
        return f'{{"time": "{json_time(time.time())}"{between}{encode_basestring(make_line(cycle, elapsed))}}}'

    return make


def _between(name: str) -> str:
    """What is between the time and the message of a record of this logger."""
    record = logging.LogRecord(name, logging.INFO, "", 0, "", None, None)
    known = {"level": record.levelname.lower(), "logger": name, "pid": record.process}
    return ", " + json.dumps(known, ensure_ascii=False)[1:-1] + ', "message": '


# uvicorn's -------------------------------------------------------------------------------------------------------


def uvicorn_forms(name: str, config: Config, make_record: MakeRecord) -> Forms:
    """The forms of a logger whose message is uvicorn's, or that of `Config.access_log_format`."""
    own_format, root_path = config.access_log_format, raw_path_of(config.root_path)

    def forms(formatter: logging.Formatter | None) -> LineForm | None:
        if _gives_the_message(formatter):
            return _message(root_path, make_record) if own_format is None else compile_line(own_format)
        if formatter is not None and _is_uvicorns(formatter):
            return _uvicorns_line(formatter, root_path, make_record)
        if formatter is not None and _is_json(formatter):
            return _json_parts(name, formatter, own_format, root_path, make_record)
        return None

    return forms


def _parts(cycle: CycleView, root_path: bytes) -> tuple[str, str, str] | None:
    """Client, method and target of a request as a line has them; None where something is to be escaped."""
    scope = cycle.scope
    client, method, sent = scope["client"], scope["method"], cycle.target
    # As `peer_name`, without the call.
    address = f"{client[0]}:{client[1]}" if client else ""
    target = (root_path + sent if root_path and sent[:1] == b"/" else sent).decode("latin-1")
    return (address, method, target) if target.isprintable() and '"' not in target and "\\" not in target else None


def _message(root_path: bytes, make_record: MakeRecord) -> LineForm:
    def make(cycle: CycleView, elapsed: float) -> str:
        parts = _parts(cycle, root_path)
        if parts is None:
            return make_record(cycle, elapsed).getMessage()
        client, method, target = parts
        return f'{client} - "{method} {target} HTTP/{cycle.scope["http_version"]}" {cycle.status}'

    return make


def _uvicorns_line(formatter: logging.Formatter, root_path: bytes, make_record: MakeRecord) -> LineForm:
    texts = _STATUS_TEXTS

    def make(cycle: CycleView, elapsed: float) -> str:
        parts = _parts(cycle, root_path)
        if parts is None:
            return formatter.format(make_record(cycle, elapsed))
        client, method, target = parts
        status = texts.get(cycle.status) or f"{cycle.status} "
        return f'INFO:     {client} - "{method} {target} HTTP/{cycle.scope["http_version"]}" {status}'

    return make


def _seconds_text(elapsed: float) -> str:
    """As `repr` of seconds that were rounded to microseconds, which takes ten times as long."""
    micros = round(elapsed * 1_000_000)
    if not 100 <= micros < 1_000_000:
        # It has an exponent, or is that long.
        return repr(micros / 1_000_000)
    return "0." + str(micros + 1_000_000)[1:].rstrip("0")


def _json_parts(
    name: str, formatter: logging.Formatter, own_format: str | None, root_path: bytes, make_record: MakeRecord
) -> LineForm:
    from uvicorn_worker.logs.json_lines import JsonTime

    json_time, between = JsonTime(), _between(name)
    make_message = None if own_format is None else compile_format(own_format)
    # The address of a client; and by target, method, version and status what is behind it in the message, and what is
    # between the address by itself and the size. Both come again and again.
    addresses: dict[Any, str] = {}
    texts: dict[Any, tuple[str, str]] = {}

    def look(cycle: CycleView, client: Any, key: Any) -> tuple[str, tuple[str, str]] | None:
        """Both of a response; None where something is to be escaped. They are remembered by these keys, if any."""
        parts = _parts(cycle, root_path)
        # What a proxy has said of the client may be anything.
        if parts is None or not parts[0].isprintable() or '"' in parts[0] or "\\" in parts[0]:
            return None
        address, method, target = parts
        version, status = cycle.scope["http_version"], cycle.status
        behind = f' - \\"{method} {target} HTTP/{version}\\" {status}"'
        path = target.partition("?")[0]
        rest = (
            f'", "method": "{method}", "path": "{path}", "http_version": "{version}", "status_code": {status}, '
            f'"request_line": "{method} {target} HTTP/{version}", "bytes": '
        )
        text = behind, rest
        if key is not None and len(address) + len(target) <= LONGEST_TEXT:
            if len(texts) >= MOST_TEXTS or len(addresses) >= MOST_TEXTS:
                texts.clear()
                addresses.clear()
            addresses[client], texts[key] = address, text
        return address, text

    def make(cycle: CycleView, elapsed: float) -> str:
        scope = cycle.scope
        client = scope["client"]
        key: Any = (cycle.target, scope["method"], scope["http_version"], cycle.status)
        try:
            address, text = addresses.get(client), texts.get(key)
        except TypeError:
            # The application has put something else into its scope.
            address = text = key = None
        if address is None or text is None:
            found = look(cycle, client, key)
            if found is None:
                return formatter.format(make_record(cycle, elapsed))
            address, text = found
        behind, rest = text
        message = (
            f'"{address}{behind}' if make_message is None else encode_basestring(make_message(Atoms(cycle, elapsed)))
        )
        return (
            f'{{"time": "{json_time(time.time())}"{between}{message}, "client_addr": "{address}{rest}'
            f'{cycle.body_sent}, "duration": {_seconds_text(elapsed)}}}'
        )

    return make
