"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

from uvicorn_worker import UvicornWorker

worker_class = UvicornWorker.configure(
    # Bytes: more is answered with 413, before it is read where the client says how much it is.
    limit_request_body=2 * 1024**3,
    # Seconds without a byte of the body, after which the client is given up.
    timeout_request_body=30,
)

bind = "127.0.0.1:8000"
workers = 2
accesslog = "-"
