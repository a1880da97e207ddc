"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

bind = "127.0.0.1:8000"
workers = 2
# A stream is told to end when half of this is over, and cancelled at its end.
graceful_timeout = 4
accesslog = "-"
