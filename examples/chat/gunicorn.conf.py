"""Gunicorn reads this file from the working directory: `gunicorn app:app` is all it takes."""

worker_class = "uvicorn_worker.UvicornWorker"

# nginx.conf has this address.
bind = "127.0.0.1:8000"
# The room is in the memory of one process. For more, let the processes exchange the messages (Redis, a database).
workers = 1

# At a stop each WebSocket is closed with code 1012 and its answer is waited for, this many seconds at most.
graceful_timeout = 10

# One line when a WebSocket opens, with the status 101.
accesslog = "-"
# Above the time for which nginx keeps idle connections (60 seconds): it closes first.
keepalive = 75
