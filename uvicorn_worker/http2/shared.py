"""What the HTTP/2 connections of one server have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.address import Address, Endpoints
from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http2.engine.interface import Engine
from uvicorn_worker.http2.engine.limits import Limits
from uvicorn_worker.http2.prepared_fields import PreparedFields

__all__ = ["Shared", "engine_class"]


class Shared:
    """The engine, its limits, and the response fields that were prepared for it."""

    __slots__ = ("fields", "forwarded", "limits", "make_engine", "ping_ticks", "ping_timeout_ticks", "runtime")

    def __init__(self, runtime: Runtime, engine: type[Engine], forwarded: frozenset[bytes] = frozenset()) -> None:
        self.runtime = runtime
        # The fields of requests that say where they come from, if the peer is trusted.
        self.forwarded = forwarded
        self.limits = Limits.from_config(runtime.config)
        self.make_engine: Callable[[Limits], Engine] = engine
        self.fields = PreparedFields(runtime, engine.prepare)
        config = runtime.config
        self.ping_ticks = ticks(config.http2_ping_interval) if config.http2_ping_interval else 0
        self.ping_timeout_ticks = ticks(config.http2_ping_timeout)

    def scope_base(
        self, transport: asyncio.BaseTransport, client: Address | None, endpoints: Endpoints | None
    ) -> dict[str, Any]:
        """What the scopes of all requests on one connection have in common."""
        scope = self.runtime.http_scope(transport, endpoints).copy()
        scope["http_version"] = "2"
        scope["client"] = client
        scope["extensions"] = {
            **scope.get("extensions", {}),
            "http.response.trailers": {},
            "http.response.early_hint": {},
        }
        return scope


def engine_class(config: Config) -> Any:
    """The engine that option http2_engine asks for."""
    # Loaded where HTTP/2 is on, and not before.
    if config.http2_engine == "h2":
        from uvicorn_worker.http2.engine.h2.engine import H2Engine

        return H2Engine
    from uvicorn_worker.http2.engine.native.engine import NativeEngine

    return NativeEngine
