"""One machine of the cluster; MACHINE is its address, which haproxy.cfg has too."""

import os

from uvicorn_worker import UvicornWorker

# haproxy.cfg asks for /health every half second, and takes a server out at the first failure. Two seconds are enough
# for it to have asked every worker that may answer, and to be told.
worker_class = UvicornWorker.configure(timeout_drain_delay=2)

bind = f"{os.environ.get('MACHINE', '127.0.0.11')}:{os.environ.get('PORT', '8000')}"
workers = 2

# The delay is a part of this. The rest is for requests that run: longer than the longest of them.
graceful_timeout = 12

# Above the time after which HAProxy closes idle connections (some of its pool-purge-delay): it closes first.
keepalive = 30
