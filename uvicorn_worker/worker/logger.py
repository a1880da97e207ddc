"""A `logger_class` for logging configurations that were not made for Gunicorn, such as uvicorn's.

Gunicorn puts defaults of its own under `logconfig_dict` and `logconfig_json`, a root logger with a handler among them,
and fails where the configuration has `handlers` without the one that its root logger has. Here they are filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gunicorn import glogging
from gunicorn.instrument.statsd import Statsd

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.logs.log_config import read_log_config, with_known_formatters

__all__ = ["Logger"]

_FILES = (".json", ".yaml", ".yml")


class _Completed:
    """Gunicorn's settings, with a logging configuration that is complete."""

    def __init__(self, cfg: Any, config: dict[str, Any]) -> None:
        self._cfg = cfg
        self.logconfig_dict = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cfg, name)


def _completed(cfg: Any) -> Any:
    """The settings as Gunicorn's logger can use them; raises RuntimeError, which Gunicorn prints as one line."""
    config: Any = cfg.logconfig_dict
    path = getattr(cfg, "logconfig_json", None) or cfg.logconfig
    try:
        if not config and path and str(path).endswith(_FILES):
            config = read_log_config(path)
        elif config:
            config = with_known_formatters(config)
    except ConfigError as exc:
        raise RuntimeError(str(exc).replace("option log_config", "logging configuration")) from None
    if not config:
        return cfg
    defaults: Mapping[str, Any] = glogging.CONFIG_DEFAULTS
    filled_in = {key: {**defaults[key], **(config.get(key) or {})} for key in ("formatters", "handlers")}
    return _Completed(cfg, {**config, **filled_in})


class Logger(glogging.Logger):
    """Gunicorn's logger; where `statsd_host` is set, its statsd logger."""

    def __new__(cls, cfg: Any) -> Any:
        """Gunicorn takes the statsd logger by itself only where no logger_class is set."""
        return super().__new__(_StatsdLogger if cls is Logger and cfg.statsd_host else cls)

    def setup(self, cfg: Any) -> None:
        """Called at the start and on HUP."""
        super().setup(_completed(cfg))
        self.cfg = cfg


class _StatsdLogger(Logger, Statsd):
    """Both of them."""
