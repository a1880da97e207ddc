"""Who is told of each response under Gunicorn: its access log, uvicorn.access, statsd, a logger of the operator's own.

All of it is settled once, when the worker begins to serve: what comes of it is one function, or none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger, SafeAtoms

from uvicorn_worker.core.config import Config
from uvicorn_worker.core.log import escaped
from uvicorn_worker.core.runtime import AccessHook, CycleView
from uvicorn_worker.logs.access_log import line_hook, quiet_paths, record_maker, uvicorn_hook, uvicorn_record_maker
from uvicorn_worker.logs.atoms import Atoms, compile_line, make_environ
from uvicorn_worker.logs.guards import guard_handlers
from uvicorn_worker.logs.line_forms import gunicorn_forms
from uvicorn_worker.logs.piped_handlers import unblock_handlers
from uvicorn_worker.worker.loggers import adopt_loggers, configured_loggers, follows_gunicorn, handlers_of
from uvicorn_worker.worker.settings import gunicorns_form
from uvicorn_worker.worker.statsd import metrics_hook, statsd_class
from uvicorn_worker.worker.views import Fields, RequestView, ResponseView

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["access_hook"]


def access_hook(log: Any, cfg: GunicornConfig, config: Config) -> AccessHook | None:
    """What is called for each response; None where nobody is to be told.

    To be called when the application has started, since applications change loggers.
    """
    adopt_loggers(log, cfg, config)
    # Those of the application too.
    guard_handlers()
    unblock_handlers()
    access = getattr(log.access, "__func__", None)
    others: AccessHook | None = None
    statsd = statsd_class()
    by_statsd = None if statsd is None else statsd.access
    if access is not None and access is by_statsd:
        others = metrics_hook(log)
    elif access is not Logger.access and config.access_log:
        others = _calls_with_objects(log.access)
    is_gunicorns = access is not None and access in (Logger.access, by_statsd)
    lines = _lines_hook(log, cfg, config, is_gunicorns) if config.access_log else None
    if lines is not None:
        lines = quiet_paths(lines, config)
    return _all_of([each for each in (lines, others) if each is not None])


def _lines_hook(log: Any, cfg: GunicornConfig, config: Config, is_gunicorns: bool) -> AccessHook | None:
    """Write lines on gunicorn.access, unless a logger class of the operator's does that, or on uvicorn.access.

    A logger uvicorn.access that leads where Gunicorn's does stands for it: the lines have Gunicorn's form then. As soon
    as it leads elsewhere, or its handlers were given formatters or filters, the lines are uvicorn's. On both there is a
    line only where the operator's configuration gives both a place.
    """
    ours = logging.getLogger("uvicorn.access")
    configured = {"uvicorn.access", "uvicorn"} & set(configured_loggers(cfg))
    if not configured and _is_silenced(ours):
        return None
    writes_gunicorns = is_gunicorns and _is_enabled(log, cfg)
    if follows_gunicorn(ours.name):
        if is_gunicorns and not writes_gunicorns and log.access_log.handlers:
            # Of a logger class, which Gunicorn's settings say nothing of: as under uvicorn's worker.
            return uvicorn_hook(ours, config)
        hook = _line_hook(log, config.access_log_format or gunicorns_form(cfg)) if writes_gunicorns else None
        return _filtered_hook(hook, ours, config) if hook is not None and ours.filters else hook
    lines: list[AccessHook] = []
    if configured and writes_gunicorns and not _is_repeated(log.access_log, ours):
        lines.append(_line_hook(log, config.access_log_format or gunicorns_form(cfg)))
    if handlers_of(ours) and ours.isEnabledFor(logging.INFO):
        lines.append(uvicorn_hook(ours, config))
    return _all_of(lines)


def _all_of(hooks: list[AccessHook]) -> AccessHook | None:
    if len(hooks) <= 1:
        return hooks[0] if hooks else None

    def call_all(cycle: CycleView) -> None:
        for hook in hooks:
            hook(cycle)

    return call_all


def _is_silenced(logger: logging.Logger) -> bool:
    """Whether the application has switched the logger off; the root logger's level does not count."""
    level = logger.level or logging.getLogger("uvicorn").level
    return logger.disabled or level > logging.INFO


def _is_enabled(log: Any, cfg: GunicornConfig) -> bool:
    """Whether Gunicorn's settings ask for access lines, and there is a handler to write them."""
    if not log.access_log.hasHandlers():
        return False
    # Gunicorn 23 has no such property.
    enabled = getattr(log, "access_log_enabled", None)
    if enabled is None:
        to_syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
        enabled = cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or getattr(cfg, "logconfig_json", None)
        enabled = enabled or to_syslog
    return bool(enabled)


def _is_repeated(theirs: logging.Logger, ours: logging.Logger) -> bool:
    """Whether the lines of gunicorn.access would all come out where those of uvicorn.access do."""
    own = handlers_of(ours)
    return bool(own) and all(handler in own for handler in handlers_of(theirs))


def _filtered_hook(hook: AccessHook, ours: logging.Logger, config: Config) -> AccessHook:
    """The filters that an application has put on uvicorn.access hold for Gunicorn's access log in its place."""
    make_record = uvicorn_record_maker(ours.name, config)

    def call_unless_filtered(cycle: CycleView) -> None:
        if ours.filter(make_record(cycle, time.monotonic() - cycle.started)):
            hook(cycle)

    return call_unless_filtered


# Gunicorn's logger ---------------------------------------------------------------------------------------------


def _line_hook(log: Any, access_log_format: str) -> AccessHook:
    """Write Gunicorn's line for each response."""
    kind = type(log)
    if kind.atoms is Logger.atoms and kind.atoms_wrapper_class is SafeAtoms and kind.now is Logger.now:
        return _compiled_hook(log.access_log, access_log_format)
    return _calls_with_objects(lambda *objects: Logger.access(log, *objects), for_lines=True)


def _compiled_hook(logger: logging.Logger, access_log_format: str) -> AccessHook:
    make_line = compile_line(access_log_format)
    make_record = record_maker(logger.name, access_log_format)

    def make(cycle: CycleView, elapsed: float) -> logging.LogRecord:
        return make_record(make_line(cycle, elapsed), Atoms(cycle, elapsed))

    return line_hook(logger, gunicorn_forms(logger.name, access_log_format), make)


def _calls_with_objects(access: Callable[[Any, Any, Any, timedelta], Any], for_lines: bool = False) -> AccessHook:
    """Call the `access` of a Gunicorn logger, with objects that carry everything; `for_lines`, as it is logged."""

    def log_access(cycle: CycleView) -> None:
        elapsed = timedelta(seconds=time.monotonic() - cycle.started)
        scope, target = cycle.scope, cycle.target
        response = ResponseView(cycle.status, cycle.response_headers, cycle.body_sent)
        request, environ = RequestView(scope, target), make_environ(scope, target)
        if for_lines:
            request.headers = Fields((name, escaped(value)) for name, value in request.headers)
            environ = {name: escaped(value) for name, value in environ.items()}
            response.headers = Fields((name, escaped(value)) for name, value in response.headers)
        access(response, request, environ, elapsed)

    return log_access
