"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

from uvicorn_worker import UvicornWorker

worker_class = UvicornWorker.configure(
    # For Prometheus, never for clients: any of the workers answers for all of them.
    metrics_bind="127.0.0.1:9464",
    # Counted apart, beside all the rest; /slow may take its time before the log tells of it.
    log_slow_requests=2,
    paths={"/slow": {"log_slow_requests": 10}, "/error": {}},
)

bind = "127.0.0.1:8000"
workers = 4
