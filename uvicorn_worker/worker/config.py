"""`self.config` of a worker, which subclasses read, change and replace as they do that of uvicorn's worker.

    made of Gunicorn's settings ─► in __init__ ─► after the fork, anew ─► the server starts with it
                                      │
                     what was assigned, or what differs from its defaults in a Config that took its place, counts

A subclass may assign at any of these points, also in the master, where an exception would be the end of the whole
service. So a value that can't be used is remembered, and ends the start of the worker in one line.
"""

from __future__ import annotations

import copy
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from uvicorn_worker.core import config as core
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.config import RULES
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.server import Config
from uvicorn_worker.server.config import proxies_of_environment
from uvicorn_worker.server.loaded_app import bare
from uvicorn_worker.server.surroundings import Surroundings

__all__ = ["WorkerConfig", "differences", "loaded_by"]

# What uvicorn's Config makes for its own Server, and ours has no use for.
_UVICORNS_OWN = frozenset(
    {"lifespan_class", "http_protocol_class", "ws_protocol_class", "ssl", "encoded_headers", "load_app"}
)


class WorkerConfig(Config):
    """The options of a worker; see the module's text."""

    _own_assignment = "an assignment to self.config"
    own_logs_at_once = False

    own_surroundings: Surroundings
    own_error: str | None
    """The first value that could not be used, in one line."""
    own_replacement: Any
    """The Config that took its place, where that loads the application in a way of its own."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._own_set("own_error", None)
        self._own_set("own_replacement", None)
        self._own_set("own_assigned", {})
        self._own_set("own_surroundings", surroundings)
        super().__init__()
        del self.__dict__["lifespan_class"]

    def _own_set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def own_base_on(self, config: core.Config) -> None:
        """Take the options of `config`, but for those that were assigned."""
        assigned: Mapping[str, Any] = self.__dict__["own_assigned"]
        for item in fields(config):
            if item.name != "app" and item.name not in assigned:
                self._own_set(item.name, getattr(config, item.name))

    def __setattr__(self, name: str, value: Any) -> None:
        """Override an option; an error is kept for the start."""
        try:
            super().__setattr__(name, value)
        except ConfigError as exc:
            self.own_fail(str(exc))
            return
        if name in RULES and name != "app":
            self.__dict__["own_assigned"][name] = value

    def __getattr__(self, name: str) -> Any:
        """Only what is not there: say where it belongs to."""
        if name in _UVICORNS_OWN:
            raise AttributeError(
                f"self.config.{name} is made by the uvicorn package for its own Server; "
                "this worker has uvicorn_worker.Server(config=self.config)"
            )
        raise AttributeError(f"self.config has no attribute {name!r}")

    @property
    def ssl(self) -> Any:
        """Not told here: contexts are made before the fork, or in `Server`. One that is assigned counts."""
        return self.__getattr__("ssl")

    @ssl.setter
    def ssl(self, context: Any) -> None:
        own: Any = self
        own.ssl_context_factory = None if context is None else lambda config, default: context

    def load(self) -> None:
        """Nothing before Gunicorn has loaded the application: who calls it then assigns `ssl` next."""
        if self.app is not None:
            super().load()

    def own_fail(self, message: str) -> None:
        """Let the start end with this line."""
        if self.own_error is None:
            self._own_set("own_error", message)

    def own_replaced_by(self, config: Any) -> None:
        """Another Config took the place of this one, which takes its options; what it makes of the app is its own."""
        self._own_set("own_replacement", config if _has_own_loading(config) else None)

    def own_settled(self) -> core.Config:
        """What the server may start with; raises `ConfigError`."""
        if self.own_error is not None:
            raise ConfigError(self.own_error)
        return self


def differences(config: Any) -> dict[str, Any]:
    """What a Config, of ours or of the uvicorn package, says other than its defaults; raises `ConfigError`."""
    if isinstance(config, core.Config):
        return {
            item.name: getattr(config, item.name)
            for item in fields(config)
            if item.name != "app"
            and getattr(config, item.name) != _default(item)
            # Gunicorn's setting has it from there, where nothing else was said.
            and (item.name, getattr(config, item.name)) != ("forwarded_allow_ips", proxies_of_environment())
        }
    if any(kind.__module__ == "uvicorn.config" and kind.__name__ == "Config" for kind in type(config).__mro__):
        return dict(_differences_of_uvicorn(config))
    raise ConfigError(
        f"self.config = {type(config).__name__}(...): must be a Config, of uvicorn_worker or of the uvicorn package"
    )


def _has_own_loading(config: Any) -> bool:
    """Whether a subclass has written `load()` or `load_app()` anew."""
    kind = type(config)
    for given in kind.__mro__:
        if given is Config or given.__module__ == "uvicorn.config":
            return any(getattr(kind, name, None) is not getattr(given, name, None) for name in ("load", "load_app"))
    return False


def loaded_by(config: Any, app: ASGIApp) -> ASGIApp:
    """What `load()` of a Config makes of an ASGI 3 application."""
    own = copy.copy(config)
    own.app, own.interface, own.factory = app, "asgi3", False
    own.load()
    return bare(own.loaded_app)


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _differences_of_uvicorn(config: Any) -> Any:
    kind = next(each for each in type(config).__mro__ if each.__module__ == "uvicorn.config")
    parameters = inspect.signature(kind).parameters
    for name, parameter in parameters.items():
        if name == "app" or name not in RULES or not hasattr(config, name):
            continue
        value = getattr(config, name)
        # Its constructor puts a list in the place of None, and asks the environment for the proxies.
        if value is None or value == parameter.default or (parameter.default is None and value == []):
            continue
        if name == "forwarded_allow_ips" and value in ("127.0.0.1,::1", os.environ.get("FORWARDED_ALLOW_IPS")):
            continue
        if name == "limit_max_requests" and value >= sys.maxsize:
            continue
        yield name, value
