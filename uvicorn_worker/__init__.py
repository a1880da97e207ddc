"""ASGI workers for Gunicorn around an embedded asyncio server core.

The server and the workers are resolved on first use, so that `Config` and `Server` can be used without Gunicorn,
`UvicornH11Worker` where no C extension is installed, and each room without those above it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.errors import AppLoadError, BindError, ConfigError, LifespanError, UvicornWorkerError
from uvicorn_worker.core.imports import without_garbage_search

if TYPE_CHECKING:
    # Those of `_PARALLELS` are named here for what reads imports and does not run them: PyInstaller, Nuitka, cx_Freeze.
    from uvicorn_worker import config as config
    from uvicorn_worker import importer as importer
    from uvicorn_worker import lifespan as lifespan
    from uvicorn_worker import logging as logging
    from uvicorn_worker import middleware as middleware
    from uvicorn_worker import protocols as protocols
    from uvicorn_worker import server as server
    from uvicorn_worker import supervisors as supervisors
    from uvicorn_worker import types as types
    from uvicorn_worker import workers as workers
    from uvicorn_worker.cli import run
    from uvicorn_worker.main import main
    from uvicorn_worker.master import Application
    from uvicorn_worker.server import Config, Server, ServerState
    from uvicorn_worker.worker import UvicornH2CWorker, UvicornH11Worker, UvicornWorker

__version__ = "1.0.0"

__all__ = [
    "AppLoadError",
    "Application",
    "BindError",
    "Config",
    "ConfigError",
    "LifespanError",
    "Server",
    "ServerState",
    "UvicornH2CWorker",
    "UvicornH11Worker",
    "UvicornWorker",
    "UvicornWorkerError",
    "main",
    "run",
]

# Modules that are where uvicorn has them: `import uvicorn_worker as uvicorn` has uvicorn.config.LOGGING_CONFIG.
_PARALLELS = (
    "config",
    "importer",
    "lifespan",
    "logging",
    "main",
    "middleware",
    "protocols",
    "server",
    "supervisors",
    "types",
    "workers",
)


def __getattr__(name: str) -> Any:
    if name in ("Config", "Server", "ServerState"):
        from uvicorn_worker import server

        return getattr(server, name)
    if name == "Application":
        from uvicorn_worker.master import Application

        return Application
    if name == "run":
        from uvicorn_worker.cli import run

        return run
    if name in ("UvicornWorker", "UvicornH11Worker", "UvicornH2CWorker"):
        with without_garbage_search():
            from uvicorn_worker import worker

        return getattr(worker, name)
    if name in _PARALLELS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
