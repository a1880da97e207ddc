"""The names that others import, and their types: mypy reads this file, too, and fails where a type has changed."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

import uvicorn_worker
from uvicorn_worker import (
    Application,
    AppLoadError,
    BindError,
    Config,
    ConfigError,
    LifespanError,
    Server,
    ServerState,
    UvicornH2CWorker,
    UvicornH11Worker,
    UvicornWorker,
    UvicornWorkerError,
    main,
    run,
    supervisors,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type

    from uvicorn_worker.core.asgi import Receive, Scope, Send

NAMES = [
    "AppLoadError",
    "Application",
    "BindError",
    "Config",
    "ConfigError",
    "LifespanError",
    "Server",
    "ServerState",
    "UvicornH2CWorker",
    "UvicornH11Worker",
    "UvicornWorker",
    "UvicornWorkerError",
    "main",
    "run",
]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that has no lifespan."""
    raise NotImplementedError


def the_types() -> None:
    """Never called: what mypy has to say to it is the test."""
    if TYPE_CHECKING:
        config = Config(app=app, timeout_keep_alive=5, ws_ping_interval=None, forwarded_allow_ips=["127.0.0.1"])
        assert_type(config, Config)
        assert_type(config.timeout_keep_alive, float)
        assert_type(config.limit_concurrency, int | None)
        server = Server(config)
        assert_type(server, Server)
        serve: Callable[[Sequence[socket.socket]], Coroutine[Any, Any, None]] = server.serve
        assert_type(asyncio.run(serve([])), None)
        assert_type(server.should_exit, bool)
        assert_type(server.started, bool)
        state: ServerState = server.server_state
        assert_type(state, ServerState)
        workers: list[type[UvicornWorker]] = [UvicornWorker, UvicornH11Worker, UvicornH2CWorker]
        assert_type(workers[0].CONFIG_KWARGS, dict[str, Any])
        errors: list[UvicornWorkerError] = [AppLoadError(), BindError(), ConfigError(), LifespanError()]
        value_error: ValueError = ConfigError()
        serves: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]] = app
        assert_type(run(serves, port=8000, workers=2), None)
        command: Callable[[], None] = main
        launcher: Callable[[], None] = Application().run
        assert_type((command, launcher), tuple[Callable[[], None], Callable[[], None]])
        assert_type((errors, value_error), tuple[list[UvicornWorkerError], ValueError])


def test_they_are_these() -> None:
    assert uvicorn_worker.__all__ == NAMES


def test_each_of_them_is_a_class_but_for_two() -> None:
    assert [name for name in NAMES if not isinstance(getattr(uvicorn_worker, name), type)] == ["main", "run"]
    assert callable(uvicorn_worker.run)
    assert callable(uvicorn_worker.main)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="UvicornH3Worker"):
        _ = uvicorn_worker.UvicornH3Worker


def test_the_workers_are_of_one_kind() -> None:
    assert issubclass(UvicornH11Worker, UvicornWorker)
    assert issubclass(UvicornH2CWorker, UvicornWorker)


def test_the_module_of_the_pypi_package_hands_them_out() -> None:
    module = importlib.import_module("uvicorn_worker._workers")
    assert (module.UvicornWorker, module.UvicornH11Worker) == (UvicornWorker, UvicornH11Worker)


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "uvicorn_worker", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0
    assert "--host" in told.stdout


def test_the_server_is_made_of_a_config() -> None:
    assert next(iter(inspect.signature(Server).parameters)) == "config"
    server = Server(Config(app=app))
    assert not server.started
    assert not server.should_exit


@pytest.fixture
def sock() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_what_serve_raises_can_be_caught(sock: socket.socket) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    cases: list[tuple[Config, list[socket.socket], type[UvicornWorkerError]]] = [
        (Config(app=app), [], ConfigError),
        (Config(app="tests.test_public_names:NAMES"), [sock], AppLoadError),
        (Config(app=failing), [sock], LifespanError),
    ]
    with sock:
        for config, sockets, kind in cases:
            with pytest.raises(UvicornWorkerError) as caught:
                asyncio.run(Server(config).serve(sockets))
            assert isinstance(caught.value, kind)


def test_the_package_says_that_it_is_typed() -> None:
    assert files("uvicorn_worker").joinpath("py.typed").is_file()


def test_programs_may_put_other_supervisors_into_the_module_of_the_command() -> None:
    """uvicorn's `run()` takes them by these names."""
    module: Any = importlib.import_module("uvicorn_worker.main")
    assert (module.ChangeReload, module.Multiprocess) == (supervisors.ChangeReload, supervisors.Multiprocess)
