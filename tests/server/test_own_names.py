"""Subclasses of Config and Server that have attributes and methods of their own, whatever these are called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.names import PLAUSIBLE, names_of, not_own
from tests.scripted import get
from tests.server.running import App
from uvicorn_worker.core.config import RULES
from uvicorn_worker.server import Config, Server, ServerState
from uvicorn_worker.server.own_lifespan import LifespanOn

# What uvicorn's have, beside the options.
SERVERS = {
    "_captured_signals", "_log_started_message", "_serve", "_wait_tasks_to_complete", "capture_signals", "config",
    "force_exit", "handle_exit", "last_notified", "lifespan", "limit_max_requests", "main_loop", "on_tick", "run",
    "serve", "server_state", "servers", "should_exit", "shutdown", "started", "startup",
}  # fmt: skip
CONFIGS = {
    "app_dir", "asgi_version", "bind_socket", "configure_logging", "encoded_headers", "fd", "get_loop_factory", "host",
    "http_protocol_class", "is_ssl", "lifespan_class", "load", "load_app", "loaded", "loaded_app", "port", "reload",
    "reload_delay", "reload_dirs", "reload_dirs_excludes", "reload_excludes", "reload_includes", "setup_event_loop",
    "should_reload", "ssl", "timeout_worker_healthcheck", "uds", "use_subprocess", "workers", "ws_protocol_class",
}  # fmt: skip
STATES = {"connections", "default_headers", "tasks", "total_requests"}
LIFESPANS = {
    "config", "error_occurred", "logger", "main", "receive", "receive_queue", "send", "should_exit", "shutdown",
    "shutdown_event", "shutdown_failed", "startup", "startup_event", "startup_failed", "state",
}  # fmt: skip


class Value:
    """Somebody's own, which can be done nothing with but to be itself; it can be called, as a method is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: object, **kwargs: object) -> None:
        raise AssertionError(f"{self.name} was called")

    def __bool__(self) -> bool:
        raise AssertionError(f"{self.name} was looked at")


VALUES = {name: Value(name) for name in PLAUSIBLE}


def as_methods(base: Any) -> Any:
    def method(name: str) -> Callable[..., None]:
        def call(self: object, *args: object) -> None:
            raise AssertionError(f"{name} was called")

        return call

    return type("Methods", (base,), {name: method(name) for name in VALUES})


def as_coroutines(base: Any) -> Any:
    def method(name: str) -> Callable[..., Any]:
        async def call(self: object, *args: object) -> None:
            raise AssertionError(f"{name} was called")

        return call

    return type("Coroutines", (base,), {name: method(name) for name in VALUES})


def as_properties(base: Any) -> Any:
    def of(name: str) -> property:
        def get(self: object) -> Any:
            raise AssertionError(f"{name} was looked at")

        return property(get)

    return type("Properties", (base,), {name: of(name) for name in VALUES})


def set_before(base: Any) -> Any:
    class Before(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            for name, value in VALUES.items():
                setattr(self, name, value)
            super().__init__(*args, **kwargs)

    return Before


def set_after(base: Any) -> Any:
    class After(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for name, value in VALUES.items():
                setattr(self, name, value)

    return After


STYLES = [as_methods, as_coroutines, as_properties, set_before, set_after]


async def ask(server: Any) -> bytes:
    while not server.started:
        await asyncio.sleep(0.001)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname()[:2])
    writer.write(get("/", "Connection: close"))
    answer = await reader.read()
    writer.close()
    return answer


async def serve(server: Any, app: App) -> None:
    """A request, and the end."""
    serving = asyncio.ensure_future(server.serve())
    asking = asyncio.ensure_future(ask(server))
    await asyncio.wait({serving, asking}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    if serving.done():
        # It has failed.
        asking.cancel()
        await serving
    assert (await asking).startswith(b"HTTP/1.1 200 OK\r\n")
    # So that each tick is, too.
    await asyncio.sleep(0.6)
    server.should_exit = True
    await asyncio.wait_for(serving, 20)
    assert app.events == ["startup", "shutdown"]
    assert not server.servers[0].is_serving()


def options(app: App) -> dict[str, Any]:
    return {"app": app, "host": "127.0.0.1", "port": 0, "log_config": None, "timeout_drain_idle": 0, "lifespan": "on"}


def check_kept(it: Any, style: Any) -> None:
    if style in (set_before, set_after):
        assert all(getattr(it, name) is value for name, value in VALUES.items())


@pytest.mark.parametrize("style", STYLES)
def test_of_a_server(style: Any) -> None:
    app = App(hello)
    server = style(Server)(Config(**options(app)))
    asyncio.run(serve(server, app))
    check_kept(server, style)


@pytest.mark.parametrize("style", STYLES)
def test_of_a_config(style: Any) -> None:
    app = App(hello)
    # An option of ours is none of the names.
    config = style(Config)(**options(app))
    asyncio.run(serve(Server(config), app))
    check_kept(config, style)


def test_a_dataclass_is_a_server() -> None:
    """It can't be hashed, and says by its fields whether it is equal to another."""

    @dataclass
    class Mine(Server):
        config: Config
        name: str = "mine"
        log: Any = None

        def __post_init__(self) -> None:
            super().__init__(self.config)

    app = App(hello)
    asyncio.run(serve(Mine(Config(**options(app)), name="it"), app))


def test_a_dataclass_is_a_config() -> None:
    base: Any = Config

    @dataclass
    class Mine(base):
        name: str = "mine"
        log: Any = None

        def __post_init__(self) -> None:
            super().__init__(**options(self.log))

    app = App(hello)
    config = Mine(name="it", log=app)
    assert (config.name, config.log) == ("it", app)
    asyncio.run(serve(Server(config), app))


def test_a_subclass_has_a_should_exit_of_its_own() -> None:
    """uvicorn's server looks at it again and again."""

    class Flag(Server):
        should_exit = False

    class Asked(Server):
        asked = 0
        flag = False

        def _get(self) -> bool:
            self.asked += 1
            return self.flag

        def _set(self, value: bool) -> None:
            self.flag = value

        should_exit = property(_get, _set)

    for kind in (Flag, Asked):
        app = App(hello)
        asyncio.run(serve(kind(Config(**options(app))), app))


def test_every_name_that_is_not_uvicorns_is_plainly_ours() -> None:
    """What a subclass could have, too, begins with `own_` or `_own_`."""
    app = App(hello)
    server = Server(Config(**options(app)))
    asyncio.run(serve(server, app))
    assert not_own(names_of(Server, server) - SERVERS) == []
    assert not_own(names_of(Config, server.config) - CONFIGS - {*RULES}) == []
    assert not_own(names_of(ServerState, server.server_state) - STATES) == []
    assert not_own(names_of(LifespanOn, server.lifespan) - LIFESPANS) == []


def test_the_names_of_uvicorn_are_there() -> None:
    server: Any = Server(Config(app=hello, log_config=None))
    assert {name for name in SERVERS if not hasattr(server, name)} == set()
    assert {name for name in CONFIGS if not hasattr(server.config, name)} == set()
    assert {name for name in STATES if not hasattr(server.server_state, name)} == set()


def test_a_new_name_is_seen() -> None:
    class Made(Server):
        _new = 1

        def __init__(self, config: Config) -> None:
            super().__init__(config)
            self.another = self._own_third = 3

    assert not_own({"_new", "another", "_own_third", "own_fourth"}) == ["_new", "another"]
    assert not_own({*vars(Made(Config(app=hello, log_config=None)))} - SERVERS) == ["another"]
