"""Gunicorn as the Autobahn testsuite meets it: the defaults, on a free port that the log tells."""

wsgi_app = "tests.conformance.echo:app"
bind = "127.0.0.1:0"
# From Gunicorn 25.1 on, servers of one user would share a socket; earlier ones pass over the name.
control_socket_disable = True
