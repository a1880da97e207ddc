"""`run()` and the command `uvicorn-worker`: this process serves, or Gunicorn with our workers."""

from uvicorn_worker.cli.run import run

__all__ = ["run"]
