"""`run()`: serve an application until the end, as the command does.

one process, no reload       this process serves, so that debuggers, breakpoint() and Ctrl+C behave
workers > 1, or reload       Gunicorn with our worker and our master
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import MISSING, fields
from typing import Any

from uvicorn_worker.core import config as core
from uvicorn_worker.core.errors import AppLoadError, BindError, ConfigError, LifespanError
from uvicorn_worker.logs.formatters import LOGGING_CONFIG
from uvicorn_worker.logs.levels import set_levels
from uvicorn_worker.logs.log_config import apply_log_config
from uvicorn_worker.server import Config, Server

__all__ = ["STARTUP_FAILURE", "run"]

STARTUP_FAILURE = 3
"""The exit code where the application or its address can't be served; uvicorn has the same."""


def run(app: Any, **options: Any) -> None:
    """Serve `app`, an application or 'module:attribute', with the options of `Config`, until a signal or a limit.

    Returns after Ctrl+C; what fails at the start is said in the log, and is a SystemExit with `STARTUP_FAILURE`. Raises
    `ConfigError` for an option that can't be used.
    """
    app_dir = options.get("app_dir")
    # Before the module: a file of the environment is read by what imports it.
    sys.path.insert(0, os.fspath(app_dir) if app_dir else os.getcwd())
    if options.get("workers") is None and os.environ.get("WEB_CONCURRENCY", "").isdigit():
        options["workers"] = int(os.environ["WEB_CONCURRENCY"]) or 1
    config = Config(app, **options)
    if config.use_subprocess:
        _run_master(config, "log_config" in options)
    _set_up_logging(config, "log_config" in options)
    log = logging.getLogger("uvicorn.error")
    try:
        config.load()
    except AppLoadError as exc:
        log.error("The application can't be loaded: %s", exc)
        sys.exit(STARTUP_FAILURE)
    server = Server(config)
    log.info("Started server process [%d]", os.getpid())
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    except (BindError, ConfigError) as exc:
        log.error("%s", exc)
        sys.exit(STARTUP_FAILURE)
    except LifespanError:
        # The server has said it.
        sys.exit(STARTUP_FAILURE)
    log.info("Finished server process [%d]", os.getpid())


def _set_up_logging(config: Config, is_given: bool) -> None:
    """uvicorn's lines, in its colours; `log_config = None` leaves logging to the application."""
    apply_log_config(config.log_config if is_given else LOGGING_CONFIG, config.use_colors)
    # Once: the server would do it again.
    object.__setattr__(config, "log_config", None)
    set_levels(config)
    if not config.access_log:
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False


# Several processes ----------------------------------------------------------------------------------------------


def _run_master(config: Config, has_log_config: bool) -> None:
    """Gunicorn's part of the options becomes its settings, and the rest is fixed in the worker class."""
    from uvicorn_worker.master import Application

    settings = _settings_of(config)
    worker: Any = __import__("uvicorn_worker").UvicornWorker
    settings["worker_class"] = worker.configure(**_given(config))
    Application(config.app, settings).run()


def _settings_of(config: Config) -> dict[str, Any]:
    host = config.host or "0.0.0.0"
    address = f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}"
    if config.uds is not None:
        address = f"unix:{config.uds}"
    if config.fd is not None:
        address = f"fd://{config.fd}"
    settings: dict[str, Any] = {
        "bind": [address],
        "workers": config.workers,
        "reload": config.should_reload,
        "loglevel": config.log_level,
        "backlog": config.backlog,
        "keepalive": config.timeout_keep_alive,
    }
    if config.access_log:
        settings["accesslog"] = "-"
    if config.timeout_graceful_shutdown is not None:
        # The master kills what is there after so long.
        settings["graceful_timeout"] = max(int(config.timeout_graceful_shutdown), 1)
    if config.limit_max_requests is not None:
        settings["max_requests"] = config.limit_max_requests
        settings["max_requests_jitter"] = config.limit_max_requests_jitter
    return settings


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
        if item.name not in _SETTINGS and value != default:
            given[item.name] = value
    return given
