"""Gunicorn reads this file from the working directory, beside what the Procfile says."""

# Heroku's router keeps quiet connections for 90 seconds. Keeping them longer than that leaves closing them to the
# router, so that it never sends a request on a connection that is being closed here.
keepalive = 100

# A dyno is killed 30 seconds after it was asked to stop.
graceful_timeout = 25
