"""HTTP/2 connections alone behind a scripted transport: they begin with the preface, and speak nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.scripted import Harness
from uvicorn_worker.core.address import Endpoints
from uvicorn_worker.http2 import Http2Protocol, Shared, engine_class
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust

__all__ = ["Http2Harness"]


class Http2Harness(Harness):
    """An application behind HTTP/2."""

    def protocols(self) -> Callable[[], asyncio.Protocol]:
        config = self.config
        shared = Shared(self.runtime, engine_class(config), Proxies(config, Trust(config.forwarded_allow_ips)))

        def make(endpoints: Endpoints | None = None) -> Http2Protocol:
            return Http2Protocol(self.runtime, shared, endpoints)

        return make
