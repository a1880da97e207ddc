"""`run()`: serve an application until the end, as the command does.

one process                  this process serves, so that debuggers, breakpoint() and Ctrl+C behave
reload                       this process watches files, and has another that serves
workers > 1                  Gunicorn with our worker and our master
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from uvicorn_worker.core.errors import AppLoadError, BindError, ConfigError, LifespanError
from uvicorn_worker.logs.formatters import LOGGING_CONFIG
from uvicorn_worker.logs.levels import set_levels
from uvicorn_worker.logs.log_config import apply_log_config
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.alone import report_alone
from uvicorn_worker.server.failures import users_traceback
from uvicorn_worker.server.surroundings import Stoppable, Surroundings

__all__ = ["FAILURE", "STARTUP_FAILURE", "launch", "run"]

STARTUP_FAILURE = 3
"""The exit code where the application or its address can't be served; uvicorn has the same."""
FAILURE = 1
"""And that where the application's import raises, a certificate does not fit, or a reloader's address is taken."""


def run(app: Any, **options: Any) -> None:
    """Serve `app`, an application or 'module:attribute', with the options of `Config`, until a signal or a limit.

    Returns after Ctrl+C; what fails at the start is said in the log, and is a SystemExit with `STARTUP_FAILURE` or
    `FAILURE`. Raises `ConfigError` for an option that can't be used.
    """
    launch(app, options)


def launch(
    app: Any, options: dict[str, Any], settings: Mapping[str, Any] | None = None, config_file: str | None = None
) -> None:
    """The same, under Gunicorn where there are `settings` of it, or a `config_file`."""
    began = time.monotonic()
    app_dir = options.get("app_dir")
    # Before the module: a file of the environment is read by what imports it.
    sys.path.insert(0, os.fspath(app_dir) if app_dir else os.getcwd())
    if options.get("workers") is None and os.environ.get("WEB_CONCURRENCY", "").isdigit():
        options["workers"] = int(os.environ["WEB_CONCURRENCY"]) or 1
    given = {**options}
    options.setdefault("log_config", LOGGING_CONFIG)
    config = Config(app, **options)
    if settings or config_file is not None or (config.workers > 1 and not config.reload):
        from uvicorn_worker.cli.masters import run_master

        run_master(config, given, settings or {}, config_file)
    set_up_logging(config)
    if config.reload:
        _reload(config)
    else:
        _serve(config, began)


def set_up_logging(config: Config) -> None:
    """uvicorn's lines, in its colours; `log_config = None` leaves logging to the application."""
    apply_log_config(config.log_config, config.use_colors)
    set_levels(config)
    if not config.access_log:
        access = logging.getLogger("uvicorn.access")
        access.handlers, access.propagate = [], False


def _serve(config: Config, began: float) -> None:
    log = logging.getLogger("uvicorn.error")
    surroundings: Any = _CommandSurroundings(began)
    config.surroundings = surroundings
    try:
        config.load()
    except (AppLoadError, ConfigError) as exc:
        log.error("The application can't be loaded: %s", exc)
        sys.exit(STARTUP_FAILURE)
    except Exception as exc:  # noqa: BLE001 - an import raises what it likes
        log.error("The application can't be loaded.\n%s", users_traceback(exc).rstrip())
        sys.exit(FAILURE)
    log.info("Started server process [%d]", os.getpid())
    server = Server(config)
    try:
        report_alone(server)
        server.run()
    except KeyboardInterrupt:
        pass
    except BindError as exc:
        log.error("%s", exc)
        sys.exit(STARTUP_FAILURE)
    except ConfigError as exc:
        log.error("%s", exc)
        sys.exit(FAILURE)
    except LifespanError:
        # The server has said it.
        sys.exit(STARTUP_FAILURE)
    log.info("Finished server process [%d]", os.getpid())


class _CommandSurroundings(Surroundings):
    """Logging was set up before the application was loaded; what is ready is said."""

    def __init__(self, began: float) -> None:
        self._began = began

    def set_up_logging(self, config: Any) -> None:
        """See above."""

    def started(self, server: Stoppable) -> None:
        """It accepts connections."""


def _reload(config: Config) -> None:
    from uvicorn_worker.cli.reloading import Reloader

    log = logging.getLogger("uvicorn.error")
    if not config.should_reload:
        log.warning(
            "To reload, the application must be named, as 'module:attribute': an object can't be imported anew."
        )
        sys.exit(FAILURE)
    if config.workers > 1:
        log.warning("One process serves, since --reload is on: --workers = %d has no effect.", config.workers)
    try:
        code = Reloader(config, set_up_logging).run()
    except (BindError, ConfigError, OSError) as exc:
        log.error("%s", exc)
        sys.exit(FAILURE)
    if code:
        sys.exit(code)
