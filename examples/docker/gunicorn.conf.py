"""In the image, beside the application: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

bind = "0.0.0.0:8000"
# Workers: WEB_CONCURRENCY, given to the container; os.cpu_count() would count the machine's cores, not the container's.
# Below the patience of `docker stop` (10 seconds, or its --time).
graceful_timeout = 8
# The heartbeat file: /tmp may be on a disk that blocks.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - it is meant to be memory, and Gunicorn unlinks the file at once
accesslog = "-"
