"""The worker classes, where uvicorn had them: `-k uvicorn_worker.workers.UvicornWorker`."""

from uvicorn_worker.server import Config, Server
from uvicorn_worker.worker import UvicornH2CWorker, UvicornH11Worker, UvicornWorker

__all__ = ["Config", "Server", "UvicornH2CWorker", "UvicornH11Worker", "UvicornWorker"]
