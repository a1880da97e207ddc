"""Tables of words, to which programs add at their import: a loop of theirs, a protocol class, a lifespan."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.server.running import Running
from tests.sockets import Run
from uvicorn_worker import Config, ConfigError, Server
from uvicorn_worker.core import tables
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.server.own_lifespan import LifespanOn


class MyLoop(asyncio.SelectorEventLoop):
    pass


class MyLifespan(LifespanOn):
    pass


class MyProtocol(asyncio.Protocol):
    """Answers without a look at what is asked."""

    def __init__(self, **made_of: Any) -> None:
        self.connections = made_of["server_state"].connections

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nmine")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)


def my_loop(use_subprocess: bool = False) -> type[asyncio.AbstractEventLoop]:
    return MyLoop


def my_old_setup(use_subprocess: bool = False) -> None:
    """As in uvicorn before 0.36."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(autouse=True)
def as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    mine: Any = ModuleType("mine")
    for each in (my_loop, my_old_setup, MyLifespan, MyProtocol):
        setattr(mine, each.__name__, each)
    monkeypatch.setitem(sys.modules, "mine", mine)
    all_tables = [getattr(tables, name) for name in tables.__all__ if name != "Table"]
    before = [dict(each) for each in all_tables]
    yield
    for table, entries in zip(all_tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.mark.parametrize("word", ["winloop", "auto", "uvloop", "none"])
@pytest.mark.parametrize("named", ["mine:my_loop", my_loop])
def test_a_loop(word: str, named: Any) -> None:
    tables.LOOP_FACTORIES[word] = named
    config = Config(app, **({} if word == "auto" else {"loop": word}), lifespan="off", port=0)
    assert config.get_loop_factory() is MyLoop
    kinds = []

    class Looking(Server):
        async def on_tick(self, counter: int) -> bool:
            kinds.append(type(asyncio.get_running_loop()))
            return True

    Looking(config).run()
    assert kinds == [MyLoop]


def test_what_sets_a_policy_leaves_asyncios_loop() -> None:
    tables.LOOP_FACTORIES["uvloop"] = "mine:my_old_setup"
    assert Config(app, loop="uvloop").get_loop_factory() is asyncio.new_event_loop


def test_a_loop_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="option loop = 'winloop'"):
        Config(app, loop="winloop")
    tables.LOOP_FACTORIES["winloop"] = "mine:nothing"
    with pytest.raises(ConfigError, match="option loop = 'winloop'"):
        Config(app, loop="winloop").get_loop_factory()


@pytest.mark.parametrize("word", ["httptools", "auto", "mine"])
@pytest.mark.parametrize("named", ["mine:MyProtocol", MyProtocol])
def test_a_protocol(run: Run, word: str, named: Any) -> None:
    tables.HTTP_PROTOCOLS[word] = named
    options: dict[str, Any] = {} if word == "auto" else {"http": word}

    async def scenario() -> None:
        async with Running(app, ws="none", lifespan="off", **options) as running:
            assert (await (await running.ask()).rest()).endswith(b"mine")

    run(scenario())


def test_uvicorns_own_protocol_is_ours() -> None:
    tables.HTTP_PROTOCOLS["auto"] = "uvicorn.protocols.http.h11_impl:H11Protocol"
    assert Config(app).http == "h11"


def test_a_lifespan() -> None:
    tables.LIFESPAN["auto"] = "mine:MyLifespan"
    config = Config(app)
    config.load()
    assert config.lifespan_class is MyLifespan
    tables.LIFESPAN["on"] = MyLifespan
    config = Config(app, lifespan="on")
    config.load()
    assert config.lifespan_class is MyLifespan
