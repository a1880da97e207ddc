"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

from uvicorn_worker import UvicornWorker

worker_class = UvicornWorker.configure(
    # For Prometheus, never for clients: any of the workers answers for all of them.
    metrics_bind="127.0.0.1:9464",
)

bind = "127.0.0.1:8000"
workers = 4
