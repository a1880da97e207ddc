"""Access lines through Gunicorn's logger, with its access_log_format and every one of its atoms.

Gunicorn's own `Logger.access` makes a dictionary of all atoms, headers and environ variables for each line.
When it is in use, the format is compiled once into the atoms that it names, and only these are computed. A
logger class of the operator's own gets `access(resp, req, environ, request_time)` with objects that carry
everything.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gunicorn.glogging import Logger, SafeAtoms

from uvicorn_worker.runtime import AccessHook, Exchange

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["Atoms", "RequestView", "ResponseView", "access_hook", "compile_format"]

_find_atoms = re.compile(r"%\(([^)]+)\)s")


def access_hook(log: Any, cfg: GunicornConfig) -> AccessHook | None:
    """What is called for each response; None where nothing is to be logged."""
    kind = type(log)
    if kind.access is not Logger.access:
        return _object_hook(log)
    if not _is_enabled(cfg):
        return None
    if kind.atoms is not Logger.atoms or kind.atoms_wrapper_class is not SafeAtoms or kind.now is not Logger.now:
        return _object_hook(log)
    return _compiled_hook(log.access_log, cfg.access_log_format)


def _is_enabled(cfg: GunicornConfig) -> bool:
    to_syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
    return bool(cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.logconfig_json or to_syslog)


# Compiled ----------------------------------------------------------------------------------------------------


class _AccessRecord(logging.LogRecord):
    """A record whose line was made from the compiled format; `args` still is a mapping of all atoms."""

    line = ""

    def getMessage(self) -> str:  # noqa: N802 - the name is that of logging
        return self.line


def _compiled_hook(logger: logging.Logger, access_log_format: str) -> AccessHook:
    make_line = compile_format(access_log_format)

    def log_access(exchange: Exchange) -> None:
        if logger.isEnabledFor(logging.INFO):
            atoms = Atoms(exchange)
            record = _AccessRecord(logger.name, logging.INFO, "", 0, access_log_format, (atoms,), None)
            record.line = make_line(atoms)
            logger.handle(record)

    return log_access


def compile_format(access_log_format: str) -> Callable[[Atoms], str]:
    """A function from atoms to the line, for Gunicorn's `%(name)s` formats."""
    names = _find_atoms.findall(access_log_format)
    template = _find_atoms.sub("%s", access_log_format)
    try:
        template % tuple(names)
    except (TypeError, ValueError):
        # Something other than %(name)s, as %(D)d: left to the formatting with the mapping itself.
        return lambda atoms: access_log_format % atoms
    return lambda atoms: template % tuple([atoms[name] for name in names])


class Atoms(Mapping[str, Any]):
    """All atoms of one response, each computed when it is asked for; one that does not exist is `-`."""

    __slots__ = ("_elapsed", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._elapsed = time.monotonic() - exchange.started

    def __getitem__(self, name: str) -> Any:
        atom = _ATOMS.get(name)
        if atom is not None:
            value = atom(self._exchange, self._elapsed)
        elif name[:1] == "{" and name[-2:] in ("}i", "}o", "}e"):
            value = _named_atom(self._exchange, name[1:-2].lower(), name[-1])
        else:
            return "-"
        return value.replace('"', '\\"') if isinstance(value, str) else value

    def __iter__(self) -> Iterator[str]:
        return iter(_ATOMS)

    def __len__(self) -> int:
        return len(_ATOMS)


def _named_atom(exchange: Exchange, name: str, kind: str) -> str:
    if kind == "e":
        environ = {key.lower(): value for key, value in make_environ(exchange).items()}
        return str(environ.get(name, "-"))
    headers = exchange.scope["headers"] if kind == "i" else exchange.response_headers
    wanted = name.encode("latin-1", "replace")
    # As with Gunicorn's dictionary, the last field of a name is the one that is shown.
    values = [value for key, value in headers if key.lower() == wanted]
    return values[-1].decode("latin-1") if values else "-"


def _host(exchange: Exchange, elapsed: float) -> str:
    client = exchange.scope["client"]
    return str(client[0]) if client else "-"


def _user(exchange: Exchange, elapsed: float) -> str:
    credentials = _header(exchange, b"authorization")
    scheme, _, encoded = credentials.partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        user = base64.b64decode(encoded.strip()).partition(b":")[0].decode("utf-8")
    except ValueError:
        return "-"
    return user or "-"


def _header(exchange: Exchange, wanted: bytes, default: str = "-") -> str:
    for name, value in exchange.scope["headers"]:
        if name == wanted:
            return bytes(value).decode("latin-1")
    return default


def _target(exchange: Exchange) -> str:
    """The request target as the client sent it: without the root_path that the server puts before the path."""
    return exchange.target.decode("latin-1")


def _path(exchange: Exchange) -> str:
    return unquote(_target(exchange).partition("?")[0])


def _query(exchange: Exchange) -> str:
    return _target(exchange).partition("?")[2]


def _protocol(exchange: Exchange, elapsed: float) -> str:
    return f"HTTP/{exchange.scope['http_version']}"


def _request_line(exchange: Exchange, elapsed: float) -> str:
    scope = exchange.scope
    return f"{scope['method']} {_target(exchange)} HTTP/{scope['http_version']}"


def _seconds(exchange: Exchange, elapsed: float) -> str:
    microseconds = int(elapsed * 1_000_000)
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{seconds}.{rest:06d}"


_ATOMS: dict[str, Callable[[Exchange, float], Any]] = {
    "h": _host,
    "l": lambda exchange, elapsed: "-",
    "u": _user,
    "t": lambda exchange, elapsed: time.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
    "r": _request_line,
    "s": lambda exchange, elapsed: str(exchange.status),
    "m": lambda exchange, elapsed: exchange.scope["method"],
    "U": lambda exchange, elapsed: _path(exchange),
    "q": lambda exchange, elapsed: _query(exchange),
    "H": _protocol,
    "b": lambda exchange, elapsed: str(exchange.body_sent),
    "B": lambda exchange, elapsed: exchange.body_sent,
    "f": lambda exchange, elapsed: _header(exchange, b"referer"),
    "a": lambda exchange, elapsed: _header(exchange, b"user-agent"),
    "T": lambda exchange, elapsed: int(elapsed),
    "D": lambda exchange, elapsed: int(elapsed * 1_000_000),
    "M": lambda exchange, elapsed: int(elapsed * 1000),
    "L": _seconds,
    "p": lambda exchange, elapsed: f"<{os.getpid()}>",
}


# Objects -----------------------------------------------------------------------------------------------------


class RequestView:
    """What a Gunicorn logger or hook may ask of a request."""

    def __init__(self, exchange: Exchange) -> None:
        scope = exchange.scope
        self.method: str = scope["method"]
        self.uri = _target(exchange)
        self.path = _path(exchange)
        self.query = _query(exchange)
        self.fragment = ""
        major, _, minor = scope["http_version"].partition(".")
        self.version = (int(major), int(minor or 0))
        self.scheme: str = scope["scheme"]
        self.headers = [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in scope["headers"]]
        self.remote_addr = scope["client"] or ("", 0)


class ResponseView:
    """What a Gunicorn logger or hook may ask of a response."""

    def __init__(self, exchange: Exchange) -> None:
        self.status_code = exchange.status
        try:
            phrase = HTTPStatus(exchange.status).phrase
        except ValueError:
            phrase = ""
        self.status = f"{exchange.status} {phrase}".rstrip()
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.response_headers]
        self.sent = self.response_length = exchange.body_sent
        self.headers_sent = True


def make_environ(exchange: Exchange) -> dict[str, Any]:
    """The CGI variables of a request, as Gunicorn's loggers expect them."""
    scope = exchange.scope
    client, server = scope["client"], scope["server"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "RAW_URI": _target(exchange),
        "PATH_INFO": _path(exchange),
        "QUERY_STRING": _query(exchange),
        "SCRIPT_NAME": scope["root_path"],
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0] if server else "",
        "SERVER_PORT": str(server[1] or "") if server else "",
        "REMOTE_ADDR": client[0] if client else "-",
        "REMOTE_PORT": str(client[1]) if client else "",
        "wsgi.url_scheme": scope["scheme"],
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def _object_hook(log: Any) -> AccessHook:
    def log_access(exchange: Exchange) -> None:
        elapsed = timedelta(seconds=time.monotonic() - exchange.started)
        log.access(ResponseView(exchange), RequestView(exchange), make_environ(exchange), elapsed)

    return log_access
