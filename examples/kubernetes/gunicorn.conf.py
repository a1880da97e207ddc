"""In the image, beside the application. The numbers belong to those in deployment.yaml."""

from uvicorn_worker import UvicornWorker

worker_class = UvicornWorker.configure(
    # From TERM until every proxy of the cluster has taken the pod out of its endpoints. Both begin at the same moment,
    # and nobody says when the second is done: a few seconds, in large clusters more.
    timeout_drain_delay=10,
    # A worker that has grown too large is replaced by Gunicorn, long before the memory limit of the container kills it.
    limit_max_memory=180,
)

bind = "0.0.0.0:8000"
# Workers: WEB_CONCURRENCY in deployment.yaml.

# The delay (10), the longest request (26), and time for the lifespan shutdown (4).
graceful_timeout = 40
# A worker whose event loop stands still for so long is replaced. It has nothing to do with graceful_timeout.
timeout = 30
# Longer than the ingress keeps idle connections: 60 seconds for ingress-nginx and for AWS ALB, 600 for GKE.
keepalive = 65

# The heartbeat file: /tmp may be on a disk that blocks.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - it is meant to be memory, and Gunicorn unlinks the file at once
# stdout, for the cluster to collect.
accesslog = "-"
