"""Gunicorn reads this file from the working directory: `gunicorn shop.asgi:application` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

bind = "127.0.0.1:8000"
# The rooms are in the memory of one process: see CHANNEL_LAYERS.
workers = 1
accesslog = "-"
