"""A start that fails, of a server that a program has in itself: a line in the log and a SystemExit, as with uvicorn."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http1.apps import hello
from tests.sockets import listen
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import (
    STARTUP_FAILURE,
    AppLoadError,
    BindError,
    ConfigError,
    LifespanError,
    UvicornWorkerError,
)
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.binding import bind

Log = Callable[..., list[str]]

KINDS: dict[str, type[UvicornWorkerError]] = {
    "no application": AppLoadError,
    "address": BindError,
    "lifespan": LifespanError,
}
# A server that nobody awaits: by what does the program learn that it is not there?
PROGRAM = """
import asyncio, sys
from uvicorn_worker.server import Config, Server

async def app(scope, receive, send):
    raise RuntimeError("no database")

async def main():
    server = Server(Config(sys.argv[2] or app, port=int(sys.argv[1]), lifespan=sys.argv[3]))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)

run = asyncio.run
if sys.argv[4] == "uvloop":
    import uvloop
    if hasattr(uvloop, "run"):
        run = uvloop.run
    else:
        # Before 0.18.
        uvloop.install()
run(main())
"""


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Its startup fails."""
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def entered(server: Server) -> None:
    """It serves in a block."""
    async with server:
        pass


def config_of(what: str, taken: socket.socket) -> Config:
    port = taken.getsockname()[1] if what == "address" else 0
    app = {"no application": "no_such_module_at_all:app", "lifespan": refusing}.get(what, hello)
    return Config(app, port=port, lifespan="on" if what == "lifespan" else "off")


def check(exc: BaseException, kind: type[UvicornWorkerError], lines: list[str]) -> None:
    assert isinstance(exc, kind)
    assert isinstance(exc, SystemExit)
    assert exc.code == STARTUP_FAILURE
    assert [line for line in lines if str(exc) in line] == lines
    assert len(lines) == 1


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("awaited", ["serve", "startup", "run", "async with"])
def test_who_awaits_it_can_catch_it_by_either_class(what: str, awaited: str, log: Log) -> None:
    def run(server: Server) -> None:
        if awaited == "run":
            server.run()
        else:
            asyncio.run(entered(server) if awaited == "async with" else getattr(server, awaited)())

    with listen() as taken, pytest.raises(KINDS[what]) as caught:
        run(Server(config_of(what, taken)))
    check(caught.value, KINDS[what], log(logging.ERROR))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("what", KINDS)
def test_a_program_that_waits_for_a_server_that_can_not_start_ends(what: str, loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with listen() as taken:
        arguments = {
            "no application": ("0", "no_such_module_at_all:app", "off"),
            "address": (str(taken.getsockname()[1]), "", "off"),
            "lifespan": ("0", "", "on"),
        }[what]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments, loop],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == STARTUP_FAILURE
    assert done.stderr.count("ERROR:") == 1
    assert ("RuntimeError: no database" in done.stderr) == (what == "lifespan")


@pytest.mark.parametrize("load", [Config.load, Config.load_app])
def test_loading(load: Callable[[Config], Any], log: Log) -> None:
    with pytest.raises(AppLoadError, match="there is no module") as caught:
        load(Config("no_such_module_at_all:app"))
    check(caught.value, AppLoadError, log(logging.ERROR))


def test_binding(log: Log) -> None:
    with listen() as taken, pytest.raises(BindError, match="can't be bound") as caught:
        config_of("address", taken).bind_socket()
    check(caught.value, BindError, log(logging.ERROR))


def test_what_an_import_raises_and_options_that_can_not_be_used_are_no_exits(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(Server(Config(hello)).serve([]))
    assert not isinstance(caught.value, SystemExit)
    (tmp_path / "imports_what_is_not_there.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError) as raised:
        Config("imports_what_is_not_there:app").load()
    assert not isinstance(raised.value, SystemExit)
    assert log(logging.ERROR) == []


def test_another_bind_is_none() -> None:
    """What ends a program is a server's start; who binds by itself says what becomes of it."""
    with listen() as taken, pytest.raises(BindError) as caught:
        bind("127.0.0.1", taken.getsockname()[1], None, None)
    assert not isinstance(caught.value, SystemExit)
