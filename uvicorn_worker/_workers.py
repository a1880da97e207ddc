"""The module of PyPI's uvicorn-worker that has its classes: some import them from here."""

from uvicorn_worker.worker import UvicornH11Worker, UvicornWorker

__all__ = ["UvicornH11Worker", "UvicornWorker"]
