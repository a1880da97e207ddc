"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

# Behind a proxy on the same machine. To be reached from elsewhere: 0.0.0.0:8000.
bind = "127.0.0.1:8000"
# One process a core is a good start. Here two, so that the example is the same on every machine.
workers = 2

# A worker whose event loop stands still for this many seconds is killed and replaced.
timeout = 30
# Seconds that a stopping worker waits for running requests. Keep what starts Gunicorn (systemd, Docker) more patient.
graceful_timeout = 30
# Seconds that a quiet connection is kept open. Keep it above the idle timeout of the proxy in front.
keepalive = 5

# Workers are replaced after this many requests, not all at the same moment. Keeps slow memory leaks in bounds.
max_requests = 10_000
max_requests_jitter = 1_000

# "-": access log to stdout, error log to stderr. %(D)s is the time of the request in microseconds.
accesslog = "-"
errorlog = "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(D)s'
