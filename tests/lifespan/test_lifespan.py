"""`uvicorn.lifespan.on` and `.off`: code that runs the lifespan of an application without a server."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import pytest

from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.lifespan import off, on
from uvicorn_worker.server import Config, Server


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


class Recording(on.LifespanOn):
    """Uvicorn's with a `send()` and a `startup()` that keeps its task, as programs have them."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.sent: list[str] = []
        self.task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        self.task = asyncio.create_task(self.main())
        await self.receive_queue.put({"type": "lifespan.startup"})
        await self.startup_event.wait()
        self.should_exit = self.startup_failed or (self.error_occurred and self.config.lifespan == "on")

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])
        await super().send(message)


class TestSteps:
    """What `startup()` does, for who writes it anew, and what the application gets."""

    def test_a_startup_of_ones_own(self, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            lifespan = Recording(Config(app, log_config=None, lifespan="on"))
            lifespan.state["more"] = 1
            await lifespan.startup()
            assert (lifespan.state, lifespan.should_exit) == ({"opened": True, "more": 1}, False)
            await lifespan.shutdown()
            assert lifespan.sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
            assert lifespan.task is not None
            await lifespan.task

        with caplog.at_level(logging.INFO):
            asyncio.run(main())
        assert "Waiting for application startup." not in caplog.messages

    @pytest.mark.parametrize("says_so", [True, False])
    def test_one_that_fails(self, caplog: pytest.LogCaptureFixture, *, says_so: bool) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            if says_so:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": "no database"})
            raise RuntimeError("no database")

        async def main() -> None:
            lifespan = Recording(Config(failing, log_config=None, lifespan="on"))
            await lifespan.startup()
            assert lifespan.should_exit

        asyncio.run(main())
        assert "no database" in caplog.text

    def test_a_receive_that_is_put_in_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As Rio has it."""
        receive, told = on.LifespanOn.receive, []

        async def mine(self: on.LifespanOn) -> Any:
            event = await receive(self)
            told.append(event["type"])
            return event

        monkeypatch.setattr(on.LifespanOn, "receive", mine)

        class Ends(Server):
            async def main_loop(self) -> None:
                pass

        Ends(Config(app, port=0, log_config=None)).run()
        assert told == ["lifespan.startup", "lifespan.shutdown"]

    @pytest.mark.parametrize("step", ["main", "send"])
    def test_one_that_is_written_anew(self, step: str) -> None:
        """It says by uvicorn's names how the startup has ended."""

        class Mine(on.LifespanOn):
            async def failed(self, *message: Any) -> None:
                self.startup_failed, self.error_occurred = step == "send", step == "main"
                self.startup_event.set()

        setattr(Mine, step, Mine.failed)

        async def main() -> None:
            lifespan = Mine(Config(app, log_config=None, lifespan="on"))
            await lifespan.startup()
            assert lifespan.should_exit
            await lifespan.shutdown()

        asyncio.run(main())

    def test_the_application_finds_its_configuration(self) -> None:
        """Applications look through the frames below them for the address that they are to be served at."""
        found: list[Any] = []

        async def looking(scope: Scope, receive: Receive, send: Send) -> None:
            owners = [each.frame.f_locals.get("self") for each in inspect.stack()]
            found.extend(owner.config for owner in owners if isinstance(owner, on.LifespanOn))
            await app(scope, receive, send)

        config = Config(looking, port=0, log_config=None)

        class Ends(Server):
            async def main_loop(self) -> None:
                pass

        Ends(config).run()
        assert found == [config]


class TestPutInItsPlace:
    class Mine(on.LifespanOn):
        """In the place of `uvicorn.lifespan.on.LifespanOn`."""

        async def startup(self) -> None:
            await super().startup()
            self.state["mine"] = True

    @pytest.mark.parametrize("lifespan", ["auto", "on", "off"])
    def test_a_class(self, monkeypatch: pytest.MonkeyPatch, lifespan: str) -> None:
        monkeypatch.setattr(on, "LifespanOn", self.Mine)
        states = []

        class Ends(Server):
            async def main_loop(self) -> None:
                states.append(self.lifespan.state)

        Ends(Config(app, port=0, log_config=None, lifespan=lifespan)).run()
        assert ("mine" in states[0]) is (lifespan != "off")

    @pytest.mark.parametrize("lifespan", ["auto", "off"])
    def test_a_startup(self, monkeypatch: pytest.MonkeyPatch, lifespan: str) -> None:
        """Of a server that serves twice."""
        monkeypatch.setattr(on.LifespanOn, "startup", Recording.startup)
        told = []

        class Ends(Server):
            async def main_loop(self) -> None:
                told.append(self.lifespan.state)

        server = Ends(Config(app, port=0, log_config=None, lifespan=lifespan))
        server.run()
        server.run()
        assert told == [{} if lifespan == "off" else {"opened": False}] * 2


def test_none() -> None:
    async def main() -> None:
        lifespan = off.LifespanOff(Config(app, log_config=None))
        await lifespan.startup()
        await lifespan.shutdown()
        assert (lifespan.state, lifespan.should_exit) == ({}, False)

    asyncio.run(main())
