"""`Config` for code that uses a server alone: by uvicorn's signature, and with what uvicorn's has besides options.

    config = Config("main:app", host="0.0.0.0", port=8000, log_level="debug")
    config.lifespan = "off"          # checked, as everything is, by the rule of the option

Where a server listens, and how many processes there are, is no matter of the server core: those options are here.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core import config as core
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.config import OPTIONS, RULES, longer_lines
from uvicorn_worker.core.errors import AppLoadError, BindError, ConfigError, as_exit
from uvicorn_worker.core.rules import FLAG, OPTIONAL_COUNT, OPTIONAL_TEXT, POSITIVE, SECONDS, Rule, int_between
from uvicorn_worker.core.spellings import is_protocol_class
from uvicorn_worker.core.tables import HTTP_PROTOCOLS, LIFESPAN, WS_PROTOCOLS
from uvicorn_worker.core.uvicorn_names import ALIASES
from uvicorn_worker.server.binding import Bound, bind, urls_of
from uvicorn_worker.server.env_file import load_env_file, remember_env_files, set_by_env_files
from uvicorn_worker.server.loaded_app import LoadedApp
from uvicorn_worker.server.loading import NOT_LOADED, import_name, load_app, loop_factory, set_loop_policy
from uvicorn_worker.server.own_lifespan import LifespanOn, class_in_its_place
from uvicorn_worker.server.surroundings import set_up_logging
from uvicorn_worker.switching.dispatch import alpn_protocols
from uvicorn_worker.tls.asked import tls_is_on

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = [
    "LOAD_APP", "PLACES", "Config", "of_environment", "options_as_parameters", "proxies_of_environment",
    "resolve_reload_patterns",
]  # fmt: skip


def _is_host(value: Any) -> bool:
    """As for asyncio's `create_server()`."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return bool(value) and all(isinstance(each, str) for each in value)
    return value is None or isinstance(value, str)


# The options of uvicorn's Config that are no options of the server core, with their defaults.
PLACES: dict[str, tuple[Any, Rule]] = {
    "host": ("127.0.0.1", Rule("None, a string, or a list of strings", _is_host)),
    "port": (8000, int_between(0, 65535)),
    "uds": (None, OPTIONAL_TEXT),
    "fd": (None, OPTIONAL_COUNT),
    "reload": (False, FLAG),
    # 0 is one, as with uvicorn.
    "workers": (1, Rule(POSITIVE.allowed, POSITIVE.check, int, lambda value: 1 if value in (0, "0") else value)),
}
# And those without effect on a server in this process: whoever starts others reads them.
_UNUSED = (
    "app_dir", "reload_dirs", "reload_delay", "reload_includes", "reload_excludes", "timeout_worker_healthcheck",
)  # fmt: skip
_DURATIONS = ("reload_delay", "timeout_worker_healthcheck")
# Lists, which programs append to.
_LISTS = ("reload_dirs", "reload_includes", "reload_excludes")
# Those that say something of logging.
_LOGGING = ("log_config", "log_level", "use_colors", "access_log_format")
# Known to this process alone: a Config that another has sent is none for which logging was set up.
_PROCESS = object()
# What uvicorn makes connections with, by way of attributes of its Config.
_PROTOCOLS = {"http_protocol_class": "http", "ws_protocol_class": "ws"}
_NO_PROTOCOL = {"http_protocol_class": "auto", "ws_protocol_class": "none"}
_TABLES = {"http": HTTP_PROTOCOLS, "ws": WS_PROTOCOLS}

# In which order uvicorn's Config takes them.
_ORDER = (
    "app", "host", "port", "uds", "fd", "loop", "http", "http2", "ws", "ws_max_size", "ws_max_queue",
    "ws_ping_interval", "ws_ping_timeout", "ws_per_message_deflate", "lifespan", "env_file", "log_config", "log_level",
    "access_log", "use_colors", "interface", "reload", "reload_dirs", "reload_delay", "reload_includes",
    "reload_excludes", "workers", "proxy_headers", "server_header", "date_header", "forwarded_allow_ips", "root_path",
    "limit_concurrency", "limit_max_requests", "limit_max_requests_jitter", "backlog", "timeout_keep_alive",
    "timeout_notify", "timeout_graceful_shutdown", "timeout_worker_healthcheck", "callback_notify", "ssl_keyfile",
    "ssl_certfile", "ssl_keyfile_password", "ssl_version", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ciphers",
    "ssl_context_factory", "headers", "factory", "h11_max_incomplete_event_size", "reset_contextvars",
)  # fmt: skip


class Config(core.Config):
    """The options of one `Server`, those of the core and where it listens; None means that one is not given.

    They may be assigned until the server starts. A value that can't be used raises `ConfigError`, then too.
    """

    # How an error calls an option that was assigned.
    _own_assignment = "an assignment to a Config"
    own_logs_at_once = True
    """Whether logging is set up as soon as there is a Config, as with uvicorn; not where a Gunicorn has set it up."""

    host: str | Sequence[str] | None
    port: int
    uds: str | None
    fd: int | None
    reload: bool
    workers: int
    app_dir: str | None = None
    reload_dirs: list[Path]
    """Whole paths; the working directory where none was given, and the source is watched."""
    reload_includes: list[str]
    reload_excludes: list[str]
    reload_delay: float | None = None
    timeout_worker_healthcheck: float | None = None
    loaded_app: ASGIApp | None
    """The application, once `load()` has imported it; with `proxy_headers` it is the `app` of this one."""
    lifespan_class: Callable[[Any], Any]
    """What makes the `lifespan` of a Server, which runs it where it is not the one that is here by default."""
    own_has_said_where: bool = False
    """Whether `bind_socket()` has said where the server listens: it is not said again, in other processes neither."""
    own_log_config_left: bool
    """Whether nothing was said of log_config, which None says, too."""
    own_log_level_given: bool
    """Whether log_level was given: it then wins over levels that loggers have, its default as any other."""

    def __init__(self, app: Any = None, *args: Any, **options: Any) -> None:
        given = _by_name(args, options)
        given["app"] = _no_app if app is None else app
        ours, places = {}, {name: default for name, (default, _) in PLACES.items()}
        for written, value in given.items():
            name = ALIASES.get(written, written)
            if name in RULES:
                if OPTIONS.is_given(name, value):
                    ours[name] = value
            elif name in PLACES:
                # No host is all of the machine's addresses.
                if value is not None or name == "host":
                    places[name] = _checked(name, value)
            elif name not in _UNUSED:
                raise OPTIONS.unknown(written, value, "Config", (*PLACES, *_UNUSED))
        super().__init__(**ours)
        # Before the environment is asked, which it is a part of.
        load_env_file(self.env_file)
        for name, (_, value) in of_environment().items():
            if given.get(name) is None:
                places[name] = value
        for name, value in places.items():
            object.__setattr__(self, name, value)
        self._own_ask_tables()
        for name in _UNUSED:
            # What is not given may be that of a subclass.
            object.__setattr__(self, name, _unused(name, given.get(name, getattr(self, name, None))))
        object.__setattr__(self, "loaded_app", None)
        object.__setattr__(self, "lifespan_class", LifespanOn)
        object.__setattr__(self, "own_log_config_left", "log_config" not in given)
        object.__setattr__(self, "own_log_level_given", "log_level" in ours)
        if app is None:
            object.__setattr__(self, "app", None)
        if not self.reload_dirs and self.should_reload:
            self.reload_dirs = [Path.cwd()]
        if self.own_logs_at_once:
            self.own_set_logging_up()

    def _own_ask_tables(self) -> None:
        for name, table in _TABLES.items():
            if table.brought(getattr(self, name)):
                # The default, for which a program has put something there.
                setattr(self, name, getattr(self, name))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option, by its rule; another attribute as it is."""
        if name == "log_level":
            object.__setattr__(self, "own_log_level_given", value is not None)
        if name in _PROTOCOLS:
            # What uvicorn's `load()` makes of the option.
            name, value = _PROTOCOLS[name], _NO_PROTOCOL[name] if value is None else value
        if (name, value) == ("app", ""):
            # None is given: so says a subclass that is a dataclass, before it calls __init__().
            pass
        elif name in RULES:
            value = OPTIONS.check_value(name, value, self._own_assignment)
            if (name, value) == ("http", "h2"):
                object.__setattr__(self, "http2", "on")
                value = "auto"
        elif name in PLACES and value is not None:
            value = _checked(name, value)
        if name.startswith("ssl_"):
            self.__dict__.pop("_own_ssl", None)
        elif name in _LOGGING:
            self.__dict__.pop("_own_logging_set_up", None)
        object.__setattr__(self, name, value)
        if name == "h11_max_incomplete_event_size":
            for limit, longest in longer_lines(self).items():
                setattr(self, limit, longest)

    def __eq__(self, other: object) -> bool:
        """Two are equal that say the same."""
        if not isinstance(other, Config):
            return NotImplemented
        names = [*(item.name for item in fields(self)), *PLACES]
        return all(getattr(self, name) == getattr(other, name) for name in names)

    # It can be changed.
    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> tuple[dict[str, Any], Mapping[str, dict[str, str]]]:
        """For another process, which inherits what env_file has set here."""
        return self.__dict__, set_by_env_files()

    def __setstate__(self, state: tuple[dict[str, Any], Mapping[str, dict[str, str]]]) -> None:
        """There, or in this one where it is copied."""
        values, inherited = state
        self.__dict__.update(values)
        remember_env_files(inherited)

    # What uvicorn's has besides ----------------------------------------------------------------------

    @property
    def is_ssl(self) -> bool:
        """Whether TLS is spoken."""
        return bool(self.ssl_keyfile or self.ssl_certfile or self.ssl_context_factory)

    @property
    def ssl(self) -> SSLContext | None:
        """The TLS context that the server will use, None without TLS: what is changed in it, or assigned, counts.

        Raises `ConfigError` where the options give none that can be used.
        """
        if "_own_ssl" not in self.__dict__ and tls_is_on(self):
            from uvicorn_worker.tls.contexts import make_context

            object.__setattr__(self, "_own_ssl", make_context(self, alpn_protocols(self)))
        return self.__dict__.get("_own_ssl")

    @ssl.setter
    def ssl(self, context: SSLContext | None) -> None:
        own: Any = self
        if context is None:
            own.ssl_keyfile = own.ssl_certfile = own.ssl_context_factory = None
        else:
            own.ssl_context_factory = lambda config, default: context

    @property
    def http_protocol_class(self) -> type[Any]:
        """What serves HTTP, for programs that have a subclass of it: the uvicorn package's, where that is installed."""
        from uvicorn_worker.server.brought_protocols import uvicorns_class

        if isinstance(self.http, type):
            return self.http
        if is_protocol_class(self.http):
            found: type[Any] = import_name(self.http, "option http =")
        elif (found := uvicorns_class("http", self.http)) is None:
            from uvicorn_worker.http1 import Http1Protocol

            return Http1Protocol
        return found

    @property
    def ws_protocol_class(self) -> type[Any] | None:
        """What serves WebSockets, for programs that look whether there is anything; None where they are not served."""
        if self.ws == "none" or self.interface == "wsgi":
            return None
        if isinstance(self.ws, type):
            return self.ws
        if is_protocol_class(self.ws):
            found: type[Any] = import_name(self.ws, "option ws =")
            return found
        from uvicorn_worker.websocket import WebSocketSession

        return WebSocketSession

    @property
    def encoded_headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of every response, as they are sent."""
        fields = [(_encoded(name).lower(), _encoded(value)) for name, value in self.headers]
        if self.server_header and all(name != b"server" for name, _ in fields):
            fields.insert(0, (b"server", b"uvicorn"))
        return fields

    @property
    def asgi_version(self) -> str:
        """The version of ASGI that the application is called by."""
        return "2.0" if self.interface == "asgi2" else "3.0"

    @property
    def should_reload(self) -> bool:
        """Whether a change of the source is to start the application anew; an object can't be imported again."""
        return isinstance(self.app, str) and bool(self.reload)

    @property
    def reload_dirs_excludes(self) -> list[Path]:
        """The folders of reload_excludes."""
        return resolve_reload_patterns(self.reload_excludes, [])[1]

    @property
    def use_subprocess(self) -> bool:
        """Whether other processes serve."""
        return bool(self.reload or self.workers > 1)

    @property
    def loaded(self) -> bool:
        """Whether `load()` was called."""
        return self.loaded_app is not None

    @property
    def own_logging_is_set_up(self) -> bool:
        """Whether it was, and nothing was said of it since: what others have made of it then is left so."""
        return self.__dict__.get("_own_logging_set_up") is _PROCESS

    def own_set_logging_up(self) -> None:
        """Call `configure_logging()`, as a server need not do then."""
        self.configure_logging()
        object.__setattr__(self, "_own_logging_set_up", _PROCESS)

    # A server calls these, so that a subclass may write them anew.

    def load(self) -> None:
        """Import the application, for `loaded_app`; raises what its import does, and `AppLoadError` as `serve()`."""
        app = self.load_app()
        if (brought := LIFESPAN.brought(self.lifespan)) is not None:
            self.lifespan_class = import_name(brought, "LIFESPAN =") if isinstance(brought, str) else brought
        elif self.lifespan != "off" and getattr(self, "lifespan_class", None) is LifespanOn:
            # Of a worker there is none.
            self.lifespan_class = class_in_its_place()
        # As with uvicorn, whose middleware is not there without proxy_headers.
        self.loaded_app = LoadedApp(app) if self.proxy_headers else app

    def load_app(self) -> ASGIApp:
        """Import the application again, and give it; raises as `load()` does."""
        try:
            return load_app(self)
        except AppLoadError as exc:
            logging.getLogger("uvicorn.error").error(NOT_LOADED, exc)
            raise as_exit(exc)  # noqa: B904 - it has its cause

    def configure_logging(self) -> None:
        """Uvicorn's lines, or those of log_config; a server calls it where nobody has. Raises `ConfigError`."""
        set_up_logging(self)

    def get_loop_factory(self) -> Callable[[], Any]:
        """What makes the event loop; raises `ConfigError`."""
        return loop_factory(self)

    def setup_event_loop(self) -> None:
        """Let `asyncio.run()` make the event loop, as with uvicorn before 0.36; raises `ConfigError`."""
        set_loop_policy(self)

    def bind_socket(self) -> socket.socket:
        """A bound socket, for `Server.serve(sockets=[...])`, which other processes may inherit; the log says where.

        Of a host with several addresses it is the first. Raises `BindError` as `Server.serve()` does.
        """
        try:
            bound: Bound = bind(self.host, self.port, self.uds, self.fd)
        except BindError as exc:
            logging.getLogger("uvicorn.error").error("%s", exc)
            raise as_exit(exc)  # noqa: B904 - it has its cause
        sock, *others = bound.sockets
        for each in others:
            each.close()
        (where,) = urls_of([sock], self.host, secure=self.is_ssl)
        logging.getLogger("uvicorn.error").info("Uvicorn running on %s (Press CTRL+C to quit)", where)
        object.__setattr__(self, "own_has_said_where", True)
        sock.set_inheritable(True)
        return sock


LOAD_APP = Config.load_app
"""What it is here: a program may put another in its place."""


def of_environment() -> dict[str, tuple[str, Any]]:
    """Options that variables without our prefix say where nothing else does, as with Gunicorn and uvicorn.

    By name: the variable, and the value.
    """
    found: dict[str, tuple[str, Any]] = {}
    workers = os.environ.get("WEB_CONCURRENCY", "").strip()
    if workers.isascii() and workers.isdigit():
        found["workers"] = ("WEB_CONCURRENCY", int(workers) or 1)
    if (proxies := proxies_of_environment()) is not None:
        found["forwarded_allow_ips"] = ("FORWARDED_ALLOW_IPS", proxies)
    return found


def proxies_of_environment() -> str | None:
    """What forwarded_allow_ips is where it was not given."""
    proxies = os.environ.get("FORWARDED_ALLOW_IPS")
    # As of Gunicorn's setting: whoever connects to a unix socket is let to it by its permissions.
    return None if proxies is None else ",".join(filter(None, (proxies, "unix")))


def resolve_reload_patterns(
    patterns_list: Sequence[str], directories_list: Sequence[str]
) -> tuple[list[str], list[Path]]:
    """The patterns, and the folders: those that are named or found by a pattern, and are in none of the others."""
    found = [Path(each) for each in directories_list]
    for pattern in patterns_list:
        if Path(pattern).is_dir():
            found.append(Path(pattern))
        elif pattern != ".*" and not Path(pattern).is_absolute():
            found += Path.cwd().glob(pattern)
    folders = {each.resolve() for each in found if each.is_dir()}
    return list(dict.fromkeys(patterns_list)), [each for each in folders if folders.isdisjoint(each.parents)]


def options_as_parameters(*, positional: bool = False, **others: Any) -> list[inspect.Parameter]:
    """The options as parameters, those of uvicorn in its order and by position where `positional`, then ours.

    Programs that serve by several versions of uvicorn look there for what they may give, and leave out the rest.
    `others` are defaults to be told instead.
    """
    defaults: dict[str, Any] = {name: default for name, (default, _) in PLACES.items()}
    for item in fields(core.Config):
        defaults[item.name] = item.default if item.default_factory is MISSING else item.default_factory()
    # As nothing was said: WEB_CONCURRENCY counts.
    defaults.update({"workers": None, **others})
    of_uvicorn, by_name = list(_ORDER[1:]), inspect.Parameter.KEYWORD_ONLY
    kinds = dict.fromkeys(of_uvicorn, inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else by_name)
    names = [*of_uvicorn, *(name for name in [*_UNUSED, *defaults] if name not in _ORDER)]
    return [inspect.Parameter(name, kinds.get(name, by_name), default=defaults.get(name)) for name in names]


Config.__init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY),
        inspect.Parameter("app", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
        *options_as_parameters(positional=True),
    ]
)


def _unused(name: str, value: Any) -> Any:
    """What an option is that has no effect here, but on those who start other processes."""
    if name in _DURATIONS and value is not None:
        try:
            return SECONDS.take(value)
        except (ValueError, TypeError):
            raise ConfigError(f"option {name} = {value!r}: must be {SECONDS.allowed}") from None
    if name not in _LISTS:
        return value
    several = [] if value is None else [value] if isinstance(value, (str, os.PathLike)) else value
    return [Path(each).absolute() if name == "reload_dirs" else os.fspath(each) for each in several]


def _encoded(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def _by_name(args: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What is given by position and by name, by the names of the options."""
    if len(args) >= len(_ORDER):
        raise TypeError(f"Config takes at most {len(_ORDER)} positional arguments")
    given = dict(zip(_ORDER[1:], args, strict=False))
    for name in given:
        if name in options:
            raise TypeError(f"Config got two values for {name}")
    given.update(options)
    # The command line's word for it.
    return {ALIASES.get(name, name): value for name, value in given.items()}


async def _no_app(scope: Any, receive: Any, send: Any) -> None:
    """Stands in for an application that is named later."""


def _checked(name: str, value: Any) -> Any:
    rule = PLACES[name][1]
    try:
        return rule.take(value)
    except (ValueError, TypeError):
        raise ConfigError(f"option {name} = {value!r}: must be {rule.allowed}") from None
