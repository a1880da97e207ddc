"""What the command has beside the options of `Config`: of Gunicorn's master, and words for several options at once."""

from __future__ import annotations

import re
from typing import Any

from uvicorn_worker.cli.dev_cert import dev_certificate
from uvicorn_worker.cli.masters import Master, parse_settings
from uvicorn_worker.core.errors import ConfigError
from uvicorn_worker.core.log import write_stderr
from uvicorn_worker.logs.json_lines import JSON_CONFIG

__all__ = ["listed", "master_of", "special"]


def listed(given: dict[str, Any]) -> dict[str, Any]:
    """What was given of the command's parameters: the others are None or empty. What may be several is a list."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if value is not None and value != ()
    }


def master_of(line: dict[str, Any]) -> Master:
    """Take what is for Gunicorn alone from the command line."""
    mode = line.pop("uds_permissions", None)
    if mode is not None and not re.fullmatch(r"0?o?[0-7]{3}", mode):
        raise ConfigError(f"option uds_permissions = {mode!r}: must be three octal digits, as in 660")
    return Master(
        settings=dict(parse_settings(line.pop("gunicorn", []))),
        config_file=line.pop("config", None),
        worker_class=line.pop("worker_class", None),
        preload=bool(line.pop("preload", False)),
        pid_file=line.pop("pid_file", None),
        uds_mode=None if mode is None else int(mode.replace("o", ""), 8),
    )


def special(line: dict[str, Any], options: dict[str, Any], sources: dict[str, str]) -> None:
    """Options of the command that say several options of the server."""
    if options.pop("dev_cert", None):
        path = str(dev_certificate(options.get("host")))
        options |= {"ssl_certfile": path, "ssl_keyfile": None}
        options.setdefault("http2", "on")
        sources |= {"ssl_certfile": "--dev-cert", "http2": sources.get("http2", "--dev-cert")}
        write_stderr(f"The certificate of --dev-cert is {path}; a browser has to be told once that it is yours.\n")
    if str(options.get("http")).lower() == "h2":
        sources["http2"] = sources["http"]
    log_format = options.pop("log_format", None)
    if log_format == "json" and "log_config" not in options:
        options["log_config"] = JSON_CONFIG
        sources["log_config"] = "--log-format"
    for names in (line, options, sources):
        names.pop("dev_cert", None)
        names.pop("log_format", None)
