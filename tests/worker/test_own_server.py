"""A subclass that serves by the uvicorn package's Server is refused before the fork, however it came by it."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.worker.cycles import settings
from uvicorn_worker.worker.own_server import foreign_server
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
    with pytest.raises(RuntimeError, match=r"uses the uvicorn package's Server, which can't serve here"):
        kind.check_config(settings(), None)


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
