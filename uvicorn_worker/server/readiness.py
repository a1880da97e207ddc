"""What a server says when it is ready, once however many processes serve."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any

from uvicorn_worker.core.config import OPTIONS, Config
from uvicorn_worker.core.explained import explained
from uvicorn_worker.core.kernel import is_uvloop
from uvicorn_worker.core.log import count
from uvicorn_worker.http1.parsers import check_parser
from uvicorn_worker.server.binding import urls_of
from uvicorn_worker.tls.asked import tls_is_on

__all__ = ["differing", "ready_line", "ready_of"]

# Where a server logs, and what it serves, is said by what is seen.
_NOT_SAID = frozenset({"app", "log_config", "use_colors", "ssl_keyfile", "ssl_certfile", "ssl_keyfile_password"})

# Above so many seconds the line leads to what can be done about it.
_SLOW = 10


def ready_line(
    config: Config,
    addresses: Sequence[str],
    *,
    workers: int,
    seconds: float,
    usual: Mapping[str, Any] = MappingProxyType({}),
    loop: object = None,
) -> str:
    """`Ready in 0.4 s on http://127.0.0.1:8000: 1 process, loop uvloop, HTTP/1.1 (httptools), WebSocket, no TLS`.

    What is not by default follows; `usual` are values that others have chosen as defaults, by option. `loop` is the
    event loop that serves, where it is known: it need not be the one that was to serve.
    """
    processes = "1 process" if workers == 1 else count(workers, "worker")
    tls = "TLS" if tls_is_on(config) else "no TLS"
    line = (
        f"Ready in {seconds:.1f} s on {', '.join(addresses)}: {processes}, loop {_loop(config, loop)}, "
        f"{', '.join(_protocols(config))}, {tls}"
    )
    others = ", ".join(differing(config, usual))
    line = f"{line}; not by default: {others}" if others else line
    return f"{line} {explained('it-starts-slowly')}" if seconds >= _SLOW else line


def ready_of(server: Any, seconds: float, usual: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The same of a server that serves alone."""
    sockets = [sock for listening in server.servers for sock in listening.sockets]
    addresses = urls_of(sockets, server.config.host, secure=tls_is_on(server.config))
    loop = asyncio._get_running_loop()
    return ready_line(server.config, addresses, workers=1, seconds=seconds, usual=usual, loop=loop)


def differing(config: Config, usual: Mapping[str, Any] = MappingProxyType({})) -> Iterator[str]:
    """`name = value` of the options that differ from their defaults."""
    for item in fields(Config):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        value = getattr(config, item.name)
        if item.name not in _NOT_SAID and value not in (default, usual.get(item.name, default)):
            yield f"{item.name} = {OPTIONS.shown(item.name, value).strip(chr(39))}"


def _loop(config: Config, loop: object) -> str:
    if config.loop != "auto":
        return config.loop
    if loop is not None:
        return "uvloop" if is_uvloop(loop) else "asyncio"
    is_there = sys.implementation.name == "cpython" and importlib.util.find_spec("uvloop") is not None
    return "uvloop" if is_there else "asyncio"


def _protocols(config: Config) -> Iterator[str]:
    parser = config.http.__name__ if isinstance(config.http, type) else check_parser(config)
    yield f"HTTP/1.1 ({parser})"
    if config.http2 == "on":
        yield "HTTP/2"
    if config.ws != "none":
        yield "WebSocket"
