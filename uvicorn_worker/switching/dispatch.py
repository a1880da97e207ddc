"""The one place that decides which protocol a new connection speaks.

TLS          ALPN: h2, or http/1.1
cleartext    the first bytes: the preface of HTTP/2, or a request of HTTP/1.1 (which may ask for an upgrade)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http1 import Http1Protocol, parser_factory
from uvicorn_worker.http1 import Shared as Http1Shared
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust
from uvicorn_worker.tls.asked import HTTP1_ONLY

__all__ = ["alpn_protocols", "check_protocols", "protocol_factory"]


def check_protocols(config: Config) -> None:
    """Raise `ConfigError` where a parser or an engine is asked for that is not there, or can't do what is asked for."""
    parser_factory(config)
    if config.http2 != "off":
        from uvicorn_worker.http2 import engine_class

        engine_class(config)


def protocol_factory(runtime: Runtime) -> Callable[..., asyncio.Protocol]:
    """A function that makes the protocol of each accepted connection.

    It may be called with the `Endpoints` that a proxy has told of the connection. Raises `ConfigError` as
    `check_protocols` does.
    """
    config = runtime.config
    proxies = Proxies(config, Trust(config.forwarded_allow_ips))
    upgrades: list[Callable[[RequestCycle], RequestCycle | None]] = []
    if config.ws != "none":
        # Where nobody may speak it, it is not imported; and not as late as for the first client, who would find what a
        # deployment has put in its place on disk by then.
        from uvicorn_worker.switching.websocket_upgrade import upgrade_to_websocket

        upgrades.append(upgrade_to_websocket)
    new_connection = None
    if config.http2 != "off":
        from uvicorn_worker.switching.new_connection import NewConnection, make_http2, upgrade_to_http2

        new_connection, http2 = NewConnection, make_http2(runtime, proxies)
        if config.http2_cleartext in ("upgrade", "both"):
            upgrades.append(lambda cycle: upgrade_to_http2(cycle, http2))

    def upgrade(cycle: RequestCycle) -> RequestCycle | None:
        return next(filter(None, (answer(cycle) for answer in upgrades)), None)

    http1 = Http1Shared(runtime, proxies, upgrade)
    if new_connection is None:
        return lambda endpoints=None: Http1Protocol(runtime, http1, endpoints)
    return lambda endpoints=None: new_connection(runtime, http1, http2, endpoints)


def alpn_protocols(config: Config) -> Sequence[str]:
    """What clients may choose from in the TLS handshake (RFC 7301), the preferred protocol first."""
    return HTTP1_ONLY if config.http2 == "off" else ("h2", *HTTP1_ONLY)
