"""A subclass that serves by the uvicorn package's Server: ours takes its place, however it came by it."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.worker.cycles import settings
from uvicorn_worker import Config, Server
from uvicorn_worker.worker.own_server import foreign_server, take_its_place
from uvicorn_worker.worker.worker import UvicornWorker


@pytest.fixture
def uvicorn(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A stand-in for the package."""
    package = types.ModuleType("uvicorn")
    server = type("Server", (), {"__module__": "uvicorn.server"})
    package.Server = server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "uvicorn", package)
    return package


Make = Callable[..., type[UvicornWorker]]


class Log:
    """Of Gunicorn's master."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, level: int, line: str, *args: Any) -> None:
        self.lines.append(line % args if args else line)


@pytest.fixture
def subclass(uvicorn: types.ModuleType) -> Make:
    """A subclass as a module of the operator has it: `body` is in the class, after `imports`."""

    def make(body: str, imports: str = "") -> type[UvicornWorker]:
        namespace: dict[str, Any] = {"UvicornWorker": UvicornWorker, "__name__": "operators_own"}
        source = f"{imports}\nclass Own(UvicornWorker):\n" + "".join(f"    {line}\n" for line in body.splitlines())
        exec(source, namespace)  # noqa: S102 - the test's own source
        found: type[UvicornWorker] = namespace["Own"]
        return found

    return make


@pytest.mark.parametrize(
    ("imports", "body"),
    [
        ("from uvicorn import Server", "async def _serve(self):\n    await Server(self.config).serve()"),
        ("import uvicorn", "async def _serve(self):\n    await uvicorn.Server(self.config).serve()"),
        ("", "async def _serve(self):\n    from uvicorn import Server\n    await Server(self.config).serve()"),
        (
            "",
            "def run(self):\n    def it():\n        import uvicorn\n        uvicorn.Server(1)\n    it()",
        ),
        ("from uvicorn import Server", "def run(self):\n    Server(self.config).run()"),
    ],
)
def test_uvicorns_is_found(subclass: Make, imports: str, body: str) -> None:
    kind = subclass(body, imports)
    name = "run" if "def run" in body else "_serve"
    assert foreign_server(kind, "uvicorn_worker") == f"Own.{name}()"
    log = Log()
    kind.check_config(settings(), log)
    assert f"Own.{name}() of the worker class uses uvicorn's own Server: ours takes its place" in log.lines


@pytest.mark.parametrize(
    ("imports", "body"),
    [
        ("", "x = 1"),
        ("from uvicorn_worker import Server", "async def _serve(self):\n    await Server(config=self.config).serve()"),
        ("import uvicorn", "async def _serve(self):\n    await super()._serve()"),
        ("import uvicorn", "async def _serve(self):\n    uvicorn.other\n    await super()._serve()"),
        ("from uvicorn import Server", "async def other(self):\n    Server(1)"),
    ],
)
def test_what_is_none_of_it_is_let_through(subclass: Make, imports: str, body: str) -> None:
    assert foreign_server(subclass(body, imports), "uvicorn_worker") is None


def test_a_mixin_counts_where_it_comes_first(subclass: Make, uvicorn: types.ModuleType) -> None:
    mixin = subclass("async def _serve(self):\n    Server(1)", "from uvicorn import Server")
    kind = type("Mixed", (mixin,), {"__module__": "operators_own"})
    assert foreign_server(kind, "uvicorn_worker") == "Own._serve()"


class Given(Config):
    """As a worker has it."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


class TestTakingItsPlace:
    @pytest.fixture(autouse=True)
    def theirs(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        """uvicorn's, as it is imported anew."""
        for name in [each for each in sys.modules if each.partition(".")[0] == "uvicorn"]:
            monkeypatch.delitem(sys.modules, name)
        package = pytest.importorskip("uvicorn")
        take_its_place(Server, Given, load=True)
        take_its_place(Server, Given)
        yield package
        for name in [each for each in sys.modules if each.partition(".")[0] == "uvicorn"]:
            del sys.modules[name]

    def test_it_becomes_ours(self, theirs: Any) -> None:
        config = Given(app, log_config=None)
        for made in (theirs.Server(config), theirs.Server(config=config)):
            assert type(made) is Server
            assert made.config is config

    def test_a_subclass_has_ours_below_it(self, theirs: Any) -> None:
        told: list[str] = []

        class Announces(theirs.Server):
            async def startup(self, sockets: Any = None) -> None:
                told.append("startup")
                await super().startup(sockets=sockets)

            async def main_loop(self) -> None:
                told.append("serves")

        class Kept(Announces):
            def __init__(self, keeper: str) -> None:
                self.keeper = keeper
                super().__init__(Given(app, port=0, lifespan="off", log_config=None))
                told.append("made")

            async def shutdown(self, sockets: Any = None) -> None:
                await theirs.Server.shutdown(self, sockets=sockets)
                told.append("shutdown")

        for _ in range(2):
            made: Any = Kept("me")
            assert made.keeper == "me"
            assert Server in type(made).__mro__
            made.run()
        assert told == ["made", "startup", "serves", "shutdown"] * 2

    def test_one_with_a_configuration_of_uvicorns_is_left(self, theirs: Any) -> None:
        made = theirs.Server(theirs.Config(app, log_config=None))
        assert type(made) is theirs.Server
        made.handle_exit(15, None)
        assert made.should_exit

    def test_where_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "uvicorn.server", None)
        take_its_place(Server, Given, load=True)
        monkeypatch.setitem(sys.modules, "uvicorn.server", types.ModuleType("uvicorn.server"))
        take_its_place(Server, Given)
