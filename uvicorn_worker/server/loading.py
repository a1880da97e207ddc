"""The application, its environment and the event loop, from the names that the options give."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import AppLoadError, ConfigError
from uvicorn_worker.core.tables import LOOP_FACTORIES
from uvicorn_worker.interfaces import Kind, detect, needs_arguments
from uvicorn_worker.server.agents import seen_by_agents, without_wsgi_wrapper
from uvicorn_worker.server.env_file import load_env_file, missing_env_files

__all__ = [
    "NOT_LOADED",
    "Unloaded",
    "absolute",
    "adapt",
    "import_name",
    "is_factory",
    "is_made_late",
    "load_app",
    "load_or_wait",
    "loop_factory",
    "set_loop_policy",
]

NOT_LOADED = "The application can't be loaded: %s"
"""What the log says of an `AppLoadError`."""

# What a factory raises that can't be called where a loop runs: it runs one by itself, or uses Django's database.
_WITHOUT_A_LOOP = re.compile(r"from a running event loop|loop is (already )?running|from an async context")
# And what an import does that begins a task, or opens a session of aiohttp.
_WITH_A_LOOP = re.compile(r"no (running|current) event loop")


class Unloaded:
    """An application whose import asks for a running loop: called where one runs, it gives what was imported."""

    __slots__ = ("_load", "_why")

    def __init__(self, load: Callable[[], Any], why: RuntimeError) -> None:
        self._load = load
        self._why = why

    def __call__(self) -> Any:
        try:
            return self._load()
        except Exception as exc:
            # It may be that what was done before can't be done twice.
            raise exc from self._why


def load_or_wait(load: Callable[[], Any]) -> Any:
    """What `load` gives, or an `Unloaded` for where a loop runs; raises what it does."""
    try:
        return load()
    except RuntimeError as exc:
        if asyncio._get_running_loop() is not None or not _WITH_A_LOOP.search(str(exc)):
            raise
        why = exc
    with warnings.catch_warnings():
        # What it was to run is let go of with its frames, and is made again: no news that nobody has awaited it.
        warnings.simplefilter("ignore", RuntimeWarning)
        why.__traceback__ = None
    return Unloaded(load, why)


def load_app(config: Config) -> ASGIApp:
    """The application of `Config.app`, imported where it is a name, made callable as ASGI 3 by `adapt()`.

    Raises `AppLoadError` for a name that leads nowhere, `ConfigError` for an environment file that can't be
    read; what the import of a module raises is passed on.
    """
    load_env_file(config.env_file)
    for line in missing_env_files(config.env_file):
        logging.getLogger("uvicorn.error").warning("%s", line)
    return adapt(_found(config), config)


def is_factory(app: Any, config: Config) -> bool:
    """Whether it makes an ASGI application: it is to be called where the loop runs, since it may begin tasks there."""
    if isinstance(app, Unloaded):
        return True
    if config.interface == "wsgi":
        return False
    return config.factory or (config.interface == "auto" and callable(app) and detect(app) == "factory")


def is_made_late(config: Config) -> bool:
    """Import what `Config.app` names, and say whether that is a factory, or has to wait; raises as `load_app()`."""
    load_env_file(config.env_file)
    return is_factory(load_or_wait(lambda: _found(config)), config)


def _found(config: Config) -> Any:
    """`Config.app`, imported where it is a name."""
    return import_name(config.app, "app") if isinstance(config.app, str) else config.app


def adapt(app: Any, config: Config, *, multiprocess: bool = False) -> ASGIApp:
    """What was loaded, as an ASGI 3 application: a factory is called, another interface gets its adapter.

    `multiprocess` says whether other processes serve the same application. Raises `AppLoadError` for what
    can't be served as the options say; what a factory raises is passed on.
    """
    if isinstance(app, Unloaded):
        app = app()
    name = repr(config.app) if isinstance(config.app, str) else _name_of(app)
    if config.factory:
        app = _call_factory(app, name)
    if not callable(app):
        raise AppLoadError(f"app {name} is not callable, but {type(app).__name__}")
    interface = config.interface
    if interface == "auto":
        kind = detect(app)
        if kind == "factory":
            logging.getLogger("uvicorn.error").warning(
                "app %s takes no arguments, so it is called as a factory; say so by factory = True", name
            )
            app = _call_factory(app, name)
            kind = detect(app)
        interface = _served(kind, name)
    if interface == "wsgi":
        from uvicorn_worker.interfaces import WsgiAdapter

        return WsgiAdapter(app, config.threads, multiprocess=multiprocess)
    app = without_wsgi_wrapper(app)
    if interface == "asgi2":
        from uvicorn_worker.interfaces import Asgi2Adapter

        app = Asgi2Adapter(app)
    return seen_by_agents(app)


def _call_factory(factory: Any, name: str) -> Any:
    """The application that a factory makes."""
    if not callable(factory):
        raise AppLoadError(f"option factory = True: app {name} is not callable, but {type(factory).__name__}")
    if needs_arguments(factory):
        raise AppLoadError(
            f"option factory = True: app {name} can't be called without arguments; is it the application itself?"
        )
    try:
        app = factory()
    except Exception as exc:
        if not _WITHOUT_A_LOOP.search(str(exc)):
            raise
        app = _call_without_loop(factory)
    if inspect.iscoroutine(app):
        app.close()
        raise AppLoadError(f"option factory = True: app {name} is a coroutine function; a factory must not be one")
    if not callable(app):
        raise AppLoadError(f"the factory {name} must give an application, not {type(app).__name__}")
    return app


def _call_without_loop(factory: Any) -> Any:
    """One that calls `asyncio.run()`, as it may with servers that call it before their loop runs."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return factory()
    finally:
        asyncio._set_running_loop(running)


def _served(kind: Kind | None, name: str) -> str:
    """The interface that was detected; `AppLoadError` for one that is to be named, and for none."""
    if kind == "wsgi":
        raise AppLoadError(
            f"app {name} takes two arguments, as WSGI applications do: set the option interface = 'wsgi' to serve it"
        )
    if kind in ("asgi3", "asgi2"):
        return kind
    raise AppLoadError(
        f"app {name} is no application: it can't be called with (scope, receive, send), (scope) or "
        "(environ, start_response)"
    )


def _name_of(app: Any) -> str:
    """What a message calls an object that was loaded already."""
    module, name = getattr(app, "__module__", None), getattr(app, "__qualname__", None)
    return f"{module}.{name}" if module and name else repr(app)


def import_name(name: str, option: str) -> Any:
    """What `module:attribute` (dots in the attribute are followed) names."""
    module_name, separator, attributes = name.partition(":")
    if not separator or not module_name or not attributes or _is_file(module_name):
        meant = _module_of(module_name)
        is_name = all(map(str.isidentifier, meant.split(".")))
        hint = f", as in '{meant}:{attributes or 'app'}'" if is_name else ""
        raise AppLoadError(f"{option} {name!r}: must be 'module:attribute'{hint}")
    try:
        value = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (module_name == exc.name or module_name.startswith(exc.name + ".")):
            raise AppLoadError(f"{option} {name!r}: there is no module {exc.name!r}{_near_module(exc.name)}") from None
        raise
    for attribute in attributes.split("."):
        try:
            value = getattr(value, attribute)
        except AttributeError:
            hint = _meant(attribute, [each for each in dir(value) if not each.startswith("_")])
            raise AppLoadError(f"{option} {name!r}: there is no {attribute!r} in {_shown(value)}{hint}") from None
    return value


def _is_file(name: str) -> bool:
    """Whether it is the name of a file, or a relative one, and no module's."""
    if "/" in name or name.startswith("."):
        return True
    with contextlib.suppress(ImportError):
        return name.endswith(".py") and importlib.util.find_spec(name) is None
    return True


def _module_of(path: str) -> str:
    """The module that somebody means who has named its file: `main` of `./main.py`, `app.main` of `app/main.py`."""
    return os.path.normpath(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def absolute(place: str) -> str:
    """A path for whoever leaves the working directory; as it was given where that has been removed."""
    try:
        return os.path.abspath(place)
    except OSError:
        return place


def _near_module(name: str) -> str:
    """Where a module was looked for, and one that is there and may have been meant."""
    parent, _, last = name.rpartition(".")
    folders = list(getattr(sys.modules.get(parent), "__path__", ())) if parent else sys.path[:1]
    if not folders:
        return ""
    import pkgutil

    folder = absolute(folders[0])
    if not os.path.isabs(folder):
        return " in a working directory that has been removed"
    found = {info.name for info in pkgutil.iter_modules([folder])}
    # Folders without an __init__.py are packages, too (PEP 420).
    with contextlib.suppress(OSError):
        found |= {entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name.isidentifier()}
    near = _meant(last, sorted(found), before=f"{parent}." if parent else "")
    return f" in {folder}{near}"


def _meant(name: str, known: list[str], before: str = "") -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1) or [
        each for each in known if each.lower() == name.lower() or each in ("app", "application", "asgi", "main")
    ]
    return f"; did you mean {before + near[0]!r}?" if near and near[0] != name else ""


def _shown(value: Any) -> str:
    if inspect.ismodule(value):
        file = getattr(value, "__file__", None)
        return f"module {value.__name__!r} ({file})" if file else f"module {value.__name__!r}"
    return repr(value)


def loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop that `Config.loop` names."""
    if (brought := LOOP_FACTORIES.brought(config.loop)) is not None:
        # As uvicorn has it: what stands there gives the factory; what it had before 0.36 sets a policy, and gives None.
        factory = _named_loop(config, brought)(use_subprocess=getattr(config, "use_subprocess", False))
        return factory or asyncio.new_event_loop
    if config.loop == "auto":
        if hasattr(asyncio, "_nest_patched"):
            # By nest_asyncio, which asks for a loop of asyncio.
            return asyncio.new_event_loop
        if sys.implementation.name == "cpython" and importlib.util.find_spec("uvloop") is not None:
            return _uvloop_factory()
        return asyncio.new_event_loop
    if config.loop == "uvloop":
        if importlib.util.find_spec("uvloop") is None:
            raise ConfigError("option loop = 'uvloop': the package uvloop is not installed")
        return _uvloop_factory()
    if config.loop == "asyncio":
        return asyncio.new_event_loop
    return _named_loop(config, config.loop)


def _named_loop(config: Config, named: Any) -> Callable[..., Any]:
    try:
        factory = import_name(named, "the name of a loop") if isinstance(named, str) else named
    except (AppLoadError, ImportError) as exc:
        raise ConfigError(f"option loop = {config.loop!r}: {exc}") from None
    if not callable(factory):
        raise ConfigError(f"option loop = {config.loop!r}: what it names is not callable")
    return factory  # type: ignore[no-any-return]


def set_loop_policy(config: Config) -> None:
    """Let `asyncio.run()` make the event loop that `Config.loop` names, as programs rely on that begin so.

    From Python 3.14 on policies are going: `Server.run()` and `get_loop_factory()` need none.
    """
    if sys.version_info >= (3, 14):
        return
    factory = loop_factory(config)
    if factory is asyncio.new_event_loop:
        return

    class Policy(asyncio.DefaultEventLoopPolicy):
        """Python's own, but for the loops that it makes."""

        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            return factory()

    asyncio.set_event_loop_policy(Policy())


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop
