"""Several processes: Gunicorn's part of the options becomes its settings, the rest is fixed in the worker class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, NoReturn

from uvicorn_worker.core import config as core
from uvicorn_worker.logs.formatters import LOGGING_CONFIG
from uvicorn_worker.server import Config

__all__ = ["run_master", "settings_of"]


def run_master(
    config: Config, given: Mapping[str, Any], settings: Mapping[str, Any], config_file: str | None
) -> NoReturn:
    """Gunicorn, for good. `given` are the options that were given; of those of `config_file`, they alone win."""
    from uvicorn_worker.master import Application

    found = settings_of(config, None if config_file is None else given)
    worker: Any = __import__("uvicorn_worker").UvicornWorker
    found["worker_class"] = worker.configure(**_given(config))
    Application(config.app, {**found, **settings}, config_file).run()
    raise SystemExit(0)


def settings_of(config: Config, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Gunicorn's settings, by name; where `given` is not None those of them alone."""
    host = config.host or "0.0.0.0"
    address = f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"
    if config.uds is not None:
        address = f"unix:{config.uds}"
    if config.fd is not None:
        address = f"fd://{config.fd}"
    rows: list[tuple[tuple[str, ...], str, Any]] = [
        (("host", "port", "uds", "fd"), "bind", [address]),
        (("workers",), "workers", config.workers),
        (("reload",), "reload", config.should_reload),
        (("log_level",), "loglevel", config.log_level),
        (("backlog",), "backlog", config.backlog),
        (("timeout_keep_alive",), "keepalive", config.timeout_keep_alive),
        (("access_log",), "accesslog", "-" if config.access_log else None),
    ]
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
        "access_log",
        "timeout_keep_alive",
        "limit_max_requests",
        "limit_max_requests_jitter",
    }
)


def _given(config: Config) -> dict[str, Any]:
    """The options of the core that differ from their defaults."""
    given = {}
    for item in fields(core.Config):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        value = getattr(config, item.name)
        if item.name not in _SETTINGS and value != default and value is not LOGGING_CONFIG:
            given[item.name] = value
    return given
