"""What the HTTP/2 connections of one server have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.address import Address
from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.log import count
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http2.cycle import StreamCycle
from uvicorn_worker.http2.engine.interface import Engine
from uvicorn_worker.http2.engine.limits import Limits
from uvicorn_worker.http2.prepared_fields import PreparedFields
from uvicorn_worker.logs.spell import Refusals, Spell
from uvicorn_worker.proxies.believed_fields import Proxies

__all__ = ["ExtendedConnect", "Shared", "engine_class"]


ExtendedConnect = Callable[[StreamCycle], "StreamCycle | None"]
"""Answers an extended CONNECT (RFC 8441) by a cycle that takes its place; None: the protocol is not spoken."""


def decline(cycle: StreamCycle) -> None:
    """No other protocol is spoken here."""


class Shared:
    """The engine, its limits, and the response fields that were prepared for it."""

    __slots__ = (
        "early_hints",
        "extended_connect",
        "fields",
        "floods",
        "limits",
        "make_engine",
        "ping_ticks",
        "ping_timeout_ticks",
        "proxies",
        "refusals",
        "runtime",
    )

    def __init__(
        self,
        runtime: Runtime,
        engine: type[Engine],
        proxies: Proxies,
        extended_connect: ExtendedConnect = decline,
    ) -> None:
        self.runtime = runtime
        self.proxies = proxies
        self.extended_connect = extended_connect
        self.limits = Limits.from_config(runtime.config)
        self.make_engine: Callable[[Limits], Engine] = engine
        self.fields = PreparedFields(runtime, engine.prepare)
        # Connections that were ended by a flood: hundreds of them are as much as one for the log.
        self.floods = Spell(
            runtime.loop,
            lambda number, seconds: (
                f"HTTP/2 floods are over: {count(number, 'connection')} {'was' if number == 1 else 'were'} ended "
                f"in {seconds:.1f} s."
            ),
        )
        self.refusals = Refusals(runtime.loop, "HTTP/2")
        config = runtime.config
        self.early_hints = config.early_hints and config.http2_early_hints == "on"
        self.ping_ticks = ticks(config.http2_ping_interval) if config.http2_ping_interval else 0
        self.ping_timeout_ticks = ticks(config.http2_ping_timeout)

    def new_scope(self, scope_base: dict[str, Any], client: Address | None) -> dict[str, Any]:
        """A scope of HTTP/2, of what those of a connection have in common on every version of HTTP."""
        scope = scope_base.copy()
        scope["http_version"] = "2"
        scope["client"] = client
        if not self.early_hints:
            scope["extensions"] = scope["extensions"].copy()
            scope["extensions"].pop("http.response.early_hint", None)
        return scope


def engine_class(config: Config) -> Any:
    """The engine that option http2_engine asks for."""
    # Loaded where HTTP/2 is on, and not before.
    if config.http2_engine == "h2":
        from uvicorn_worker.http2.engine.h2.engine import H2Engine

        return H2Engine
    from uvicorn_worker.http2.engine.native.engine import NativeEngine

    return NativeEngine
