"""A master that replaces workers without a gap: Gunicorn's arbiter, and a launcher for it."""

from uvicorn_worker.master.application import Application
from uvicorn_worker.master.arbiter import Arbiter

__all__ = ["Application", "Arbiter"]
