"""What is said, once and before the fork, of options that were given and from which nothing follows.

A value that does not differ from what Gunicorn does is told at debug level, another at info level, and a name of
nothing as a warning: it is a mistake, or was meant for something else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.config import OPTIONS, RULES, Config
from uvicorn_worker.core.option_rules import is_access_log_format
from uvicorn_worker.core.options import DOCS
from uvicorn_worker.core.rules import FLAG, no_addresses, split_list
from uvicorn_worker.core.sources import Found, Given
from uvicorn_worker.core.uvicorn_names import ALIASES, MASTERS
from uvicorn_worker.http1.parsers import lenient_httptools, options_for_h11
from uvicorn_worker.server.env_file import missing_env_files

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["Say", "remarks_on_code", "remarks_on_config", "remarks_on_outside", "remarks_on_settings"]

Say = Callable[[int, str], None]
"""Takes a level and a line; Gunicorn's `log.log` is one."""

Remark = tuple[int, str]

# How many unknown names are listed.
_MOST_NAMES = 10


def remarks_on_settings(cfg: GunicornConfig) -> Iterator[Remark]:
    """On Gunicorn's settings, those that can't be honoured as they are."""
    if not is_access_log_format(cfg.access_log_format):
        yield (
            logging.WARNING,
            (
                f"Gunicorn setting access_log_format = {cfg.access_log_format!r}: no line can be made of it, so access "
                "lines have their usual form; atoms are written as in '%(h)s %(r)s %(s)s'"
            ),
        )


def remarks_on_outside(
    cfg: GunicornConfig, outside: Found, words: Mapping[str, str], config: Config
) -> Iterator[Remark]:
    """On the environment and pyproject.toml. `words` leads from an option to the Gunicorn setting for it."""
    for problem in outside.problems:
        yield logging.WARNING, problem
    if outside.unknown:
        names = [_with_hint(*pair) for pair in outside.unknown[:_MOST_NAMES]]
        more = len(outside.unknown) - len(names)
        listed = ", ".join([*names, f"and {more} more"] if more > 0 else names)
        yield logging.WARNING, f"unknown options, ignored: {listed}; {DOCS}"
    if outside.kubernetes:
        yield logging.DEBUG, f"no options, but made by Kubernetes for a service: {', '.join(outside.kubernetes)}"
    for name, given in outside.masters.items():
        yield _on_masters(cfg, name, given)
    for name, given in outside.options.items():
        if name in words:
            level = logging.DEBUG if _is_used(cfg, config, name, given) else logging.INFO
            line = f"option {name} (from {given.source}) is not used: set {words[name]} in Gunicorn instead"
            yield level, line
        else:
            yield from _on_value(name, given)


def remarks_on_code(cfg: GunicornConfig, options: Mapping[str, Any], source: str) -> Iterator[Remark]:
    """On options as they were written in code, all of which are known."""
    for written, value in options.items():
        name, given = ALIASES.get(written, written), Given(value, source, value)
        if value is None:
            continue
        if name == "app":
            yield logging.INFO, f"option app (from {source}) has no effect: name the application to gunicorn instead"
        elif name in MASTERS:
            yield _on_masters(cfg, name, given)
        else:
            yield from _on_value(name, given)


def remarks_on_config(config: Config) -> Iterator[Remark]:
    """On what the options come to."""
    for name in ("forwarded_allow_ips", "proxy_allow_ips"):
        for item in no_addresses(getattr(config, name)):
            yield logging.WARNING, f"option {name}: {item!r} is no address and no network, and matches nobody"
    for line in missing_env_files(config.env_file):
        yield logging.WARNING, line
    if config.http != "h11" and (asked := options_for_h11(config)):
        yield logging.INFO, f"option {asked[0]} = True: requests are read with h11, as httptools can't do that"
    if config.http in ("auto", "httptools") and lenient_httptools():
        yield logging.INFO, "requests are read with h11: httptools before 0.6.3 takes what requests are smuggled with"
    if config.use_colors is not None and config.log_config is None:
        yield logging.INFO, "option use_colors has no effect without log_config: a formatter of Gunicorn's says it"


def _with_hint(name: str, written: str) -> str:
    near = OPTIONS.nearest(name)
    return f"{written[:60]} (did you mean {near}?)" if near else written[:60]


def _on_value(name: str, given: Given) -> Iterator[Remark]:
    """On the value of an option that counts."""
    word = str(given.written).strip().lower()
    if word in RULES[name].stand_ins:
        stand_in = RULES[name].stand_ins[word]
        yield (
            logging.DEBUG,
            f"option {name} = {word!r} (from {given.source}): {name} = {stand_in!r} serves in its place",
        )


def _on_masters(cfg: GunicornConfig, name: str, given: Given) -> Remark:
    setting = MASTERS[name]
    line = f"option {name} = {OPTIONS.shown(name, given.value)} (from {given.source}) has no effect"
    if setting:
        line += f": Gunicorn's {setting} = {OPTIONS.shown(setting, _held(cfg, setting))} rules"
    return logging.DEBUG if not setting or _masters_has(cfg, name, given.value) else logging.INFO, line


def _held(cfg: GunicornConfig, setting: str) -> Any:
    if setting not in cfg.settings:
        return None
    return cfg.worker_class_str if setting == "worker_class" else getattr(cfg, setting)


def _masters_has(cfg: GunicornConfig, name: str, value: Any) -> bool:
    """Whether Gunicorn does what the value asks for."""
    text = str(value).strip()
    addresses = cfg.address
    if name in ("host", "port"):
        index = ("host", "port").index(name)
        return any(isinstance(address, tuple) and str(address[index]) == text for address in addresses)
    if name in ("uds", "fd"):
        return any(not isinstance(address, tuple) and str(address) == text for address in addresses)
    if name == "reload":
        try:
            return bool(FLAG.take(value)) == bool(cfg.reload)
        except ValueError:
            return False
    if name in ("workers", "worker_class"):
        return str(_held(cfg, name)) == text
    # The rest refines what is asked for elsewhere: it matters only where Gunicorn reloads, or has no such list.
    return bool(not value or (name.startswith("reload_") and not cfg.reload))


def _is_used(cfg: GunicornConfig, config: Config, name: str, given: Given) -> bool:
    """Whether the option has this value all the same."""
    if name == "app":
        return str(given.value) in (cfg.wsgi_app, cfg.default_proc_name)
    if name == "access_log":
        return bool(given.value) == bool(cfg.accesslog)
    if name == "limit_max_requests":
        return bool((given.value or 0) == cfg.max_requests)
    if name == "limit_max_requests_jitter":
        return bool(given.value == cfg.max_requests_jitter)
    value = getattr(config, name)
    if name == "forwarded_allow_ips":
        return {*split_list(given.value), "unix"} == {*split_list(value), "unix"}
    return bool(value == given.value)
