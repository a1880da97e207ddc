"""The application and the event loop, from the names that the options give."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker import Config
from uvicorn_worker.errors import AppLoadError, ConfigError
from uvicorn_worker.server.loading import load_app, loop_factory

MODULE = """
import asyncio

async def app(scope, receive, send):
    "An application."

def factory():
    return app

class Nested:
    inner = app

number = 5
new_loop = asyncio.SelectorEventLoop
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package to load from: `example` with `example.broken`, `example.missing` and `example.raising`."""
    package = tmp_path / "example"
    package.mkdir()
    (package / "__init__.py").write_text(MODULE)
    (package / "missing.py").write_text("import no_such_module_at_all")
    (package / "raising.py").write_text("raise ZeroDivisionError('at import')")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "example"]:
        del sys.modules[name]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An application that is there already."""


class TestApp:
    def test_an_object_is_taken_as_it_is(self) -> None:
        assert load_app(Config(app=app)) is app

    def test_a_name_is_imported(self) -> None:
        assert load_app(Config(app="example:app")).__doc__ == "An application."

    def test_dots_in_the_attribute_are_followed(self) -> None:
        assert load_app(Config(app="example:Nested.inner")) is load_app(Config(app="example:app"))

    def test_a_factory_is_called(self) -> None:
        assert load_app(Config(app="example:factory", factory=True)).__doc__ == "An application."
        assert load_app(Config(app=lambda: app, factory=True)) is app  # type: ignore[arg-type,misc,return-value]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("example", "must be 'module:attribute'"),
            ("example:", "must be 'module:attribute'"),
            (":app", "must be 'module:attribute'"),
            ("no_such_package:app", "there is no module 'no_such_package'"),
            ("no_such_package.sub:app", "there is no module 'no_such_package'"),
            ("example.sub:app", "there is no module 'example.sub'"),
            ("example:application", "there is no 'application' in"),
            ("example:app.inner", "there is no 'inner' in"),
            ("example:number", "is not callable, but int"),
        ],
    )
    def test_a_name_that_leads_nowhere(self, name: str, message: str) -> None:
        with pytest.raises(AppLoadError) as caught:
            load_app(Config(app=name))
        assert message in str(caught.value)
        assert repr(name) in str(caught.value)

    def test_what_the_import_raises_is_passed_on(self) -> None:
        with pytest.raises(ZeroDivisionError, match="at import"):
            load_app(Config(app="example.raising:app"))

    def test_a_module_that_the_application_misses_is_not_ours(self) -> None:
        with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
            load_app(Config(app="example.missing:app"))


class TestLoop:
    def name_of(self, loop: str) -> str:
        new = loop_factory(Config(app=app, loop=loop))()
        try:
            assert isinstance(new, asyncio.AbstractEventLoop)
            return type(new).__module__.partition(".")[0]
        finally:
            new.close()

    def test_asyncio(self) -> None:
        assert self.name_of("asyncio") == "asyncio"

    def test_uvloop(self) -> None:
        pytest.importorskip("uvloop")
        assert self.name_of("uvloop") == self.name_of("auto") == "uvloop"

    def test_a_name(self) -> None:
        assert self.name_of("example:new_loop") == "asyncio"

    def test_auto_does_without_uvloop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
        assert self.name_of("auto") == "asyncio"

    def test_uvloop_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
        with pytest.raises(ConfigError, match="option loop = 'uvloop': the package uvloop is not installed"):
            loop_factory(Config(app=app, loop="uvloop"))

    def test_a_name_that_leads_nowhere(self) -> None:
        with pytest.raises(ConfigError, match="option loop = 'example:nothing'"):
            loop_factory(Config(app=app, loop="example:nothing"))

    def test_a_name_of_something_else(self) -> None:
        with pytest.raises(ConfigError, match="option loop = 'example:number'"):
            loop_factory(Config(app=app, loop="example:number"))
