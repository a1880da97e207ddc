"""The Gunicorn door: worker classes for `gunicorn -k`; with the master the only room that imports Gunicorn."""

from uvicorn_worker.worker.worker import UvicornH2CWorker, UvicornH11Worker, UvicornWorker

__all__ = ["UvicornH2CWorker", "UvicornH11Worker", "UvicornWorker"]
