"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

bind = "127.0.0.1:8000"
# The notes are in the memory of a worker, so that there is one of them.
workers = 1
accesslog = "-"
