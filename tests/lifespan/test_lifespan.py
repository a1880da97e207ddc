"""`uvicorn.lifespan.on` and `.off`: code that runs the lifespan of an application without a server."""

from __future__ import annotations

import asyncio
import logging

import pytest

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
        assert not lifespan.startup_event.is_set()
        await lifespan.startup()
        assert (lifespan.state, lifespan.should_exit) == ({"opened": True}, False)
        assert (lifespan.startup_event.is_set(), lifespan.shutdown_event.is_set()) == (True, False)
        await lifespan.shutdown()
        assert lifespan.state == {"opened": False}
        assert lifespan.shutdown_event.is_set()

    asyncio.run(main())


def test_it_says_what_it_does_on_another_logger(caplog: pytest.LogCaptureFixture) -> None:
    """As Ray Serve has it."""

    async def main() -> None:
        lifespan = on.LifespanOn(Config(app, log_config=None, lifespan="on"))
        lifespan.logger = logging.getLogger("theirs")
        await lifespan.startup()
        await lifespan.shutdown()
        assert not lifespan.should_exit

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    lines = [(record.name, record.getMessage()) for record in caplog.records if record.name != "asyncio"]
    assert lines[0] == ("theirs", "Waiting for application startup.")
    assert {name for name, _ in lines} == {"theirs"}


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
def test_it_says_that_it_has_failed(phase: str) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        while (kind := (await receive())["type"]) != f"lifespan.{phase}":
            await send({"type": f"{kind}.complete"})
        await send({"type": f"{kind}.failed", "message": "no database"})

    async def main() -> None:
        lifespan = on.LifespanOn(Config(failing, log_config=None, lifespan="on"))
        await lifespan.startup()
        assert lifespan.should_exit is (phase == "startup")
        await lifespan.shutdown()
        assert lifespan.should_exit
        assert [lifespan.startup_failed, lifespan.shutdown_failed] == [phase == "startup", phase == "shutdown"]

    asyncio.run(main())


def test_none() -> None:
    async def main() -> None:
        lifespan = off.LifespanOff(Config(app, log_config=None))
        await lifespan.startup()
        await lifespan.shutdown()
        assert (lifespan.state, lifespan.should_exit) == ({}, False)

    asyncio.run(main())
