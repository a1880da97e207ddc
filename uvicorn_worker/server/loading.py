"""The application and the event loop, from the names that the options give."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from uvicorn_worker.asgi import ASGIApp
from uvicorn_worker.config import Config
from uvicorn_worker.errors import AppLoadError, ConfigError

__all__ = ["load_app", "loop_factory"]


def load_app(config: Config) -> ASGIApp:
    """The application of `Config.app`, imported where it is a name, called where it is a factory.

    Raises `AppLoadError` for a name that leads nowhere; what the import of a module raises is passed on.
    """
    app: Any = import_name(config.app, "app") if isinstance(config.app, str) else config.app
    if config.factory:
        app = app()
    if not callable(app):
        raise AppLoadError(f"app {config.app!r} is not callable, but {type(app).__name__}")
    return app  # type: ignore[no-any-return]


def import_name(name: str, option: str) -> Any:
    """What `module:attribute` (dots in the attribute are followed) names."""
    module_name, separator, attributes = name.partition(":")
    if not separator or not module_name or not attributes:
        raise AppLoadError(f"{option} {name!r}: must be 'module:attribute'")
    try:
        value = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (module_name == exc.name or module_name.startswith(exc.name + ".")):
            raise AppLoadError(f"{option} {name!r}: there is no module {exc.name!r}") from None
        raise
    for attribute in attributes.split("."):
        try:
            value = getattr(value, attribute)
        except AttributeError:
            raise AppLoadError(f"{option} {name!r}: there is no {attribute!r} in {value!r}") from None
    return value


def loop_factory(config: Config) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop that `Config.loop` names."""
    if config.loop == "auto":
        if sys.implementation.name == "cpython" and importlib.util.find_spec("uvloop") is not None:
            return _uvloop_factory()
        return asyncio.new_event_loop
    if config.loop == "uvloop":
        if importlib.util.find_spec("uvloop") is None:
            raise ConfigError("option loop = 'uvloop': the package uvloop is not installed")
        return _uvloop_factory()
    if config.loop == "asyncio":
        return asyncio.new_event_loop
    try:
        factory = import_name(config.loop, "the name of a loop")
    except (AppLoadError, ImportError) as exc:
        raise ConfigError(f"option loop = {config.loop!r}: {exc}") from None
    if not callable(factory):
        raise ConfigError(f"option loop = {config.loop!r}: what it names is not callable")
    return factory  # type: ignore[no-any-return]


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    uvloop = importlib.import_module("uvloop")
    return uvloop.new_event_loop  # type: ignore[no-any-return]
