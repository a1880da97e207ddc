"""Gunicorn's settings, and what becomes of each under this worker.

Where Gunicorn has a word for something, Gunicorn's setting rules; the options that it has no word for come from
the environment and from pyproject.toml, and code may override anything. A setting that the installed Gunicorn
lacks counts as unset. Each setting has one row in one of the tables here, from which the documentation is made.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gunicorn.config import KNOWN_SETTINGS, AccessLogFormat

from uvicorn_worker.core.config import OPTIONS, RULES, Config
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.option_rules import is_access_log_format
from uvicorn_worker.core.rules import split_list
from uvicorn_worker.core.sources import Given, from_outside
from uvicorn_worker.core.uvicorn_names import ALIASES
from uvicorn_worker.core.uvicorn_names import MASTERS as UVICORN_MASTERS
from uvicorn_worker.logs.levels import LEVELS
from uvicorn_worker.worker.remarks import (
    Say,
    remarks_on_code,
    remarks_on_config,
    remarks_on_outside,
    remarks_on_settings,
)
from uvicorn_worker.worker.ssl_context import context_factory, oldest_version

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = [
    "HONOURED",
    "MASTERS",
    "NOT_OURS",
    "REFUSED",
    "ROWS",
    "Row",
    "config_from_settings",
    "gunicorns_form",
    "log_level",
    "refuse_unsupported",
    "usual_values",
]

# What Gunicorn has chosen for workers that hold a thread or more for each connection.
_DEFAULT_CONNECTIONS = 1000

# Gunicorn takes this many header fields where limit_request_fields is 0.
_MOST_FIELDS = 32768

# What stands for no limit on the head of an HTTP/2 request.
_LARGEST_HEAD = 2**24

CODE = "CONFIG_KWARGS of the worker class"

_SETTINGS: dict[str, Any] = {setting.name: setting for setting in KNOWN_SETTINGS}


def _same(value: Any) -> Any:
    return value


def log_level(loglevel: str) -> str:
    """The option log_level for Gunicorn's loglevel; a word that Gunicorn does not know means `info` to it."""
    name = loglevel.lower()
    return name if name in LEVELS else "info"


def gunicorns_form(cfg: GunicornConfig) -> str:
    """The form of Gunicorn's access lines: its default, too, where the setting is one that no line can be made of.

    Such ones are about, as in aiohttp's spelling, %r for %(r)s: uvicorn's worker does not look at them.
    """
    access_log_format: str = cfg.access_log_format
    default: str = AccessLogFormat.default
    return access_log_format if is_access_log_format(access_log_format) else default


def _unless_default(access_log_format: str) -> str | None:
    """Gunicorn's own default is no wish: lines on uvicorn.access keep uvicorn's form then."""
    is_wish = access_log_format != AccessLogFormat.default and is_access_log_format(access_log_format)
    return access_log_format if is_wish else None


def _proxy_mode(value: Any) -> Any:
    """A flag before Gunicorn 24.1."""
    return ("auto" if value else "off") if isinstance(value, bool) else value


class Row:
    """One Gunicorn setting, the option that it becomes, and how its value is turned into the option's."""

    __slots__ = ("by_hand", "convert", "note", "option", "setting")

    def __init__(
        self,
        setting: str,
        option: str,
        convert: Callable[[Any], Any] = _same,
        note: str = "",
        *,
        by_hand: bool = False,
    ) -> None:
        self.setting = setting
        self.option = option
        self.convert = convert
        self.note = note
        # Whether it counts only where it was set, be it to its default; else the environment and pyproject.toml count.
        self.by_hand = by_hand


ROWS = (
    Row("backlog", "backlog"),
    Row("keepalive", "timeout_keep_alive"),
    Row("graceful_timeout", "timeout_graceful_shutdown"),
    Row(
        "worker_connections",
        "limit_connections",
        lambda connections: None if connections == _DEFAULT_CONNECTIONS else connections,
        "1000, the default, counts as unset: no limit",
    ),
    Row("threads", "threads", lambda threads: threads if threads > 1 else None, "1, the default, counts as unset"),
    Row(
        "limit_request_line",
        "limit_request_line",
        note="where it was set by hand: its default is less than the 8000 bytes that RFC 9112, 3 recommends",
        by_hand=True,
    ),
    Row("limit_request_fields", "limit_request_fields", lambda fields: fields or _MOST_FIELDS, "0: 32768"),
    Row("limit_request_field_size", "limit_request_field_size"),
    Row("root_path", "root_path"),
    Row("asgi_loop", "loop"),
    Row("asgi_lifespan", "lifespan"),
    Row("websocket_max_message_size", "ws_max_size"),
    Row("http_protocols", "http2", lambda protocols: "on" if "h2" in protocols else "off", "on where h2 is named"),
    Row("http2_cleartext", "http2_cleartext"),
    Row("http2_max_concurrent_streams", "http2_max_concurrent_streams"),
    Row(
        "http2_initial_window_size",
        "http2_initial_window_size",
        note="where it was set by hand: its default of 65535 is one byte less than the many bodies of 64 KiB",
        by_hand=True,
    ),
    Row("http2_max_frame_size", "http2_max_frame_size"),
    Row("http2_max_header_list_size", "http2_max_header_list_size", lambda size: size or _LARGEST_HEAD, "0: 16 MiB"),
    Row("loglevel", "log_level", log_level, "`trace` is known here, and `info` to Gunicorn itself"),
    Row(
        "access_log_format",
        "access_log_format",
        _unless_default,
        "Gunicorn's default counts as unset, and so does a format that no line can be made of",
    ),
    Row("certfile", "ssl_certfile"),
    Row("keyfile", "ssl_keyfile"),
    Row("ca_certs", "ssl_ca_certs"),
    Row("cert_reqs", "ssl_cert_reqs"),
    Row("ciphers", "ssl_ciphers"),
    Row("ssl_version", "ssl_version", oldest_version, "the oldest version: TLS, TLSv1_2 or TLSv1_3"),
    Row("forwarded_allow_ips", "forwarded_allow_ips", lambda ips: [*ips, "unix"], "`unix` is always added"),
    Row("secure_scheme_headers", "secure_scheme_headers"),
    Row("forwarder_headers", "forwarder_headers"),
    Row("header_map", "header_map"),
    Row("proxy_protocol", "proxy_protocol", _proxy_mode, "each connection must begin with a header; True: `auto`"),
    Row("proxy_allow_ips", "proxy_allow_ips", lambda ips: [*ips, "unix"], "`unix` is always added"),
    Row(
        "asgi_disconnect_grace_period",
        "timeout_disconnect",
        note="where it was set by hand: its default was chosen for Gunicorn's own ASGI worker",
        by_hand=True,
    ),
    Row("permit_unconventional_http_method", "permit_unconventional_http_method"),
    Row("casefold_http_method", "casefold_http_method"),
    Row("permit_unconventional_http_version", "permit_unconventional_http_version"),
    Row("permit_obsolete_folding", "permit_obsolete_folding"),
    Row("strip_header_spaces", "strip_header_spaces"),
    Row("sendfile", "sendfile", note="also by the environment variable `SENDFILE`, as in Gunicorn"),
)


def usual_values(config: Config) -> dict[str, Any]:
    """What Gunicorn's defaults become, of the options that are not what they are by their own."""
    return {
        row.option: row.convert(_SETTINGS[row.setting]().get())
        for row in ROWS
        if row.setting in _SETTINGS and getattr(config, row.option) != OPTIONS.default(row.option)
    }


# What the worker does itself with a setting that is no option.
HONOURED = {
    "wsgi_app": "the application: `module:app`, or `module:factory()`",
    "max_requests": "`limit_max_requests`; Gunicorn draws the jitter",
    "max_requests_jitter": "see `max_requests`",
    "timeout": "a worker whose event loop gives no heartbeat for so long is replaced; see `timeout_notify`",
    "preload_app": "the application is loaded in the master; no loop, thread or socket is made before the fork",
    "reload": "each change of a file restarts the worker; an application that can't be loaded is shown as a page",
    "reload_engine": "see `reload`",
    "reload_extra_files": "see `reload`",
    "reuse_port": "each worker has a listening socket, and an accept queue, of its own; one more stays with the master",
    "raw_env": "also a place for `UVICORN_*` options: `--env UVICORN_WS=none`",
    "chdir": "also where pyproject.toml is looked for",
    "worker_tmp_dir": "where the heartbeat file lives",
    "accesslog": "access lines are written for each request and each WebSocket",
    "errorlog": "what the server core logs on `uvicorn.error` goes here",
    "logger_class": "its `access()` is called with objects that give every atom",
    "logconfig": "may name the loggers `uvicorn.error` and `uvicorn.access` too",
    "logconfig_dict": "as `logconfig`",
    "logconfig_json": "as `logconfig`",
    "capture_output": "as with every worker",
    "disable_redirect_access_to_syslog": "honoured",
    "syslog": "honoured",
    "syslog_addr": "honoured",
    "syslog_facility": "honoured",
    "syslog_prefix": "honoured",
    "statsd_host": "request metrics are sent, with and without an access log",
    "statsd_prefix": "see `statsd_host`",
    "dogstatsd_tags": "see `statsd_host`",
    "suppress_ragged_eofs": "no effect: a request that was cut off is never run, whether the client said so or not",
    "do_handshake_on_connect": "no effect: the handshake always begins when the connection is accepted",
    "ssl_context": "called in each worker, and again when the files have changed; an error in it ends the start",
    "pre_request": "called before the application",
    "post_request": "called when the application is done with the request",
    "post_worker_init": "called once the application is loaded",
    "worker_int": "called at `INT` and `QUIT`",
    "worker_abort": "called at `ABRT`",
    "worker_exit": "called after the lifespan shutdown",
}

# What Gunicorn's master does, whatever the worker is.
MASTERS = (
    "bind", "check_config", "child_exit", "config", "control_socket", "control_socket_disable", "control_socket_mode",
    "daemon", "default_proc_name", "dirty_apps", "dirty_graceful_timeout", "dirty_post_fork", "dirty_threads",
    "dirty_timeout", "dirty_worker_exit", "dirty_worker_init", "dirty_workers", "enable_backlog_metric",
    "enable_stdio_inheritance", "group", "initgroups", "nworkers_changed", "on_dirty_starting", "on_exit", "on_reload",
    "on_starting", "paste", "pidfile", "post_fork", "pre_exec", "pre_fork", "print_config", "proc_name", "pythonpath",
    "raw_paste_global_conf", "spew", "umask", "user", "when_ready", "worker_class", "workers",
)  # fmt: skip

# What belongs to other workers of Gunicorn, and has no effect here.
NOT_OURS = {
    "http_parser": "it chooses among the parsers of Gunicorn's own ASGI worker; see the option `http`",
    "tolerate_dangerous_framing": "of Gunicorn 22 alone: a message whose end is in doubt is always refused here",
    "tmp_upload_dir": "request bodies are never written to files",
    "uwsgi_allow_ips": "the uwsgi protocol is refused, see `protocol`",
}

# Settings that change what arrives on a connection: serving without them would misread it, so they stop the start. The
# setting, the values that are fine, and what to do.
REFUSED = (("protocol", ("http", None), "only HTTP is spoken here: set protocol to http"),)


def refuse_unsupported(cfg: GunicornConfig) -> None:
    """Raise `ConfigError` for a setting that this worker can't honour and must not ignore."""
    for setting, fine, what_to_do in REFUSED:
        value = _get(cfg, setting)
        if value not in fine:
            raise ConfigError(f"Gunicorn setting {setting} = {value!r}: {what_to_do}")


# The settings that have the word for an option without being a plain row.
_WORDS = {
    "app": "wsgi_app",
    "limit_max_requests": "max_requests",
    "limit_max_requests_jitter": "max_requests_jitter",
    "access_log": "accesslog",
    "ssl_context_factory": "ssl_context",
}


def config_from_settings(
    cfg: GunicornConfig,
    app: Any,
    max_requests: int,
    overrides: Mapping[str, Any],
    say: Say | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """The `Config` of a worker: code first, then the environment and pyproject.toml, then Gunicorn's settings.

    `max_requests` is the number that Gunicorn drew for this worker, jitter included. `say` is told, a line each,
    of options that were given and don't count. `defaults` are those of the worker class: they take the place of
    Gunicorn's. Raises `ConfigError`.
    """
    refuse_unsupported(cfg)
    defaults = defaults or {}
    options: dict[str, Any] = {**defaults}
    words = {option: setting for option, setting in _WORDS.items() if setting in cfg.settings}
    for row in ROWS:
        if row.setting in cfg.settings and (not row.by_hand or _set_by_hand(cfg, row.setting)):
            words[row.option] = row.setting
            value = _value_of(cfg, row.setting)
            is_default = row.option in defaults and value == type(cfg.settings[row.setting])().get()
            if value is not None and not is_default:
                options[row.option] = row.convert(value)
    if max_requests < sys.maxsize:
        options["limit_max_requests"] = max_requests
    if cfg.is_ssl or overrides.get("ssl_certfile"):
        options["ssl_context_factory"] = context_factory(cfg)
    options = OPTIONS.check_all(options, "Gunicorn's settings")
    outside = from_outside()
    for name, given in outside.options.items():
        if name not in words and OPTIONS.is_given(name, given.value):
            options[name] = given.value
    config = Config(**{**options, **check_overrides(overrides), "app": app})
    if config.log_config is not None:
        from uvicorn_worker.logs.log_config import read_log_config

        read_log_config(config.log_config)
    asked, config = config.timeout_notify, _within_timeout(cfg, config)
    if say is not None:
        for remarks in (
            remarks_on_settings(cfg),
            remarks_on_outside(cfg, outside, words, config),
            remarks_on_code(cfg, overrides, CODE),
            remarks_on_config(config),
        ):
            for level, line in remarks:
                say(level, line)
        if asked != config.timeout_notify:
            say(
                logging.INFO,
                f"option timeout_notify = {asked!r}: more than half of Gunicorn's timeout = {cfg.timeout}, so there is "
                f"a heartbeat every {config.timeout_notify:g} seconds",
            )
    return config


def _value_of(cfg: GunicornConfig, setting: str) -> Any:
    """The value of a setting, where Gunicorn's own word is another one.

    For `sendfile` it is no wherever that was set, be it to True.
    """
    if setting == "sendfile" and cfg.settings[setting].get():
        return True
    if setting == "forwarded_allow_ips" and not _set_by_hand(cfg, setting):
        # Gunicorn has asked when it was imported; what env_file or raw_env says has come since.
        proxies = os.environ.get("FORWARDED_ALLOW_IPS")
        return getattr(cfg, setting) if proxies is None else split_list(proxies)
    return getattr(cfg, setting)


def _within_timeout(cfg: GunicornConfig, config: Config) -> Config:
    """With heartbeats that are frequent enough; uvicorn's default for their pause is Gunicorn's for the timeout."""
    if cfg.timeout and (config.timeout_notify or 0) > cfg.timeout / 2:
        return replace(config, timeout_notify=cfg.timeout / 4)
    return config


def check_overrides(overrides: Mapping[str, Any], source: str = CODE) -> dict[str, Any]:
    """The options among those that code gives, as `Config` holds them.

    What uvicorn knows and the master sees to is left out, and so is the application: it is gunicorn that is told of it.
    Raises `ConfigError`.
    """
    ours = {}
    for written, value in overrides.items():
        name = ALIASES.get(written, written)
        if name in UVICORN_MASTERS or name == "app":
            continue
        if name not in RULES and name in _SETTINGS:
            raise ConfigError(f"option {name} (from {source}): is a setting of Gunicorn's, and to be set there")
        ours[name] = value
    return OPTIONS.check_all(ours, source)


def outer_options() -> dict[str, Given]:
    """The options that are given outside of code; the environment wins over pyproject.toml. Raises `ConfigError`."""
    return from_outside().options


def _set_by_hand(cfg: GunicornConfig, name: str) -> bool:
    """Whether a setting has another value than its default, or is named by the configuration or the command line."""
    setting = cfg.settings[name]
    if setting.get() != type(setting)().get():
        return True
    # Where Gunicorn has loaded its configuration file or, with `-c python:module`, the module.
    module = str(cfg.config or "").removeprefix("python:")
    if any(hasattr(sys.modules.get(each), name) for each in ("__config__", module)):
        return True
    words = [*sys.argv[1:], *shlex.split(os.environ.get("GUNICORN_CMD_ARGS", ""))]
    return any(word.partition("=")[0] in (setting.cli or ()) for word in words)


def _get(cfg: GunicornConfig, setting: str) -> Any:
    return getattr(cfg, setting) if setting in cfg.settings else None
