"""`main`, `run` and `Server`, where uvicorn has them.

uvicorn's package has the command under the name of this module, too: so the module can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from uvicorn_worker.cli import run
from uvicorn_worker.cli.command import main
from uvicorn_worker.cli.run import STARTUP_FAILURE
from uvicorn_worker.logs.formatters import LOG_LEVELS, LOGGING_CONFIG
from uvicorn_worker.server import Config, Server

__all__ = ["LOGGING_CONFIG", "LOG_LEVELS", "STARTUP_FAILURE", "Config", "Server", "main", "run"]


class _Command(ModuleType):
    def __call__(self, *args: Any) -> None:
        main(*args)


sys.modules[__name__].__class__ = _Command
