"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

bind = "127.0.0.1:8000"
# The count is in the memory of a worker.
workers = 1
accesslog = "-"
