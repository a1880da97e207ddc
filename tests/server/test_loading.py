"""The application and the event loop, from the names that the options give."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uvicorn_worker import Config
from uvicorn_worker.core.errors import AppLoadError, ConfigError
from uvicorn_worker.interfaces import Asgi2Adapter, WsgiAdapter
from uvicorn_worker.server.loading import (
    adapt,
    is_made_late,
    load_app,
    load_or_wait,
    loop_factory,
    set_loop_policy,
)

MODULE = """
import asyncio

async def app(scope, receive, send):
    "An application."

def factory():
    return app

def wsgi(environ, start_response):
    return []

class Asgi2:
    def __init__(self, scope):
        pass

async def coroutine_factory():
    return app

def raising_factory():
    raise TypeError("inside of the factory")

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
        assert load_app(Config(app=lambda: app, factory=True)) is app

    def test_a_factory_that_runs_a_loop_by_itself(self) -> None:
        """As it may with servers that call it before theirs runs; another one begins tasks in ours."""
        began: list[asyncio.Task[None]] = []

        def runs() -> Any:
            asyncio.run(asyncio.sleep(0))
            return app

        def begins() -> Any:
            began.append(asyncio.get_running_loop().create_task(asyncio.sleep(0)))
            return app

        def fails() -> Any:
            raise RuntimeError("inside of the factory")

        async def main() -> None:
            with warnings.catch_warnings():
                # What the first call was to run.
                warnings.simplefilter("ignore")
                assert load_app(Config(app=runs, factory=True)) is app
            assert load_app(Config(app=begins, factory=True)) is app
            await began[0]
            with pytest.raises(RuntimeError, match="inside"):
                load_app(Config(app=fails, factory=True))

        asyncio.run(main())
        assert load_app(Config(app=runs, factory=True)) is app

    def test_an_import_that_asks_for_a_loop_waits_for_one(self, tmp_path: Path) -> None:
        """As one does that opens a session of aiohttp; what fails otherwise does so at once."""
        (tmp_path / "eager.py").write_text(
            "import asyncio\ntask = asyncio.create_task(asyncio.sleep(0))\nasync def app(scope, receive, send): ...\n"
        )
        (tmp_path / "broken.py").write_text("raise RuntimeError('inside of it')\n")
        config = Config(app="eager:app")
        with warnings.catch_warnings():
            # That nobody has awaited what the task was to run.
            warnings.simplefilter("error")
            assert is_made_late(config)

        async def main() -> Any:
            return load_app(config)

        assert asyncio.run(main()).__module__ == "eager"
        with pytest.raises(RuntimeError, match="inside of it"):
            is_made_late(Config(app="broken:app"))

    def test_one_that_can_not_be_made_twice_tells_of_both(self) -> None:
        tries: list[str] = []

        def load() -> Any:
            tries.append("")
            if len(tries) > 1:
                raise ValueError("Duplicated timeseries")
            asyncio.get_running_loop()

        waiting = load_or_wait(load)

        async def main() -> Any:
            return adapt(waiting, Config(app=app))

        with pytest.raises(ValueError, match="Duplicated") as caught:
            asyncio.run(main())
        assert str(caught.value.__cause__) == "no running event loop"

    def test_what_is_called_where_the_loop_runs(self) -> None:
        assert is_made_late(Config(app="example:factory", factory=True))
        assert is_made_late(Config(app="example:factory"))
        assert not is_made_late(Config(app="example:app"))
        assert not is_made_late(Config(app="example:number"))
        assert not is_made_late(Config(app="example:factory", interface="asgi3"))
        assert not is_made_late(Config(app="example:factory", factory=True, interface="wsgi"))
        with pytest.raises(AppLoadError):
            is_made_late(Config(app="example:nothing"))

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


class TestFactory:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("example:app", "app 'example:app' can't be called without arguments; is it the application itself?"),
            ("example:coroutine_factory", "app 'example:coroutine_factory' is a coroutine function"),
            ("example:number", "app 'example:number' is not callable, but int"),
            ("example:dict", "the factory 'example:dict' must give an application, not dict"),
        ],
    )
    def test_what_can_not_be_one(self, name: str, message: str) -> None:
        sys.modules.pop("example", None)
        vars(__import__("example"))["dict"] = dict
        with pytest.raises(AppLoadError) as caught:
            load_app(Config(app=name, factory=True))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_what_it_raises_is_passed_on(self) -> None:
        with pytest.raises(TypeError, match="inside of the factory"):
            load_app(Config(app="example:raising_factory", factory=True))

    def test_a_callable_without_arguments_is_taken_for_one(self, log: Callable[..., list[str]]) -> None:
        assert load_app(Config(app="example:factory")) is load_app(Config(app="example:app"))
        assert log() == [
            "app 'example:factory' takes no arguments, so it is called as a factory; say so by factory = True"
        ]

    def test_not_where_the_interface_is_named(self, log: Callable[..., list[str]]) -> None:
        factory = load_app(Config(app="example:factory", interface="asgi3"))
        assert factory.__name__ == "factory"
        assert log() == []

    def test_it_goes_with_each_interface(self) -> None:
        class Router:
            def __call__(self, scope: Any) -> Any:
                """Gives an instance."""

        def plain(environ: Any, start_response: Any) -> Any:
            """WSGI."""

        def loaded(app: Any, interface: str) -> Any:
            factory: Any = lambda: app  # noqa: E731 - the shortest factory
            return load_app(Config(app=factory, factory=True, interface=interface))

        assert isinstance(loaded(Router(), "auto"), Asgi2Adapter)
        assert isinstance(loaded(plain, "wsgi"), WsgiAdapter)
        assert loaded(app, "auto") is app


class TestInterface:
    def test_asgi3_is_taken_as_it_is(self) -> None:
        for interface in ("auto", "asgi3"):
            assert adapt(app, Config(app=app, interface=interface)) is app

    def test_asgi2(self) -> None:
        for interface in ("auto", "asgi2"):
            assert isinstance(load_app(Config(app="example:Asgi2", interface=interface)), Asgi2Adapter)

    def test_wsgi_is_to_be_named(self) -> None:
        with pytest.raises(AppLoadError) as caught:
            load_app(Config(app="example:wsgi"))
        assert str(caught.value) == (
            "app 'example:wsgi' takes two arguments, as WSGI applications do: "
            "set the option interface = 'wsgi' to serve it"
        )
        assert isinstance(load_app(Config(app="example:wsgi", interface="wsgi")), WsgiAdapter)

    def test_an_object_that_was_loaded_already_is_named(self) -> None:
        class Wsgi:
            def __call__(self, environ: Any, start_response: Any) -> Any:
                return []

            def __repr__(self) -> str:
                return "<the app>"

        with pytest.raises(AppLoadError, match=r"app <the app> takes two"):
            adapt(Wsgi(), Config(app=app))
        with pytest.raises(AppLoadError, match=r"app .*test_loading.*four is no application"):
            adapt(four, Config(app=app))

    def test_the_threads_of_wsgi(self) -> None:
        for threads, multithread in [(1, False), (5, True), (None, True)]:
            adapter = load_app(Config(app="example:wsgi", interface="wsgi", threads=threads))
            assert adapter._environ["wsgi.multithread"] is multithread  # type: ignore[attr-defined]  # it is a WsgiAdapter


def four(a: Any, b: Any, c: Any, d: Any) -> None:
    """No interface has four arguments."""


class TestLoop:
    def name_of(self, loop: str) -> str:
        new = loop_factory(Config(app=app, loop=loop))()
        try:
            assert isinstance(new, asyncio.AbstractEventLoop)
            return type(new).__module__.partition(".")[0]
        finally:
            new.close()

    def test_none_is_the_loop_of_the_policy(self) -> None:
        assert self.name_of("none") in ("asyncio", "uvloop")

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

    def test_auto_is_asyncio_where_nest_asyncio_has_patched_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asyncio, "_nest_patched", True, raising=False)
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


def made_late() -> asyncio.AbstractEventLoop:
    """A loop of one's own."""
    return asyncio.SelectorEventLoop()


@pytest.mark.parametrize(("loop", "is_set"), [("asyncio", False), (f"{__name__}:made_late", True)])
def test_a_policy_makes_the_loop(loop: str, is_set: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    set_policies: list[Any] = []
    monkeypatch.setattr(asyncio, "set_event_loop_policy", set_policies.append, raising=False)
    set_loop_policy(Config("none:none", log_config=None, loop=loop))
    if sys.version_info >= (3, 14):
        is_set = False
    assert bool(set_policies) is is_set
    for policy in set_policies:
        made = policy.new_event_loop()
        assert type(made) is asyncio.SelectorEventLoop
        made.close()
