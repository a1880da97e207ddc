"""Connections that a protocol class of somebody's own serves: `http` or `ws` names one, as with uvicorn.

Mostly it is one of the uvicorn package's with a step written anew: a deadline for heads, a look at the client's
certificate. It is made as there, and has a parser, deadlines and access lines of its own:

    Class(config=..., server_state=..., app_state=..., _loop=...)

    server_state.connections ─► connections of the runtime, which a stop closes by their `shutdown()`
    server_state.tasks ───────► are waited for at a stop, and cancelled at its end
    server_state.total_requests, where it is added to, counts for limit_max_requests
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn_worker.core.address import Address
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import AppLoadError, ConfigError
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.core.spellings import is_protocol_class
from uvicorn_worker.proxies.believed_fields import Proxies
from uvicorn_worker.proxies.trust import Trust
from uvicorn_worker.server.loading import import_name
from uvicorn_worker.server.state import ServerState

__all__ = ["brought_factory", "check_brought", "uvicorns_class"]

# What uvicorn has for the words of ours, where a class is named for the other option alone.
_UVICORNS = {
    ("http", "auto"): "uvicorn.protocols.http.auto:AutoHTTPProtocol",
    ("http", "httptools"): "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
    ("http", "h11"): "uvicorn.protocols.http.h11_impl:H11Protocol",
    ("ws", "auto"): "uvicorn.protocols.websockets.auto:AutoWebSocketsProtocol",
    ("ws", "websockets"): "uvicorn.protocols.websockets.websockets_impl:WebSocketProtocol",
}


def check_brought(config: Config) -> None:
    """Say what serves; raises `ConfigError` where it is not there, or can't do what is asked for."""
    classes = _classes(config)
    if config.http2 != "off":
        raise ConfigError("option http2 = 'on': must be off where http or ws is a protocol class, which has no HTTP/2")
    if config.proxy_protocol != "off":
        raise ConfigError("option proxy_protocol: must be off where http or ws is a protocol class")
    OwnLog().warning(
        "Connections are served by %s: limits, deadlines, metrics and access lines of this server don't hold for them",
        " and ".join(f"{each.__module__}.{each.__qualname__}" for each in classes if each is not None),
    )


def brought_factory(runtime: Runtime, state: ServerState) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection; raises `ConfigError` as `check_brought()` does."""
    config = runtime.config
    http, ws = _classes(config)
    shared = _State(runtime, state)
    state._own_show_tasks(shared.tasks)
    made_of: dict[str, Any] = {
        "config": _Settings(config, _located(runtime.app, config), http, ws),
        "server_state": shared,
        "app_state": runtime.state,
        "_loop": runtime.loop,
    }
    return lambda: http(**made_of)


def _classes(config: Config) -> tuple[Any, Any]:
    """Those of HTTP and of WebSocket; of the latter None where there is none."""
    http = _class("http", config.http)
    if config.ws == "none":
        return http, None
    try:
        return http, _class("ws", config.ws)
    except ConfigError:
        if is_protocol_class(config.ws):
            raise
        # Without the package a class of HTTP may serve by itself.
        return http, None


def _class(option: str, value: Any) -> Any:
    if isinstance(value, type):
        return value
    if is_protocol_class(value):
        try:
            return import_name(value, f"option {option} =")
        except AppLoadError as exc:
            raise ConfigError(str(exc)) from None
    found = uvicorns_class(option, value)
    if found is None:
        raise ConfigError(
            f"option {option} = {value!r}: beside a protocol class it is the uvicorn package's, which is not installed"
        )
    return found


def uvicorns_class(option: str, value: str) -> Any:
    """What the uvicorn package has for a word of ours; None where it is not installed."""
    try:
        return import_name(_UVICORNS[option, value], f"option {option} =")
    except (ImportError, AppLoadError):
        return None


def _located(app: ASGIApp, config: Config) -> ASGIApp:
    """The application, told of the client by the proxies that are trusted."""
    if not config.proxy_headers:
        return app
    proxies = Proxies(config, Trust(config.forwarded_allow_ips))

    async def locate(scope: Scope, receive: Receive, send: Send) -> None:
        await app(proxies.located(scope), receive, send)

    return locate


class _Settings:
    """The options by uvicorn's names: its classes read them as attributes of a `Config` that was loaded."""

    loaded = True
    asgi_version = "3.0"

    def __init__(self, config: Config, app: ASGIApp, http: Any, ws: Any) -> None:
        self._config = config
        self.app = self.loaded_app = app
        self.http_protocol_class, self.ws_protocol_class = http, ws
        # Theirs is never off.
        self.timeout_keep_alive = config.timeout_keep_alive or 0
        self.is_ssl = bool(config.ssl_certfile or config.ssl_keyfile)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def load(self) -> None:
        """It is."""


class _State:
    """The `server_state` of the classes: what they add to and take from is seen by the server."""

    def __init__(self, runtime: Runtime, state: ServerState) -> None:
        self._runtime = runtime
        self._state = state
        self._lines = b""
        self._default_headers: list[tuple[bytes, bytes]] = []
        self.connections = _Connections(runtime)
        self.tasks = _Tasks(runtime)

    @property
    def total_requests(self) -> int:
        """How many were served."""
        return self._runtime.requests

    @total_requests.setter
    def total_requests(self, number: int) -> None:
        self._runtime.count_requests(number)

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The fields that every response gets; they change with the date, once a second."""
        lines = self._runtime.defaults.lines
        if lines is not self._lines:
            self._lines, self._default_headers = lines, self._state.default_headers
        return self._default_headers


class _Connections(set[Any]):
    """The protocols of open connections, each of which is a connection of the runtime, too."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._views: dict[Any, _Connection] = {}

    def add(self, protocol: Any) -> None:
        """It was made."""
        super().add(protocol)
        view = self._views[protocol] = _Connection(protocol)
        self._runtime.connections.add(view)

    def discard(self, protocol: Any) -> None:
        """It is lost, or is another protocol's from now on."""
        super().discard(protocol)
        view = self._views.pop(protocol, None)
        if view is not None:
            self._runtime.connections.discard(view)

    remove = discard


class _Connection:
    """One of them, as the server sees connections."""

    # It has deadlines of its own.
    rest_until = sys.maxsize
    lingering = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    @property
    def transport(self) -> Any:
        """Its transport."""
        return self._protocol.transport

    @property
    def client(self) -> Address | None:
        """The client's host and port."""
        client: Address | None = self._protocol.client
        return client

    @property
    def idle(self) -> bool:
        """Whether it is one of HTTP that waits for a request; one of WebSocket has no `cycle`."""
        protocol = self._protocol
        cycle = getattr(protocol, "cycle", protocol)
        return (cycle is None or getattr(cycle, "response_complete", False)) and not protocol.transport.is_closing()

    def on_tick(self, tick: int) -> None:
        """Never called."""

    def drain(self) -> None:
        """The server stops: an idle one is closed, one that serves ends with its answer, a WebSocket with 1012."""
        self._protocol.shutdown()

    def close_if_idle(self) -> None:
        """One of HTTP that has become idle since."""
        if self.idle:
            self._protocol.transport.close()

    def abort(self) -> None:
        """Cut it."""
        self._protocol.transport.abort()


class _Tasks(set[Any]):
    """The tasks of requests; as long as there are any they are one connection of the runtime, which waits for them."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self._runtime = runtime
        self._view = _TasksLeft(self)

    def add(self, task: Any) -> None:
        """An application has begun."""
        super().add(task)
        self._runtime.connections.add(self._view)

    def discard(self, task: Any) -> None:
        """It has ended."""
        super().discard(task)
        if not self:
            self._runtime.connections.discard(self._view)

    remove = discard


class _TasksLeft:
    """The applications that run."""

    rest_until = sys.maxsize
    client = transport = None
    idle = lingering = False

    def __init__(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        self._tasks = tasks

    def on_tick(self, tick: int) -> None:
        """Never called."""

    def drain(self) -> None:
        """They end by themselves."""

    def close_if_idle(self) -> None:
        """They are not."""

    def abort(self) -> None:
        """Cancel them."""
        for task in list(self._tasks):
            task.cancel()
