"""Several processes: Gunicorn's part of the options becomes its settings, the rest is fixed in the worker class."""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NoReturn

from uvicorn_worker.core import config as core
from uvicorn_worker.core.errors import AppLoadError, ConfigError
from uvicorn_worker.logs.formatters import usual_config
from uvicorn_worker.logs.levels import LEVELS
from uvicorn_worker.logs.log_config import read_log_config
from uvicorn_worker.server import Config
from uvicorn_worker.server.binding import bind, hosts_of, urls_of
from uvicorn_worker.server.failures import users_traceback
from uvicorn_worker.server.loading import import_name
from uvicorn_worker.tls.asked import tls_is_on
from uvicorn_worker.tls.contexts import check_tls

__all__ = [
    "Master",
    "check_places",
    "gunicorns",
    "needs_master",
    "parse_settings",
    "run_brought",
    "run_master",
    "settings_of",
]

# How long an import and a lifespan startup may block a worker: uvicorn's command has no bound for it, and Gunicorn's
# timeout would end a worker that loads a model, again and again.
_STARTUP_SECONDS = 3600.0


@dataclass
class Master:
    """What the command says to Gunicorn beside the options."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Gunicorn's settings, by name."""
    config_file: str | None = None
    worker_class: str | None = None
    preload: bool = False
    pid_file: str | None = None
    uds_mode: int | None = None


def needs_master(config: Config, master: Master) -> bool:
    """Whether Gunicorn is to be started."""
    return bool(
        master.settings
        or master.config_file is not None
        or master.worker_class is not None
        or (config.workers > 1 and not config.reload)
    )


def run_master(config: Config, given: Collection[str], master: Master) -> NoReturn:
    """Gunicorn, for good. `given` are the options that were given; of those of a configuration file, they alone win.

    Raises `ConfigError` for what Gunicorn does not take.
    """
    from uvicorn_worker.master import Application, Arbiter

    class Launcher(Application):
        """With our options in whatever worker class the configuration file names."""

        drains_on_int = True

        def load(self) -> Any:
            """With --preload the master loads it, and says what is wrong as a worker does."""
            if not self.cfg.preload_app or os.getpid() != owner:
                return super().load()
            log = logging.getLogger("gunicorn.error")
            try:
                return super().load()
            except (AppLoadError, ConfigError) as exc:
                log.error("The application can't be loaded: %s", exc)
                sys.exit(Arbiter.APP_LOAD_ERROR)
            except Exception as exc:  # noqa: BLE001 - an import raises what it likes
                log.error("The application can't be loaded.\n%s", users_traceback(exc).rstrip())
                sys.exit(Arbiter.WORKER_BOOT_ERROR)

        def load_config(self) -> None:
            super().load_config()
            for name, value in master.settings.items():
                _set(self.cfg, name, value)
            _leave_out_control_socket(self.cfg)
            _fix_options(self.cfg, options, is_bounded=master.config_file is not None or "timeout" in master.settings)
            if config.uds is not None and master.uds_mode is not None:
                _set_mode(self.cfg, config.uds, master.uds_mode)
            _say_where(self.cfg, config.host, secure=tls_is_on(config))

    owner = os.getpid()
    options = _given(config)
    if master.config_file is None and "http2_cleartext" not in master.settings:
        # Gunicorn's default is another one than ours; with one process ours holds.
        options["http2_cleartext"] = config.http2_cleartext
    settings = settings_of(config, None if master.config_file is None else given)
    if master.config_file is None and config.log_config is not None:
        log_config = read_log_config(config.log_config)
        if isinstance(log_config, dict):
            settings["logconfig_dict"] = gunicorns(log_config, config.log_level if config.own_log_level_given else None)
            options.pop("log_config", None)
    if master.worker_class is not None:
        settings["worker_class"] = _worker_class(master.worker_class)
    if master.preload:
        settings["preload_app"] = True
    if master.pid_file is not None:
        settings["pidfile"] = master.pid_file
    Launcher(config.app, settings, master.config_file).run()
    raise SystemExit(0)


def run_brought(kind: Any, config: Config, master: Master) -> None:
    """Until a signal, by a class that is made as uvicorn's `Multiprocess`. Raises `BindError` and `ConfigError`."""
    bound = bind(config.host, config.port, config.uds, config.fd, master.uds_mode)
    try:
        kind(config, sockets=bound.sockets).run()
    finally:
        bound.close()


def check_places(config: Config, master: Master) -> None:
    """See that the address is free, and TLS can be spoken, before Gunicorn tries again and again; raises as they do.

    What Gunicorn's own settings say is not looked at, nor sockets that it inherits: from systemd, or at USR2.
    """
    if master.config_file is not None or "bind" in master.settings or config.fd is not None:
        return
    check_tls(config)
    if not any(name in os.environ for name in ("LISTEN_PID", "GUNICORN_FD", "GUNICORN_PID")) and config.port:
        bind(config.host, config.port, config.uds, None).close()


def gunicorns(log_config: Mapping[str, Any], log_level: str | None = None) -> dict[str, Any]:
    """The same logging configuration, in which Gunicorn's loggers write as uvicorn's do.

    A `log_level` that is given wins over the levels in it, as it does with one process.
    """
    loggers = dict(log_config.get("loggers", {}))
    for theirs, ours in (("gunicorn.error", "uvicorn"), ("gunicorn.access", "uvicorn.access")):
        if ours in loggers:
            loggers.setdefault(theirs, {**loggers[ours], "propagate": False})
    if log_level is not None:
        for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "gunicorn.error", "gunicorn.access"):
            if name in loggers or name.startswith("uvicorn"):
                loggers[name] = {**loggers.get(name, {}), "level": LEVELS[log_level]}
    # Gunicorn has a root logger of its own for tables that name none.
    return {"root": {"level": "WARNING", "handlers": []}, **log_config, "loggers": loggers}


def _worker_class(word: str) -> str:
    """A worker class by its name alone, where it is one of ours."""
    names = {
        "h11": "UvicornH11Worker",
        "uvicorn": "UvicornWorker",
        "h2c": "UvicornH2CWorker",
        "uvicornworker": "UvicornWorker",
        "uvicornh11worker": "UvicornH11Worker",
        "uvicornh2cworker": "UvicornH2CWorker",
    }
    known = names.get(word.lower())
    return word if known is None else f"uvicorn_worker.{known}"


def _fix_options(cfg: Any, options: Mapping[str, Any], *, is_bounded: bool = False) -> None:
    """The options that were given win over what the worker class says; an import may take long, unless `is_bounded`."""
    worker = cfg.settings["worker_class"].get()
    if isinstance(worker, str) and "." in worker:
        worker = import_name(":".join(worker.rsplit(".", 1)), "worker_class")
    if hasattr(worker, "configure"):
        name = f"{worker.__module__.partition('.')[0]}.{worker.__qualname__}"
        names = {"own_drains_on_int": True, "__module__": worker.__module__, "__qualname__": name}
        if not is_bounded:
            names["own_quiet_startup"] = _STARTUP_SECONDS
        cfg.set("worker_class", type(worker.__name__, (worker.configure(**options),), names))


def _set(cfg: Any, name: str, value: str) -> None:
    if name not in cfg.settings:
        near = "".join(difflib.get_close_matches(name, cfg.settings, n=1))
        raise ConfigError(
            f"--gunicorn {name}={value}: Gunicorn has no such setting{near and f'; did you mean {near}?'}"
        )
    try:
        cfg.set(name, value)
    except Exception as exc:  # noqa: BLE001 - its validators raise what they like
        raise ConfigError(f"--gunicorn {name}={value}: {exc}") from None


def _leave_out_control_socket(cfg: Any) -> None:
    """Where Gunicorn's usual place for it can't be had (25 and newer): no home, or a disk that is read-only."""
    setting = cfg.settings.get("control_socket")
    if setting is None or setting.get() != setting.default or cfg.control_socket_disable:
        return
    folder = os.path.dirname(setting.default)
    try:
        # Without HOME and a name for the user it would be below a folder "~".
        if os.path.isabs(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        there = os.path.isabs(folder) and os.access(folder, os.W_OK)
    except OSError:
        there = False
    if not there:
        cfg.set("control_socket_disable", True)


def _set_mode(cfg: Any, path: str, mode: int) -> None:
    """Gunicorn has a umask for all files; this is for the socket alone."""
    before = cfg.when_ready

    def when_ready(server: Any) -> None:
        os.chmod(path, mode)
        before(server)

    cfg.set("when_ready", when_ready)


def _say_where(cfg: Any, host: Any, *, secure: bool) -> None:
    """uvicorn's line, which people and programs wait for."""
    before = cfg.when_ready

    def when_ready(server: Any) -> None:
        for where in urls_of([each.sock for each in server.LISTENERS], host, secure=secure or cfg.is_ssl):
            server.log.info("Uvicorn running on %s (Press CTRL+C to quit)", where)
        before(server)

    cfg.set("when_ready", when_ready)


def settings_of(config: Config, given: Collection[str] | None) -> dict[str, Any]:
    """Gunicorn's settings, by name; where `given` is not None those of them alone."""
    hosts = [host or "0.0.0.0" for host in hosts_of(config.host)]
    if "::" in hosts:
        # Gunicorn's socket of it has the IPv4 addresses, too.
        hosts = [host for host in hosts if host != "0.0.0.0"]
    addresses = [f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}" for host in hosts]
    if config.uds is not None:
        addresses = [f"unix:{config.uds}"]
    if config.fd is not None:
        addresses = [f"fd://{config.fd}"]
    rows: list[tuple[tuple[str, ...], str, Any]] = [
        (("host", "port", "uds", "fd"), "bind", addresses),
        (("workers",), "workers", config.workers),
        (("reload",), "reload", config.should_reload),
        (("log_level",), "loglevel", config.log_level),
        (("backlog",), "backlog", config.backlog),
        (("timeout_keep_alive",), "keepalive", config.timeout_keep_alive),
        (("access_log",), "accesslog", "-" if config.access_log else None),
    ]
    if config.timeout_worker_healthcheck is not None:
        rows.append((("timeout_worker_healthcheck",), "timeout", max(int(config.timeout_worker_healthcheck), 1)))
    if config.timeout_graceful_shutdown is not None:
        # The master kills what is there after so long.
        seconds = max(int(config.timeout_graceful_shutdown), 1)
        rows.append((("timeout_graceful_shutdown",), "graceful_timeout", seconds))
    if config.limit_max_requests is not None:
        rows.append((("limit_max_requests",), "max_requests", config.limit_max_requests))
        rows.append((("limit_max_requests",), "max_requests_jitter", config.limit_max_requests_jitter))
    return {setting: value for names, setting, value in rows if given is None or any(name in given for name in names)}


# What is one of Gunicorn's settings here.
_SETTINGS = frozenset(
    {
        "app",
        "backlog",
        "log_level",
        "timeout_keep_alive",
        "limit_max_requests",
        "limit_max_requests_jitter",
    }
)


def _given(config: Config) -> dict[str, Any]:
    """The options of the core that differ from their defaults."""
    given = {}
    usual = usual_config(config.access_log_format)
    for item in fields(core.Config):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        value = getattr(config, item.name)
        if item.name not in _SETTINGS and value != default and value is not usual:
            given[item.name] = value
    return given


def parse_settings(lines: list[str]) -> dict[str, str]:
    """`NAME=VALUE` as the command line has them; raises `ConfigError`."""
    found = {}
    for line in lines:
        name, sign, value = line.partition("=")
        if not sign or not name.strip():
            raise ConfigError(f"--gunicorn {line!r}: must be NAME=VALUE, as in --gunicorn timeout=60")
        found[name.strip().replace("-", "_")] = value
    return found
