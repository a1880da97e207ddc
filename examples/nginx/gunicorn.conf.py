"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

# Whoever may open the socket is believed what it says of the client: see umask.
bind = "unix:gunicorn.sock"
# Group and owner may connect: nginx runs in the group.
umask = 0o007
workers = 2
# Above the keepalive_timeout of nginx.
keepalive = 5
accesslog = "-"
