"""Names that uvicorn's users have and that are no options of a server: what belongs to the master, or to a command.

Such a name never stops a start. It says nothing to the server; the Gunicorn setting that does the same is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["ALIASES", "MASTERS", "made_by_kubernetes"]

# uvicorn's name, and the Gunicorn setting that rules in its place.
MASTERS: Mapping[str, str] = {
    "host": "bind",
    "port": "bind",
    "uds": "bind",
    "fd": "bind",
    "workers": "workers",
    "worker_class": "worker_class",
    "reload": "reload",
    "reload_dirs": "reload_extra_files",
    "reload_includes": "reload_extra_files",
    "reload_excludes": "reload_extra_files",
    "reload_delay": "reload_engine",
    "app_dir": "pythonpath",
    "timeout_worker_healthcheck": "timeout",
    # Not an option, but an argument of the command, which images set to the version that they install.
    "version": "",
}

# How the command line calls what may be given several times.
ALIASES: Mapping[str, str] = {
    "header": "headers",
    "reload_dir": "reload_dirs",
    "reload_include": "reload_includes",
    "reload_exclude": "reload_excludes",
}

_SERVICE = r"(?:_\w+)?_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
_ADDRESS = r"(?:tcp|udp|sctp)://.*"


def made_by_kubernetes(rest: str, value: str) -> bool:
    """Whether a variable, of which `rest` follows UVICORN, is one of a service called uvicorn or uvicorn-something."""
    if re.fullmatch(_SERVICE, rest, re.ASCII):
        return True
    return rest.endswith("_PORT") and re.fullmatch(_ADDRESS, value, re.ASCII) is not None
