"""uvicorn's logger names under Gunicorn.

    uvicorn.error, uvicorn.asgi ─► the handlers of gunicorn.error
    uvicorn.access ─► the handlers of gunicorn.access

That is where a name leads of which the operator's logging configuration says nothing. It has these handlers before
the application is there, which finds them as it does under uvicorn, and may change them: a logger that somebody has
changed is left alone from then on, others go on to follow Gunicorn's. A name that the configuration gives handlers
keeps these. No line goes through the same handler twice.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.logs.guards import guard_handlers
from uvicorn_worker.logs.levels import LEVELS, TRACE
from uvicorn_worker.logs.piped_handlers import unblock_handlers
from uvicorn_worker.worker.settings import log_level
from uvicorn_worker.worker.statsd import count_lines, never_wait

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["adopt_loggers", "configured_loggers", "follows_gunicorn", "handlers_of", "level_of", "set_up_logging"]

_PARENT = "uvicorn"

# How we left the loggers that follow Gunicorn's, and which level we have given to loggers that had none.
_followers: dict[str, tuple[Any, ...]] = {}
_levels: dict[str, int] = {}
# What uvicorn's loggers had in common with those above, and reach there.
_shared: list[logging.Handler] = []


class _FiltersOf(logging.Filter):
    """The filters of Gunicorn's logger hold for a logger that follows it."""

    def __init__(self, target: logging.Logger, follower: str) -> None:
        super().__init__()
        self._target, self._follower = target, follower

    def filter(self, record: logging.LogRecord) -> bool:
        return not self._target.filters or not follows_gunicorn(self._follower) or bool(self._target.filter(record))


def adopt_loggers(log: Any, cfg: GunicornConfig, config: Config | None = None, named: Collection[str] = ()) -> None:
    """Let uvicorn's loggers lead to Gunicorn's handlers, or to where the operator's configuration says.

    To be called when a worker is made, so that hooks find handlers; in the worker, with its options, before the
    application is loaded; and when that has started, since Gunicorn's loggers may have other handlers by then. What
    somebody has done to uvicorn's loggers meanwhile is kept. `named` are loggers of another configuration.
    """
    if not hasattr(log, "error_log"):
        # A logger_class that is none of Gunicorn's.
        return
    configured = configured_loggers(cfg)
    level = log.error_log.level if config is None else level_of(log, cfg, config)
    parent = _keep_to_its_handlers(_PARENT, configured)
    if _PARENT not in configured:
        _write_once(parent)
    for name, target, least in (
        ("uvicorn.error", log.error_log, level),
        ("uvicorn.asgi", log.error_log, level),
        ("uvicorn.access", log.access_log, _access_level(cfg, config)),
    ):
        logger = logging.getLogger(name)
        if name not in _followers:
            _keep_to_its_handlers(name, configured)
            _drop_repeated(logger)
        if logger.level == _levels.get(name, logging.NOTSET) and parent.level == logging.NOTSET:
            logger.setLevel(least)
            _levels[name] = least
        if (
            follows_gunicorn(name)
            if name in _followers
            else not _has_a_place(logger, {name, _PARENT} & {*configured, *named})
        ):
            _follow(logger, target)
    for logger in (log.error_log, log.access_log):
        _drop_repeated(logger)


def set_up_logging(log: Any, cfg: GunicornConfig, config: Config) -> None:
    """What a worker does to the loggers before its application is loaded. Raises `ConfigError` for log_config."""
    adopt_loggers(log, cfg, config)
    if config.log_config is not None:
        from uvicorn_worker.logs.log_config import apply_log_config, named_loggers, read_log_config

        named = set(named_loggers(read_log_config(config.log_config)))
        # As under uvicorn: what it names begins without handlers, and propagates.
        for name in [name for name in _followers if named & {name, _PARENT}]:
            del _followers[name]
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [], True
        apply_log_config(config.log_config, config.use_colors)
        adopt_loggers(log, cfg, config, named)
    never_wait(log)
    count_lines(log)
    guard_handlers()
    unblock_handlers()


def _follow(logger: logging.Logger, target: logging.Logger) -> None:
    # A list of its own: who clears it shall not clear Gunicorn's.
    logger.handlers = list(target.handlers)
    logger.propagate = target.propagate
    if logger.name not in _followers:
        logger.disabled = target.disabled
        if logger.name != "uvicorn.access":
            logger.addFilter(_FiltersOf(target, logger.name))
    _followers[logger.name] = _state_of(logger)


def _state_of(logger: logging.Logger) -> tuple[Any, ...]:
    """What an application may change of where a logger leads, and of what becomes of its records there."""
    handlers = [(each, each.formatter, each.level, tuple(each.filters)) for each in logger.handlers]
    return (logger.propagate, *handlers)


def follows_gunicorn(name: str) -> bool:
    """Whether a logger leads where Gunicorn's does, and nobody has changed that."""
    return _followers.get(name) == _state_of(logging.getLogger(name))


def _access_level(cfg: GunicornConfig, config: Config | None) -> int:
    """Gunicorn's loglevel leaves access lines alone; the option log_level, of which they are told too, does not."""
    if config is None or config.log_level == log_level(cfg.loglevel):
        return logging.INFO
    return max(logging.INFO, LEVELS[config.log_level])


def level_of(log: Any, cfg: GunicornConfig, config: Config) -> int:
    """The level of what is logged: that of Gunicorn's error log, unless the option log_level says another."""
    if config.log_level == "trace":
        return TRACE
    if config.log_level != log_level(cfg.loglevel):
        return LEVELS[config.log_level]
    level: int = log.error_log.level
    return level


def handlers_of(logger: logging.Logger) -> list[logging.Handler]:
    """All handlers that a record of this logger goes through, its own and those that it is propagated to."""
    return [*logger.handlers, *(handler for ancestor in _ancestors(logger) for handler in ancestor.handlers)]


def _ancestors(logger: logging.Logger) -> Iterator[logging.Logger]:
    """The loggers that a record is propagated to."""
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        yield logger


def _has_a_place(logger: logging.Logger, configured: set[str]) -> bool:
    """Whether records have a place to go to, or are meant to go nowhere."""
    if configured:
        return bool(handlers_of(logger)) or not logger.propagate
    if any(each.handlers for each in (logger, logging.getLogger(_PARENT))):
        return True
    return any(each in _shared for each in handlers_of(logger))


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


def _write_once(logger: logging.Logger) -> None:
    """Leave handlers to the logger above where it has all of them, too: one for every logger is usual.

    It goes on to propagate: what the application puts above later (Sentry, OpenTelemetry) has the records as well.
    """
    above = [handler for ancestor in _ancestors(logger) for handler in ancestor.handlers]
    if above and all(handler in logger.handlers for handler in above):
        _drop_repeated(logger)
        _shared[:] = above


def configured_loggers(cfg: GunicornConfig) -> dict[str, bool]:
    """The loggers that the operator's logging configuration names, with whether it says that they propagate."""
    if not (cfg.logconfig_dict or getattr(cfg, "logconfig_json", None) or cfg.logconfig):
        return {}
    # Not at the start: nobody else imports it.
    import configparser

    from uvicorn_worker.logs.log_config import named_loggers, read_log_config

    try:
        if cfg.logconfig_dict:
            return named_loggers(dict(cfg.logconfig_dict))
        if path := getattr(cfg, "logconfig_json", None):
            config = read_log_config(path)
            return named_loggers(config)
        if cfg.logconfig:
            parser = configparser.RawConfigParser()
            with open(cfg.logconfig, encoding="utf-8") as file:
                parser.read_file(file)
            return named_loggers(parser)
    except (ConfigError, OSError, ValueError, configparser.Error):
        # Gunicorn has read it before this process was there; by now it may be gone, or half written.
        pass
    return {}
