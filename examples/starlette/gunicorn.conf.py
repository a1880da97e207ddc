"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

bind = "127.0.0.1:8000"
workers = 2
accesslog = "-"
