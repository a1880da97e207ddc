"""`Config` and the names beside it, where uvicorn has them.

What a word stands for, of a protocol, a loop or a lifespan, is told by tables, to which programs add.
"""

import logging
import ssl
from os import PathLike
from typing import Any, Literal

from uvicorn_worker.core.config import Config as _Options
from uvicorn_worker.core.errors import STARTUP_FAILURE
from uvicorn_worker.core.tables import HTTP_PROTOCOLS, LIFESPAN, LOOP_FACTORIES, WS_PROTOCOLS
from uvicorn_worker.importer import ImportFromStringError, import_from_string
from uvicorn_worker.logs.formatters import LOG_LEVELS, LOGGING_CONFIG, TRACE_LOG_LEVEL
from uvicorn_worker.server.config import Config, resolve_reload_patterns

__all__ = [
    "HTTP_PROTOCOLS", "INTERFACES", "LIFESPAN", "LOGGING_CONFIG", "LOG_LEVELS", "LOOP_FACTORIES", "LOOP_SETUPS",
    "SSL_PROTOCOL_VERSION", "STARTUP_FAILURE", "TRACE_LOG_LEVEL", "WS_PROTOCOLS", "Config", "HTTPProtocolType",
    "ImportFromStringError", "InterfaceType", "LifespanType", "LoopFactoryType", "LoopSetupType",
    "UvicornDeprecationWarning", "WSProtocolType",
    "create_ssl_context", "import_from_string", "logger", "resolve_reload_patterns",
]  # fmt: skip

# For annotations, and settings that are read by them.
HTTPProtocolType = Literal["auto", "h11", "httptools", "zttp"]
WSProtocolType = Literal["auto", "none", "websockets", "websockets-sansio", "wsproto"]
LifespanType = Literal["auto", "on", "off"]
LoopFactoryType = Literal["none", "auto", "asyncio", "uvloop", "zuvloop"]
LoopSetupType = LoopFactoryType
InterfaceType = Literal["auto", "asgi3", "asgi2", "wsgi"]


class UvicornDeprecationWarning(UserWarning):
    """For filters of warnings that name it; nothing here gives it."""


LOOP_SETUPS = LOOP_FACTORIES
"""As uvicorn had it, and the type of the same name, before 0.36."""
logger = logging.getLogger("uvicorn.error")
INTERFACES = ["auto", "asgi3", "asgi2", "wsgi"]
SSL_PROTOCOL_VERSION = ssl.PROTOCOL_TLS_SERVER


def create_ssl_context(
    certfile: str | PathLike[str],
    keyfile: str | PathLike[str] | None,
    password: str | None,
    ssl_version: int,
    cert_reqs: int,
    ca_certs: str | PathLike[str] | None,
    ciphers: str | None,
    alpn_protocols: list[str] | None = None,
) -> ssl.SSLContext:
    """The context that a server has with these options; raises `ConfigError`."""
    from uvicorn_worker.tls.contexts import make_context

    given: dict[str, Any] = {
        "ssl_certfile": certfile, "ssl_keyfile": keyfile, "ssl_keyfile_password": password, "ssl_version": ssl_version,
        "ssl_cert_reqs": cert_reqs, "ssl_ca_certs": ca_certs, "ssl_ciphers": ciphers,
    }  # fmt: skip
    options = _Options(app="none", **given)
    return make_context(options) if alpn_protocols is None else make_context(options, alpn_protocols)
