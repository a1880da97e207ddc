"""Access lines on the logger uvicorn.access, and the records that carry access lines.

A record of uvicorn.access has the arguments that uvicorn's own formatter reads, (client_addr, method, path,
http_version, status_code), and attributes for all others: client_addr, request_line, status_code, method, path,
bytes (of the body) and duration (in seconds).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn_worker.core.address import peer_name
from uvicorn_worker.core.asgi import raw_path_of
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.log import escaped
from uvicorn_worker.core.paths import Paths
from uvicorn_worker.core.runtime import AccessHook, CycleView
from uvicorn_worker.logs.atoms import Atoms, compile_format
from uvicorn_worker.logs.guards import guard_handlers
from uvicorn_worker.logs.line_forms import Forms, uvicorn_forms
from uvicorn_worker.logs.line_writer import LineWriter
from uvicorn_worker.logs.piped_handlers import unblock_handlers

__all__ = [
    "AccessRecord",
    "client_addr_of",
    "line_hook",
    "quiet_paths",
    "record_maker",
    "standalone_access",
    "uvicorn_hook",
    "uvicorn_record_maker",
]

_MESSAGE = '%s - "%s %s HTTP/%s" %d'

RecordMaker = Callable[[str, Any], logging.LogRecord]
CycleRecordMaker = Callable[[CycleView, float], logging.LogRecord]


class AccessRecord(logging.LogRecord):
    """A record whose line was made already; `args` is there for formatters and filters that want the parts."""

    # A slot and no attribute: formatters that write all attributes shall not write the line twice.
    __slots__ = ("line",)

    line: str

    def getMessage(self) -> str:  # noqa: N802 - the name is that of logging
        return self.line


def record_maker(name: str, message: str) -> RecordMaker:
    """What makes a record of a logger from the line and the arguments, of which `message` would make it.

    A factory that was set with `logging.setLogRecordFactory` is asked, since formats may rely on what it adds.
    Otherwise what is the same for all lines of this process and thread is found out once.
    """
    code = line_hook.__code__
    # Where a line comes from, for formats with %(filename)s, %(lineno)d and %(funcName)s, and for collectors of
    # logs that take these for granted. It is the same for all of them.
    path, line_number, function = code.co_filename, code.co_firstlineno, code.co_name
    factory = logging.getLogRecordFactory()
    if factory is not logging.LogRecord:
        return lambda line, args: factory(name, logging.INFO, path, line_number, message, args, None, function)

    common = logging.LogRecord(name, logging.INFO, path, line_number, message, None, None, function).__dict__
    if "taskName" in common:
        common["taskName"] = None
    begun = common["created"] - common["relativeCreated"] / 1000

    def make(line: str, args: Any) -> logging.LogRecord:
        record = AccessRecord.__new__(AccessRecord)
        record.__dict__ = common.copy()
        record.created = created = time.time()
        record.msecs = int((created - int(created)) * 1000) + 0.0
        record.relativeCreated = (created - begun) * 1000
        record.args = args
        record.line = line
        return record

    return make


def standalone_access(config: Config) -> AccessHook | None:
    """What is called for each response of a server without Gunicorn; None where no line is wanted."""
    logger = logging.getLogger("uvicorn.access")
    guard_handlers()
    unblock_handlers()
    if not config.access_log or not logger.isEnabledFor(logging.INFO):
        return None
    return quiet_paths(uvicorn_hook(logger, config), config)


def quiet_paths(hook: AccessHook, config: Config) -> AccessHook:
    """The same, but for requests to paths that have `access_log` off."""
    if not any("access_log" in options for options in config.paths.values()):
        return hook
    paths = Paths(config)

    def log_access(cycle: CycleView) -> None:
        if paths.of(cycle.target, "access_log"):
            hook(cycle)

    return log_access


def uvicorn_hook(logger: logging.Logger, config: Config) -> AccessHook:
    """Write a line for each response, in uvicorn's form or that of `Config.access_log_format`."""
    make_record = uvicorn_record_maker(logger.name, config)
    return line_hook(logger, uvicorn_forms(logger.name, config, make_record), make_record)


def line_hook(logger: logging.Logger, forms: Forms, make_record: CycleRecordMaker) -> AccessHook:
    """Write a line for each response, as one of `forms` where the logger is plain, as a record where it is not."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        return LineWriter(logger, loop, forms, make_record).log

    def log_access(cycle: CycleView) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.handle(make_record(cycle, time.monotonic() - cycle.started))

    return log_access


def client_addr_of(scope: Mapping[str, Any]) -> str:
    """Host and port of the client; the host alone where a proxy before a unix socket has told it, and no port."""
    client = scope["client"]
    if not client:
        return ""
    host, port = client
    server = scope["server"]
    if not port and server and server[1] is None:
        return escaped(str(host))
    return f"{escaped(host)}:{port}"


def uvicorn_record_maker(name: str, config: Config) -> CycleRecordMaker:
    """What makes a record in uvicorn's form of a response, by the seconds that it has taken."""
    raw_root_path = raw_path_of(config.root_path)
    make_line = None if config.access_log_format is None else compile_format(config.access_log_format)
    make_record = record_maker(name, _MESSAGE)

    def make(cycle: CycleView, elapsed: float) -> logging.LogRecord:
        scope, target = cycle.scope, cycle.target
        client_addr = peer_name(scope["client"], "")
        method, version, status = scope["method"], scope["http_version"], cycle.status
        path = escaped((raw_root_path + target if raw_root_path and target[:1] == b"/" else target).decode("latin-1"))
        request_line = f"{method} {path} HTTP/{version}"
        line = f'{client_addr} - "{request_line}" {status}' if make_line is None else make_line(Atoms(cycle, elapsed))
        record = make_record(line, (client_addr, method, path, version, status))
        attributes = record.__dict__
        attributes["client_addr"] = client_addr
        attributes["request_line"] = request_line
        attributes["status_code"] = status
        attributes["method"] = method
        attributes["path"] = path.partition("?")[0]
        attributes["bytes"] = cycle.body_sent
        attributes["duration"] = round(elapsed * 1_000_000) / 1_000_000
        if make_line is not None and type(record) is not AccessRecord:
            # A record of somebody's factory knows the arguments only by what they are put into.
            record.msg, record.args = line, None
        return record

    return make
