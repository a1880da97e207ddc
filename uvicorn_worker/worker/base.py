"""What a worker is before the fork: its options, what the master checks, and what its workers have in common."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gunicorn.workers.base import Worker

from uvicorn_worker.board.board import Board
from uvicorn_worker.board.deaths import tell_deaths
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.http1.parsers import check_parser
from uvicorn_worker.server import Config as ServerConfig
from uvicorn_worker.server import Server
from uvicorn_worker.server.env_file import forget_env_files, load_env_file
from uvicorn_worker.server.loading import loop_factory
from uvicorn_worker.server.needed import load_needed
from uvicorn_worker.switching.dispatch import alpn_protocols
from uvicorn_worker.tls.asked import tls_is_on
from uvicorn_worker.worker.config import WorkerConfig, differences
from uvicorn_worker.worker.config_kwargs import AUTO, options_in_code
from uvicorn_worker.worker.failure_token import FailureToken
from uvicorn_worker.worker.given_sockets import read_families
from uvicorn_worker.worker.heartbeat_file import MemoryTmp
from uvicorn_worker.worker.installed import mixture
from uvicorn_worker.worker.kept_listener import keep_listening
from uvicorn_worker.worker.loggers import adopt_loggers
from uvicorn_worker.worker.offenders import Offenders
from uvicorn_worker.worker.own_server import foreign_server, take_its_place
from uvicorn_worker.worker.relief import Relief
from uvicorn_worker.worker.settings import check_overrides, config_from_settings, outer_options
from uvicorn_worker.worker.signals import Signals
from uvicorn_worker.worker.ssl_context import context_factory
from uvicorn_worker.worker.succession import Succession

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

    from uvicorn_worker.board.metrics import MetricsSocket, MetricsThread
    from uvicorn_worker.server.surroundings import Surroundings

__all__ = ["BaseWorker"]

W = TypeVar("W", bound="BaseWorker")

# Options whose values are not shown.
_SECRET = frozenset({"ssl_keyfile_password"})
# What Gunicorn calls the arguments of a worker, in their order.
_ARGUMENTS = ("age", "ppid", "sockets", "app", "timeout", "cfg", "log")
# Whose methods are ours.
_PACKAGE = __name__.partition(".")[0]


async def _not_loaded(scope: Any, receive: Any, send: Any) -> None:
    """Stands in for the application while the options are checked, before anything is imported."""


class BaseWorker(Worker):
    """Gunicorn's worker with options of the server core; it is `UvicornWorker` that serves."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {**AUTO}
    """Options that a subclass fixes, beside those of the classes above it; they win over Gunicorn's settings."""

    _own_defaults: ClassVar[dict[str, Any]] = {}
    """Options whose defaults are others under this class; Gunicorn's settings win over them."""

    own_drains_on_int: ClassVar[bool] = False
    """Whether the first INT, as of Ctrl+C, is a graceful stop."""

    own_quiet_startup: ClassVar[float | None] = None
    """What timeout_startup is where it was not given; None: Gunicorn's timeout holds for an import, too."""

    _own_token: ClassVar[FailureToken | None] = None
    _own_was_set_up: ClassVar[bool] = False
    _own_shares: ClassVar[Any] = None

    _own_shared: list[Any]
    _own_succession: Succession
    _own_config: WorkerConfig | None
    _own_signals: Signals
    _own_surroundings: Surroundings
    _own_beaten: float
    _own_loaded: bool = False
    # What the metrics are told on.
    _own_metrics: socket.socket | None
    _own_metrics_socket: ClassVar[MetricsSocket | None] = None

    @classmethod
    def setup(cls) -> None:
        """Called when Gunicorn looks the class up, at the start and on HUP, before `preload_app` loads anything."""
        try:
            forget_env_files()
            given = outer_options().get("env_file")
            load_env_file(cls._own_overrides().get("env_file", given and given.value))
        except ConfigError as exc:
            # On HUP an exception would be the end of the master without a word to its workers: they report it.
            if not BaseWorker._own_was_set_up:
                raise RuntimeError(str(exc)) from None
        BaseWorker._own_was_set_up = True
        # Loggers are Gunicorn's here: one that the application makes and does not serve would take the lines from them.
        ServerConfig.own_logs_at_once = False
        Relief.settings_read()

    @classmethod
    def check_config(cls, cfg: GunicornConfig, log: Any) -> None:
        """Stop the master, before it forks, for options that can't be used."""
        say = None if log is None else log.log
        try:
            config = config_from_settings(cfg, _not_loaded, sys.maxsize, cls._own_overrides(), say, cls._own_defaults)
            loop_factory(config)
            if tls_is_on(config):
                from uvicorn_worker.tls.contexts import check_tls

                check_tls(config)
            check_parser(config)
            load_needed(config)
            if config.metrics_bind is not None:
                from uvicorn_worker.board.exposition import check_metrics

                check_metrics()
        except ConfigError as exc:
            # Gunicorn prints this as one line and exits.
            raise RuntimeError(str(exc)) from None
        if (method := foreign_server(cls, _PACKAGE)) is not None:
            take_its_place(Server, WorkerConfig, load=True)
            if say is not None:
                say(logging.DEBUG, f"{method} of the worker class uses uvicorn's own Server: ours takes its place")
        if say is not None and (line := mixture()):
            say(logging.WARNING, line)
        if say is not None and context_factory(cfg) is not None and not tls_is_on(config):
            say(
                logging.WARNING,
                "Gunicorn setting ssl_context: the hook is not called, since without certfile plain HTTP is served",
            )

    @classmethod
    def own_config_for(cls, cfg: GunicornConfig) -> Config:
        """The options of this class under Gunicorn's settings; raises `ConfigError`."""
        return config_from_settings(cfg, _not_loaded, sys.maxsize, cls._own_overrides(), None, cls._own_defaults)

    @classmethod
    def configure(cls: type[W], **options: Any) -> type[W]:
        """A worker class with these options fixed, for `worker_class` in gunicorn.conf.py; it nests.

        Raises `ConfigError` for an option that is unknown, or a value that it can't have.
        """
        check_overrides(options, f"{cls.__name__}.configure")
        shown = ", ".join(
            f"{name}={'...' if name in _SECRET else repr(value)}" for name, value in sorted(options.items())
        )
        names = {"__module__": cls.__module__, "__qualname__": f"{cls.__qualname__}.configure({shown})"}
        return type(cls.__name__, (cls,), {"CONFIG_KWARGS": options, **names})

    @classmethod
    def _own_overrides(cls) -> dict[str, Any]:
        """What CONFIG_KWARGS fixes before there is a worker."""
        return options_in_code(cls)

    def __new__(cls: type[W], *args: Any, **kwargs: Any) -> W:
        """Before the fork, also where a subclass leaves our `__init__` out, as some of uvicorn's worker's do."""
        worker: W = super().__new__(cls)
        worker._own_surroundings = worker._own_make_surroundings()
        worker._own_config = None
        worker._own_beaten = time.monotonic()
        named = {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}
        cfg = named["cfg"]
        # Before there is a slot for the one that takes the place of those that are gone.
        tell_deaths(named["log"], cfg.timeout)
        Board.of_master().wanted = cfg.workers
        try:
            config = cls.own_config_for(cfg)
        except ConfigError:
            # The worker says so.
            config = None
        worker._own_metrics = cls._own_bind_metrics(config)
        worker._own_succession = Succession(named["age"], cfg.workers)
        worker._own_signals = worker._own_make_signals()
        # Where Gunicorn opens sockets for each worker (reuse_port), it puts them in the place of these after the fork.
        worker._own_shared = named["sockets"]
        keep_listening(worker._own_shared, cfg, named["log"])
        read_families(worker._own_shared, cfg, named["log"])
        adopt_loggers(named["log"], cfg)
        worker._own_share_tls(cfg, config)
        Offenders.of_master()
        if BaseWorker._own_token is None or BaseWorker._own_token.owner != os.getpid():
            BaseWorker._own_token = FailureToken()
        BaseWorker._own_token.worker_made()
        return worker

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        mask = os.umask(0o077)
        os.umask(mask)
        try:
            super().__init__(*args, **kwargs)
        except OSError:
            # It is the last that Gunicorn's `__init__` does. Processes of uvicorn's command need no file at all.
            if self.cfg.worker_tmp_dir or not hasattr(os, "memfd_create"):
                raise
            # Gunicorn has set its own, and has not come to the line that takes it back.
            os.umask(mask)
            self.tmp = MemoryTmp(self.cfg)

    @classmethod
    def _own_bind_metrics(cls, config: Config | None) -> socket.socket | None:
        """The socket for metrics_bind, which all workers of the master have; called in the master."""
        if config is None:
            return None
        where = config.metrics_bind
        if BaseWorker._own_metrics_socket is None or BaseWorker._own_metrics_socket.owner != os.getpid():
            if where is None:
                return None
            from uvicorn_worker.board.metrics import MetricsSocket

            BaseWorker._own_metrics_socket = MetricsSocket()
        return BaseWorker._own_metrics_socket.at(where)

    def _own_metrics_thread(self) -> MetricsThread | None:
        """What tells the metrics in a worker; None where nobody is told."""
        if self._own_metrics is None:
            return None
        # There since before the fork, with the socket.
        from uvicorn_worker.board.metrics import MetricsThread

        return MetricsThread(self._own_metrics, self._own_succession.board)

    def _own_share_tls(self, cfg: GunicornConfig, config: Config | None) -> None:
        """Make the TLS context before the fork, once for the settings of the start and of each HUP."""
        if BaseWorker._own_shares is cfg:
            return
        BaseWorker._own_shares = cfg
        try:
            if config is not None and tls_is_on(config):
                from uvicorn_worker.tls.contexts import share_context

                share_context(config, alpn_protocols(config), cfg)
        except ConfigError:
            # The worker says so.
            pass

    def _own_make_surroundings(self) -> Surroundings:
        """What a server that is made of `self.config` finds around it."""
        raise NotImplementedError

    def _own_make_signals(self) -> Signals:
        """What each signal means to it."""
        raise NotImplementedError

    @property
    def booted(self) -> bool:
        """Whether it has loaded the application; in the master, whose control socket tells it, whether it has served.

        Gunicorn sets it in the worker alone, so that its own classes are never booted to the master.
        """
        return self._own_loaded or self._own_succession.has_served

    @booted.setter
    def booted(self, value: bool) -> None:
        """Set by Gunicorn's base class."""
        self._own_loaded = value

    @property
    def config(self) -> Any:
        """The options, a `WorkerConfig`; what is assigned to them counts until the server starts.

        Typed as Any, so that a type checker lets subclasses assign what is read-only in other places.
        """
        if self._own_config is None:
            self._own_read_settings()
        return self._own_config

    @config.setter
    def config(self, value: Any) -> None:
        if value is self._own_config:
            return
        try:
            given = differences(value)
        except ConfigError as exc:
            self.config.own_fail(str(exc))
            return
        self.config.own_replaced_by(value)
        for name, option in given.items():
            # What uvicorn's worker says itself, and subclasses copy, is no wish.
            is_copied = (name, option) == ("timeout_notify", self.timeout) or getattr(option, "__self__", None) is self
            if not is_copied:
                setattr(self.config, name, option)

    def _own_read_settings(self) -> None:
        # Where uvicorn's is seen in no code of a subclass's methods.
        take_its_place(Server, WorkerConfig)
        if self._own_config is None:
            self._own_config = WorkerConfig(self._own_surroundings)
        config = self._own_config
        try:
            config.own_base_on(
                config_from_settings(
                    self.cfg,
                    _not_loaded,
                    self.max_requests,
                    options_in_code(type(self), self),
                    defaults=self._own_defaults,
                )
            )
        except ConfigError as exc:
            # The master has checked this at its start; what was changed before a reload is seen here first.
            config.own_fail(str(exc))
