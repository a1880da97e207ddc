"""Gunicorn's settings, and the option of `Config` that each one becomes.

Where Gunicorn has a word for something, Gunicorn's setting rules; an option without such a word keeps its
default. A setting that the installed Gunicorn lacks counts as unset.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uvicorn_worker.config import Config
from uvicorn_worker.errors import ConfigError

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["ROWS", "Row", "config_from_settings", "refuse_unsupported"]

# Gunicorn takes this many header fields where limit_request_fields is 0.
_MOST_FIELDS = 32768


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Row:
    """One Gunicorn setting, the option that it becomes, and how its value is turned into the option's."""

    setting: str
    option: str
    convert: Callable[[Any], Any] = _same


ROWS = (
    Row("backlog", "backlog"),
    Row("keepalive", "timeout_keep_alive"),
    Row("graceful_timeout", "timeout_graceful_shutdown"),
    Row("limit_request_line", "limit_request_line"),
    Row("limit_request_fields", "limit_request_fields", lambda fields: fields or _MOST_FIELDS),
    Row("limit_request_field_size", "limit_request_field_size"),
    Row("root_path", "root_path"),
    Row("asgi_loop", "loop"),
    Row("asgi_lifespan", "lifespan"),
    Row("websocket_max_message_size", "ws_max_size"),
)

# Settings that change what arrives on a connection. Serving without them would misread every request, so they
# stop the start: the setting, the values that are fine, and what to do.
_UNSUPPORTED = (
    ("proxy_protocol", (False, "off", None), "the PROXY protocol is not understood: turn proxy_protocol off"),
    ("protocol", ("http", None), "only HTTP is spoken here: set protocol to http"),
)


def refuse_unsupported(cfg: GunicornConfig) -> None:
    """Raise `ConfigError` for a setting that this worker can't honour and must not ignore."""
    for setting, fine, what_to_do in _UNSUPPORTED:
        value = _get(cfg, setting)
        if value not in fine:
            raise ConfigError(f"Gunicorn setting {setting} = {value!r}: {what_to_do}")


def config_from_settings(cfg: GunicornConfig, app: Any, max_requests: int, overrides: Mapping[str, Any]) -> Config:
    """The `Config` of a worker: Gunicorn's settings, then what the worker class itself fixes.

    `max_requests` is the number that Gunicorn drew for this worker, jitter included. Raises `ConfigError`.
    """
    refuse_unsupported(cfg)
    # Access lines go through Gunicorn's logger, not through uvicorn.access.
    options: dict[str, Any] = {"app": app, "access_log": False}
    for row in ROWS:
        value = _get(cfg, row.setting)
        if value is not None:
            options[row.option] = row.convert(value)
    if max_requests < sys.maxsize:
        options["limit_max_requests"] = max_requests
    if not overrides:
        return Config.from_options(options, "Gunicorn's settings")
    Config.from_options({"app": app, **overrides}, "CONFIG_KWARGS of the worker class")
    return Config.from_options({**options, **overrides}, "Gunicorn's settings and CONFIG_KWARGS")


def _get(cfg: GunicornConfig, setting: str) -> Any:
    return getattr(cfg, setting) if setting in cfg.settings else None
