#!/usr/bin/env bash
# Gunicorn 23: `--check-config` does not load a worker class that is named by a string.
# A name that leads nowhere passes the check with exit code 0, and only ends the start that follows.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages gunicorn==23.0.0
echo 'def app(environ, start_response): start_response("200 OK", []); return [b""]' > page.py
code=0
"$PYTHON" -m gunicorn --check-config --worker-class no_such_module.Worker page:app 2>/dev/null || code=$?
started=0
timeout 20 "$PYTHON" -m gunicorn --bind 127.0.0.1:0 --worker-class no_such_module.Worker page:app 2>/dev/null || started=$?
echo "check: $code, start: $started" | expect "check: 0, start: 1"
