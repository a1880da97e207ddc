"""uvicorn's logger names under Gunicorn.

    uvicorn.error, uvicorn.asgi ─► gunicorn.error
    uvicorn.access ─► gunicorn.access

That is where a name leads of which the operator's logging configuration says nothing. A name that it gives handlers
keeps these. No line goes through the same handler twice.
"""

from __future__ import annotations

import configparser
import json
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.logs.levels import LEVELS, TRACE
from uvicorn_worker.worker.settings import log_level

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["adopt_loggers", "configured_loggers", "handlers_of", "level_of", "own_handlers"]

_PARENT = "uvicorn"


class _Forward(logging.Handler):
    """Hands records to another logger, with the handlers and filters that it has at that time."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the lock of a handler: there is nothing to be guarded."""
        self._target.handle(record)
        return True


def adopt_loggers(log: Any, cfg: GunicornConfig, config: Config) -> None:
    """Let uvicorn's loggers lead to Gunicorn's, or to where the operator's configuration says.

    To be called in the worker, before the application is loaded: what the application does to them is kept.
    """
    configured = configured_loggers(cfg)
    level = level_of(log, cfg, config)
    parent = _keep_to_its_handlers(_PARENT, configured)
    for name, target, least in (
        ("uvicorn.error", log.error_log, level),
        ("uvicorn.asgi", log.error_log, level),
        ("uvicorn.access", log.access_log, logging.INFO),
    ):
        logger = _keep_to_its_handlers(name, configured)
        _drop_repeated(logger)
        if logger.level == logging.NOTSET and parent.level == logging.NOTSET:
            logger.setLevel(least)
        if not _has_a_place(logger, name in configured or _PARENT in configured):
            logger.handlers = [_Forward(target)]
            logger.propagate = False
            logger.disabled = target.disabled
    for logger in (log.error_log, log.access_log):
        _drop_repeated(logger)


def level_of(log: Any, cfg: GunicornConfig, config: Config) -> int:
    """The level of what is logged: that of Gunicorn's error log, unless the option log_level says another."""
    if config.log_level == "trace":
        return TRACE
    if config.log_level != log_level(cfg.loglevel):
        return LEVELS[config.log_level]
    level: int = log.error_log.level
    return level


def own_handlers(logger: logging.Logger) -> list[logging.Handler]:
    """The handlers of a logger, but for that which leads to Gunicorn's."""
    return [handler for handler in logger.handlers if not isinstance(handler, _Forward)]


def handlers_of(logger: logging.Logger) -> list[logging.Handler]:
    """All handlers that a record of this logger goes through, its own and those that it is propagated to."""
    handlers = own_handlers(logger)
    for ancestor in _ancestors(logger):
        handlers += ancestor.handlers
    return handlers


def _ancestors(logger: logging.Logger) -> Iterator[logging.Logger]:
    """The loggers that a record is propagated to."""
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        yield logger


def _has_a_place(logger: logging.Logger, configured: bool) -> bool:
    """Whether records have a place to go to, or are meant to go nowhere."""
    if configured:
        return bool(handlers_of(logger)) or not logger.propagate
    return any(each.handlers for each in (logger, logging.getLogger(_PARENT)))


def _keep_to_its_handlers(name: str, configured: Mapping[str, bool]) -> logging.Logger:
    """The logger; with handlers of its own it propagates only where the configuration says that it does.

    Gunicorn does the same for its own loggers, and its defaults give the root logger a handler to stdout.
    """
    logger = logging.getLogger(name)
    if name in configured and logger.handlers:
        logger.propagate = configured[name]
    return logger


def _drop_repeated(logger: logging.Logger) -> None:
    """Drop the handlers that records reach once more by propagation."""
    above = [handler for ancestor in _ancestors(logger) for handler in ancestor.handlers]
    for handler in list(logger.handlers):
        if handler in above:
            logger.removeHandler(handler)


def configured_loggers(cfg: GunicornConfig) -> dict[str, bool]:
    """The loggers that the operator's logging configuration names, with whether it says that they propagate."""
    if cfg.logconfig_dict:
        return _named_in(cfg.logconfig_dict)
    try:
        if cfg.logconfig_json:
            with open(cfg.logconfig_json, encoding="utf-8") as file:
                return _named_in(json.load(file))
        if cfg.logconfig:
            return _named_in_ini(cfg.logconfig)
    except (OSError, ValueError, configparser.Error):
        # Gunicorn has read it before this process was there; by now it may be gone, or half written.
        pass
    return {}


def _named_in(config: Mapping[str, Any]) -> dict[str, bool]:
    loggers = config.get("loggers") or {}
    return {name: bool(settings.get("propagate")) for name, settings in loggers.items()}


def _named_in_ini(path: str) -> dict[str, bool]:
    """The loggers of a file for `logging.config.fileConfig`."""
    parser = configparser.RawConfigParser()
    with open(path, encoding="utf-8") as file:
        parser.read_file(file)
    sections = [f"logger_{key.strip()}" for key in parser.get("loggers", "keys", fallback="").split(",")]
    return {
        parser.get(section, "qualname"): parser.getboolean(section, "propagate", fallback=False)
        for section in sections
        if parser.has_option(section, "qualname")
    }
