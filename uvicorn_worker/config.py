"""`Config` and the names beside it, where uvicorn has them.

What may stand for a protocol, a loop or a lifespan is told by tables that can't be changed: nothing else can serve.
"""

import logging
import ssl
from collections.abc import Mapping
from types import MappingProxyType

from uvicorn_worker.cli.run import STARTUP_FAILURE
from uvicorn_worker.importer import ImportFromStringError, import_from_string
from uvicorn_worker.logs.formatters import LOG_LEVELS, LOGGING_CONFIG, TRACE_LOG_LEVEL
from uvicorn_worker.server.config import Config

__all__ = [
    "HTTP_PROTOCOLS", "INTERFACES", "LIFESPAN", "LOGGING_CONFIG", "LOG_LEVELS", "LOOP_FACTORIES",
    "SSL_PROTOCOL_VERSION", "STARTUP_FAILURE", "TRACE_LOG_LEVEL", "WS_PROTOCOLS", "Config", "ImportFromStringError",
    "import_from_string", "logger",
]  # fmt: skip


def _table(*names: str) -> Mapping[str, str]:
    return MappingProxyType({name: name for name in names})


HTTP_PROTOCOLS = _table("auto", "h11", "httptools", "zttp")
WS_PROTOCOLS = _table("auto", "none", "websockets", "websockets-sansio", "wsproto")
LIFESPAN = _table("auto", "on", "off")
LOOP_FACTORIES = _table("none", "auto", "asyncio", "uvloop", "zuvloop")
logger = logging.getLogger("uvicorn.error")
INTERFACES = ["auto", "asgi3", "asgi2", "wsgi"]
SSL_PROTOCOL_VERSION = ssl.PROTOCOL_TLS_SERVER
