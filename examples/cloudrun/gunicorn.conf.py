"""In the image, beside the application: `gunicorn app:app` is all it takes."""

import os

# Cloud Run sends HTTP/2 in cleartext where it is told to (--use-http2), and HTTP/1.1 otherwise; this class takes both.
worker_class = "uvicorn_worker.UvicornH2CWorker"

bind = f"0.0.0.0:{os.environ.get('PORT', '8080')}"
# One for each vCPU of the instance.
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
# Nobody but Google's front end can reach the container: it says who the client is, and that it came by HTTPS.
forwarded_allow_ips = "*"
# Longer than the front end keeps a quiet connection, so that it never sends a request on one that is being closed here.
keepalive = 620
# KILL comes 10 seconds after TERM.
graceful_timeout = 8
# The heartbeat file: the disk of an instance is its memory anyway, and this is the part of it that never blocks.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - it is meant to be memory, and Gunicorn unlinks the file at once
accesslog = "-"
