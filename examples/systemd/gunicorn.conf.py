"""In /srv/shop, beside app.py: Gunicorn reads it from the working directory.

There is no `bind`: the socket is the one that systemd passes on (LISTEN_FDS).
"""

worker_class = "uvicorn_worker.UvicornWorker"

workers = 2
# Below TimeoutStopSec of the service.
graceful_timeout = 30
# The journal has the time and the process itself.
accesslog = "-"
