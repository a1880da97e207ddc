"""The option `log_config`: a logging configuration as uvicorn takes it, a dictionary or a file.

    {...}, *.json, *.yaml, *.yml    for logging.config.dictConfig
    any other file                  for logging.config.fileConfig

uvicorn's formatters may be named in it: where uvicorn is not installed, ours do the same.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import logging.config
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.logs.levels import TRACE

if TYPE_CHECKING:
    import configparser

__all__ = ["apply_log_config", "named_loggers", "read_log_config", "with_known_formatters"]

_FORMATTERS = ("ColourizedFormatter", "DefaultFormatter", "AccessFormatter")
_OURS = {f"uvicorn.logging.{name}": f"uvicorn_worker.logs.formatters.{name}" for name in _FORMATTERS}


def apply_log_config(log_config: Any, use_colors: bool | None = None) -> None:
    """Configure logging as the option says; None leaves it as it is. Raises `ConfigError`.

    `use_colors`, where it is not None, is what the formatters `default` and `access` of a table do.
    """
    if log_config is None:
        return
    import configparser

    logging.addLevelName(TRACE, "TRACE")
    config = read_log_config(log_config)
    if use_colors is not None and isinstance(config, dict):
        config = _with_colours(config, use_colors)
    try:
        if isinstance(config, dict):
            logging.config.dictConfig(config)
        else:
            logging.config.fileConfig(config, disable_existing_loggers=False)
    except (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError, configparser.Error) as exc:
        # What logging says is often only where it failed; what failed is below.
        cause = exc.__cause__ or exc.__context__
        reason = f"{exc}: {cause}" if cause is not None else f"{exc}"
        raise ConfigError(f"option log_config = {_shown(log_config)}: {reason}") from exc


def read_log_config(log_config: Any) -> dict[str, Any] | configparser.RawConfigParser:
    """The configuration that `log_config` is, or that is in the file it names. Raises `ConfigError`."""
    # Not at the start: nobody else imports it.
    import configparser

    if isinstance(log_config, configparser.RawConfigParser):
        return _ini_with_known_formatters(log_config)
    if isinstance(log_config, Mapping):
        return with_known_formatters(log_config)
    path = os.fspath(log_config)
    try:
        if path.endswith(".json"):
            with open(path, encoding="utf-8") as file:
                return with_known_formatters(json.load(file))
        if path.endswith((".yaml", ".yml")):
            return with_known_formatters(_read_yaml(path))
        parser = configparser.ConfigParser()
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        return _ini_with_known_formatters(parser)
    except ConfigError:
        raise
    except (OSError, ValueError, configparser.Error) as exc:
        raise ConfigError(f"option log_config = {path!r}: {exc}") from exc


def _with_colours(config: dict[str, Any], use_colors: bool) -> dict[str, Any]:
    formatters = {
        name: {**settings, "use_colors": use_colors} if name in ("default", "access") and "()" in settings else settings
        for name, settings in (config.get("formatters") or {}).items()
    }
    return {**config, "formatters": formatters}


def _read_yaml(path: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise ConfigError(f"option log_config = {path!r}: YAML needs the package PyYAML (pip install pyyaml)") from None
    with open(path, encoding="utf-8") as file:
        try:
            return yaml.safe_load(file)
        except yaml.YAMLError as exc:
            raise ConfigError(f"option log_config = {path!r}: {exc}") from exc


def _shown(log_config: Any) -> str:
    return "{...}" if isinstance(log_config, Mapping) else repr(str(log_config))


def with_known_formatters(config: Any) -> dict[str, Any]:
    """A configuration for dictConfig, with our formatters for uvicorn's where that is not installed."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"option log_config: a logging configuration is a table, not {type(config).__name__}")
    changed = dict(config)
    formatters = config.get("formatters")
    if isinstance(formatters, Mapping) and not _uvicorn_is_installed():
        changed["formatters"] = {
            name: {
                key: _OURS.get(value, value) if key in ("()", "class") and isinstance(value, str) else value
                for key, value in settings.items()
            }
            if isinstance(settings, Mapping)
            else settings
            for name, settings in formatters.items()
        }
    return changed


def _ini_with_known_formatters(parser: configparser.RawConfigParser) -> configparser.RawConfigParser:
    if not _uvicorn_is_installed():
        for section in parser.sections():
            named = parser.get(section, "class", raw=True, fallback="")
            if section.startswith("formatter_") and named in _OURS:
                parser.set(section, "class", _OURS[named])
    return parser


def _uvicorn_is_installed() -> bool:
    return importlib.util.find_spec("uvicorn") is not None


def named_loggers(config: dict[str, Any] | configparser.RawConfigParser) -> dict[str, bool]:
    """The loggers that a configuration names, with whether it says that they propagate."""
    if isinstance(config, dict):
        loggers = config.get("loggers") or {}
        return {name: bool((settings or {}).get("propagate")) for name, settings in loggers.items()}
    sections = [f"logger_{key.strip()}" for key in config.get("loggers", "keys", fallback="").split(",")]
    return {
        config.get(section, "qualname"): config.getboolean(section, "propagate", fallback=False)
        for section in sections
        if config.has_option(section, "qualname")
    }
