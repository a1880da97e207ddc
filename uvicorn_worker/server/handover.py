"""The one place that decides which protocol a new connection speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn_worker.http1 import Http1Protocol, parser_factory
from uvicorn_worker.runtime import Runtime
from uvicorn_worker.server.upgrade import upgrade_to_websocket

__all__ = ["protocol_factory"]


def protocol_factory(runtime: Runtime) -> Callable[[], asyncio.Protocol]:
    """A function that makes the protocol of each accepted connection."""
    runtime.make_parser = parser_factory(runtime.config)
    if runtime.config.ws != "none":
        runtime.upgrade = upgrade_to_websocket
    return lambda: Http1Protocol(runtime)
