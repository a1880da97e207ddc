"""The one place that decides which protocol a new connection speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn_worker.http1 import Http1Protocol, parser_factory
from uvicorn_worker.http1.framing import OWN_FIELDS
from uvicorn_worker.runtime import Endpoints, Runtime
from uvicorn_worker.server.proxy import Proxies
from uvicorn_worker.server.trust import Trust
from uvicorn_worker.server.upgrade import upgrade_to_websocket

__all__ = ["protocol_factory"]


def protocol_factory(runtime: Runtime) -> Callable[..., asyncio.Protocol]:
    """A function that makes the protocol of each accepted connection.

    It may be called with the `Endpoints` that a proxy has told of the connection.
    """
    config = runtime.config
    runtime.make_parser = parser_factory(config)
    runtime.trust = trust = Trust(config.forwarded_allow_ips)
    runtime.proxies = proxies = Proxies(config, trust)
    runtime.noted_fields = OWN_FIELDS | proxies.names
    if config.ws != "none":
        runtime.upgrade = upgrade_to_websocket

    def make(endpoints: Endpoints | None = None) -> asyncio.Protocol:
        return Http1Protocol(runtime, endpoints)

    return make
