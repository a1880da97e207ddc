"""What a server with some options imports beside this package's rest, all at once: in the master, before it forks.

So its workers share it, and those that are forked later have what is of one piece with the master, whatever a
deployment has put in its place on disk meanwhile.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.imports import without_garbage_search
from uvicorn_worker.http1.parsers import check_parser
from uvicorn_worker.tls.asked import tls_is_on

__all__ = ["load_needed"]

_PACKAGE = __name__.partition(".")[0]


def load_needed(config: Config) -> None:
    """Import what the options ask for. What can't be imported is left to those who need it: they say so."""
    with without_garbage_search():
        for name in _needed(config):
            with contextlib.suppress(ImportError):
                importlib.import_module(name, _PACKAGE)


def _needed(config: Config) -> Iterator[str]:
    yield ".http1.h11_parser" if check_parser(config) == "h11" else "httptools"
    if config.ws != "none":
        yield ".switching.websocket_upgrade"
    if config.http2 != "off":
        yield ".switching.new_connection"
        yield ".http2.engine.h2.engine" if config.http2_engine == "h2" else ".http2.engine.native.engine"
    if tls_is_on(config):
        yield ".tls.contexts"
        yield ".tls.extension"
        yield ".tls.transport"
    if config.proxy_protocol != "off":
        yield ".proxies.proxy_protocol"
    if config.request_id_header is not None:
        yield ".interfaces.request_ids"
    if config.log_slow_requests is not None or config.paths:
        yield ".server.slow_requests"
    if config.log_config is not None:
        yield ".logs.log_config"
        yield ".logs.formatters"
        yield ".logs.json_lines"
    if config.metrics_bind is not None:
        yield ".board.metrics"
