"""`uvicorn.lifespan.on` and `.off`: code that runs the lifespan of an application without a server."""

from __future__ import annotations

import asyncio

from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.lifespan import off, on
from uvicorn_worker.server import Config


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    scope["state"]["opened"] = True
    await send({"type": "lifespan.startup.complete"})
    await receive()
    scope["state"]["opened"] = False
    await send({"type": "lifespan.shutdown.complete"})


def test_it_is_run() -> None:
    async def main() -> None:
        lifespan = on.LifespanOn(Config(app, log_config=None, lifespan="on"))
        await lifespan.startup()
        assert (lifespan.state, lifespan.should_exit) == ({"opened": True}, False)
        await lifespan.shutdown()
        assert lifespan.state == {"opened": False}

    asyncio.run(main())


def test_none() -> None:
    async def main() -> None:
        lifespan = off.LifespanOff(Config(app, log_config=None))
        await lifespan.startup()
        await lifespan.shutdown()
        assert (lifespan.state, lifespan.should_exit) == ({}, False)

    asyncio.run(main())
