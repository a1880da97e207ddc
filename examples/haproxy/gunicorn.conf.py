"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

from uvicorn_worker import UvicornH2CWorker

worker_class = UvicornH2CWorker.configure(
    # After TERM, until HAProxy has seen two health checks fail (haproxy.cfg).
    timeout_drain_delay=5,
)

bind = "127.0.0.1:8000"
workers = 2
# HAProxy, whose X-Forwarded-For is believed.
forwarded_allow_ips = "127.0.0.1"
graceful_timeout = 30
# Above the time after which HAProxy closes idle connections (some of its pool-purge-delay): it closes first.
keepalive = 30
accesslog = "-"
