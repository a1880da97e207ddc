"""What the command prints instead of serving: the options with their sources, and files to start from."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from uvicorn_worker.core import config as core
from uvicorn_worker.core.config import OPTIONS
from uvicorn_worker.server import Config
from uvicorn_worker.server.binding import hosts_of
from uvicorn_worker.server.config import PLACES
from uvicorn_worker.tls.asked import tls_is_on

__all__ = ["nginx_file", "options_table", "systemd_unit"]

# What a service manager adds to the time of a graceful stop before it kills.
_MARGIN_SECONDS = 5
_GRACEFUL_SECONDS = 30


def options_table(config: Config, sources: Mapping[str, str]) -> str:
    """A line for each option, as TOML that `[tool.uvicorn]` takes; what is None is a comment."""
    places = [*PLACES, "app_dir", "reload_dirs", "reload_includes", "reload_excludes", "reload_delay"]
    names = ["app", *places, *(item.name for item in fields(core.Config) if item.name != "app")]
    lines = []
    for name in names:
        value = getattr(config, name)
        lines.append((f"{'# ' if value is None else ''}{name} = {_toml(name, value)}", sources.get(name, "default")))
    width = min(max(len(line) for line, _ in lines), 60)
    return "\n".join(f"{line:<{width}}  # {source}" for line, source in lines) + "\n"


def _toml(name: str, value: Any) -> str:
    if value is None:
        return "none"
    text = OPTIONS.shown(name, value)
    if text == "...":
        return '"..."'
    if isinstance(value, (str, bool, int, float, list, tuple)):
        return json.dumps(value, default=str)
    if isinstance(value, Mapping) and name != "log_config":
        return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(each)}" for key, each in value.items()) + " }"
    return json.dumps(text)


def systemd_unit(config: Config, arguments: list[str]) -> str:
    """A unit that starts this command line."""
    several = config.workers > 1
    seconds = config.timeout_graceful_shutdown
    stop = int(_GRACEFUL_SECONDS if seconds is None else seconds) + _MARGIN_SECONDS
    line = " ".join(shlex.quote(word).replace("%", "%%").replace("$", "$$") for word in arguments)
    return "\n".join(
        [
            "# /etc/systemd/system/app.service, to start from: say who runs it, then",
            "#   systemctl daemon-reload && systemctl enable --now app",
            "[Unit]",
            "Description=An ASGI application, served by uvicorn-worker",
            "After=network.target",
            "",
            "[Service]",
            # Gunicorn tells systemd when it listens.
            f"Type={'notify' if several else 'exec'}",
            "# User=www-data",
            f"WorkingDirectory={os.getcwd()}",
            f"ExecStart={sys.executable} -m uvicorn_worker {line}".rstrip(),
            *(["ExecReload=/bin/kill -s HUP $MAINPID"] if several else []),
            "# TERM goes to the master, which waits for its workers; what is left is killed.",
            "KillMode=mixed",
            f"TimeoutStopSec={stop}",
            "Restart=on-failure",
            "PrivateTmp=true",
            "NoNewPrivileges=true",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def nginx_file(config: Config) -> str:
    """A server of nginx in front of this one; it belongs inside of `http { }`."""
    return "\n".join(_nginx(config)) + "\n"


def _nginx(config: Config) -> Iterator[str]:
    secure = tls_is_on(config)
    if config.uds is not None:
        address = f"unix:{os.path.abspath(config.uds)}"
    else:
        (first, *_) = hosts_of(config.host)
        host = "127.0.0.1" if first in (None, "0.0.0.0", "::") else first
        address = f"[{host}]:{config.port}" if ":" in str(host) else f"{host}:{config.port}"
    yield "# /etc/nginx/conf.d/app.conf, to start from: say the name, and add certificates."
    yield "map $http_upgrade $app_connection {"
    yield "    default upgrade;"
    # With an empty field the connection to the application is kept.
    yield '    "" "";'
    yield "}"
    yield ""
    yield "upstream app {"
    yield f"    server {address} fail_timeout=0;"
    yield "    keepalive 32;"
    yield f"    # Less than timeout_keep_alive, {config.timeout_keep_alive:g} s, so that nginx is the first to close."
    yield f"    keepalive_timeout {max(int(config.timeout_keep_alive) - 1, 1)}s;"
    yield "}"
    yield ""
    yield "server {"
    yield "    listen 80;"
    yield "    server_name example.com;"
    if config.limit_request_body is not None:
        yield f"    client_max_body_size {config.limit_request_body};"
    else:
        yield "    client_max_body_size 10m;"
    yield ""
    yield "    location / {"
    yield f"        proxy_pass {'https' if secure else 'http'}://app;"
    yield "        proxy_http_version 1.1;"
    yield "        proxy_set_header Upgrade $http_upgrade;"
    yield "        proxy_set_header Connection $app_connection;"
    yield "        proxy_set_header Host $http_host;"
    yield "        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    yield "        proxy_set_header X-Forwarded-Proto $scheme;"
    yield "        # Server-sent events, long polls and quiet WebSockets."
    yield "        proxy_read_timeout 3600s;"
    yield "        # Requests that were not sent yet go to the next one; others are not repeated."
    yield "        proxy_next_upstream error;"
    yield "    }"
    yield "}"
