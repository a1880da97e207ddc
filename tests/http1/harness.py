"""HTTP/1.1 connections alone behind a scripted transport: no other protocol is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.scripted import Harness
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http1 import Http1Protocol, Shared
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust

__all__ = ["Http1Harness", "http1_factory"]


def http1_factory(runtime: Runtime) -> Callable[..., Http1Protocol]:
    """A function that makes HTTP/1.1 connections."""
    config = runtime.config
    shared = Shared(runtime, Proxies(config, Trust(config.forwarded_allow_ips)))
    return lambda endpoints=None: Http1Protocol(runtime, shared, endpoints)


class Http1Harness(Harness):
    """An application behind HTTP/1.1."""

    def protocols(self) -> Callable[[], asyncio.Protocol]:
        return http1_factory(self.runtime)
