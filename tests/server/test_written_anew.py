"""What subclasses of uvicorn's Config and Server write anew is called where uvicorn calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server import Config, Server


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """It is called for the lifespan alone, and has none."""
    raise NotImplementedError


class Told(Config):
    """What it is asked for, and an application with something around it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "asked", [])
        super().__init__(*args, port=0, lifespan="on", log_config=None, **kwargs)

    def configure_logging(self) -> None:
        self.asked.append("logging")

    def get_loop_factory(self) -> Callable[[], Any]:
        self.asked.append("loop")
        return super().get_loop_factory()

    def load_app(self) -> Any:
        self.asked.append("load_app")
        return super().load_app()

    def load(self) -> None:
        super().load()
        asked: list[str] = self.asked

        async def around(scope: Scope, receive: Receive, send: Send) -> None:
            asked.append("app")
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})

        self.loaded_app = around

    asked: list[str]


class Ends(Server):
    """It stops once it serves."""

    async def main_loop(self) -> None:
        self.config.asked.append(f"main_loop, started {self.started}")  # type: ignore[attr-defined]
        asyncio.get_running_loop().call_soon(setattr, self, "should_exit", True)
        await super().main_loop()


class Counts(Server):
    """Its third tick is the last."""

    ticks = 0

    async def on_tick(self, counter: int) -> bool:
        assert counter == self.ticks
        self.ticks += 1
        return await super().on_tick(counter) or self.ticks == 3


def test_of_a_configuration_and_the_main_loop() -> None:
    config = Told(app, loop="asyncio")
    Ends(config).run()
    assert config.asked == ["logging", "loop", "load_app", "app", "main_loop, started True"]


def test_of_an_application_that_was_loaded_before() -> None:
    config = Told(app, loop="asyncio")
    config.load()
    Ends(config).run()
    assert config.asked.count("load_app") == 1


class Reaches(Config):
    """As that of FastStream's command: behind what uvicorn puts around it is the application."""

    def load(self) -> None:
        super().load()
        loaded: Any = self.loaded_app
        loaded.app.told = "by load()"


class Around:
    """Middleware, as it is put around `loaded_app`."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "around": True}, receive, send)


class Application:
    told = ""
    scope: Scope | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})


@pytest.mark.parametrize("around", [False, True])
def test_the_application_is_behind_what_was_loaded(around: bool) -> None:
    application = Application()
    config = Reaches(application, port=0, lifespan="on", loop="asyncio")
    config.load()
    assert application.told == "by load()"
    if around:
        config.loaded_app = Around(config.loaded_app)
    server = Server(config)

    async def served() -> None:
        asyncio.get_running_loop().call_later(0.01, setattr, server, "should_exit", True)
        await server.serve()

    asyncio.run(served())
    assert application.scope is not None
    assert application.scope.get("around", False) is around


def test_of_the_tick_in_the_class_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in programs that call `run()`, and have no Server of their own."""

    async def on_tick(self: Server, counter: int) -> bool:
        return counter == 2

    monkeypatch.setattr(Server, "on_tick", on_tick)
    Server(Told(app, loop="asyncio")).run()


@pytest.mark.parametrize("on_instance", [False, True])
def test_of_the_tick(on_instance: bool) -> None:
    server: Server = Counts(Told(app, loop="asyncio"))
    if on_instance:
        counting, server = server, Server(server.config)
        server.on_tick = counting.on_tick  # type: ignore[method-assign]
    server.run()
    assert not server.should_exit


def test_a_tick_of_its_own_sees_the_end_that_was_asked_for() -> None:
    class Asked(Counts):
        async def on_tick(self, counter: int) -> bool:
            self.should_exit = True
            return await Server.on_tick(self, counter)

    server = Asked(Told(app, loop="asyncio"))
    server.run()
    assert server.ticks == 0


@pytest.mark.parametrize("more", [False, True])
def test_of_the_line_that_says_where(more: bool, caplog: pytest.LogCaptureFixture) -> None:
    said: list[int] = []

    class Says(Ends):
        def _log_started_message(self, listeners: Any) -> None:
            said.extend(sock.getsockname()[1] for sock in listeners)
            if more:
                super()._log_started_message(listeners)

    with caplog.at_level("INFO"):
        server = Says(Told(app, loop="asyncio"))
        server.run()
    assert len(said) == 1
    assert (f"Uvicorn running on http://127.0.0.1:{said[0]}" in caplog.text) is more


def test_a_tick_that_makes_the_fields_of_all_responses() -> None:
    """As a copy of uvicorn's does each second."""
    answers: list[bytes] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"app")]})
            await send({"type": "http.response.body", "body": b"ok"})

    async def ask(server: Server) -> None:
        reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answers.append(await reader.read())
        writer.close()

    class Makes(Server):
        async def on_tick(self, counter: int) -> bool:
            self.server_state.default_headers = [(b"date", b"%d" % counter), (b"x-own", b"server"), (b"X-Tick", b"1")]
            self.own_runtime.defaults.refresh()
            await ask(self)
            return counter == 1

    config = Config(answer, port=0, lifespan="off", log_config=None, loop="asyncio")
    server = Makes(config)
    server.server_state.default_headers = []
    server.run()
    for number, text in enumerate(answers):
        lines = text.split(b"\r\n")
        assert {b"date: %d" % number, b"x-tick: 1", b"x-own: app"} <= set(lines)
        assert b"x-own: server" not in lines
        assert not any(line.startswith(b"server:") for line in lines)
    assert (b"x-tick", b"1") in server.server_state.default_headers
    assert server.last_notified == 0.0


@pytest.mark.parametrize("gives_up", [True, False])
def test_a_startup_that_does_all_by_itself(gives_up: bool) -> None:
    """One that sees that it can't serve, and one that listens in its own way: both end when an exit is asked for."""

    class Mine(Server):
        async def startup(self, sockets: Any = None) -> None:
            self.should_exit = gives_up

    async def main() -> Server:
        server = Mine(Config(app=app, log_config=None))
        task = asyncio.ensure_future(server.serve())
        await asyncio.sleep(0.01)
        server.should_exit = True
        await asyncio.wait_for(task, 20)
        return server

    assert asyncio.run(main()).started is False


def test_steps_are_called_by_uvicorns_keywords() -> None:
    """Subclasses hand on what they are given: `**kwargs` alone, as jina's `serve()` has."""
    seen: list[Any] = []

    class HandsOn(Server):
        async def serve(self, **kwargs: Any) -> None:  # type: ignore[override]
            seen.append(kwargs)
            await super().serve(**kwargs)

        async def startup(self, **kwargs: Any) -> None:  # type: ignore[override]
            seen.append(kwargs)
            await super().startup(**kwargs)
            self.should_exit = True

        async def shutdown(self, **kwargs: Any) -> None:  # type: ignore[override]
            seen.append(kwargs)
            await super().shutdown(**kwargs)

    HandsOn(Config(app, port=0, lifespan="off", log_config=None)).run()
    assert seen == [{"sockets": None}] * 3


def test_a_loop_factory_that_is_none_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Config, "get_loop_factory", lambda self: None)
    loops: list[str] = []

    class Looks(Server):
        async def main_loop(self) -> None:
            loops.append(type(asyncio.get_running_loop()).__module__)

    Looks(Config(app, port=0, lifespan="off", log_config=None)).run()
    assert loops == ["asyncio.unix_events"]
