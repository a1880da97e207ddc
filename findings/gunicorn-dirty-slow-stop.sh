#!/usr/bin/env bash
# Gunicorn 27, dirty workers, Python 3.12 and newer: once a dirty worker was called, TERM takes all of graceful_timeout, though nothing runs.
# The dirty arbiter says that it exits and does not: since 3.12 Server.wait_closed() of asyncio waits for connections, too. Before, a stop takes a moment.
PYTHON3=${PYTHON3:-$(command -v python3.14 || command -v python3.13 || command -v python3.12)}
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages gunicorn==27.0.1
export TMPDIR=$FOLDER
cat > dirty.py <<'PY'
from gunicorn.dirty.app import DirtyApp


class Adds(DirtyApp):
    def init(self):
        pass

    def add(self, a, b):
        return a + b

    def close(self):
        pass
PY
cat > web.py <<'PY'
from gunicorn.dirty import get_dirty_client


def app(environ, start_response):
    text = str(get_dirty_client().execute("dirty:Adds", "add", 1, 2)) if environ["PATH_INFO"] == "/calls" else "ok"
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text.encode()]
PY
"$PYTHON" - <<'PY' | expect "/idle: ok, a short stop; /calls: 3, a stop of all of graceful_timeout"
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

GRACE = 8


def stopped_behind(path):
    log = Path(f"{path[1:]}.log")
    options = ["--bind", "127.0.0.1:0", "--no-control-socket", "--log-file", str(log), "--graceful-timeout", str(GRACE)]
    options += ["--dirty-app", "dirty:Adds", "--dirty-workers", "1", "--worker-class", "gthread"]
    master = subprocess.Popen([sys.executable, "-m", "gunicorn", *options, "web:app"])
    try:
        for _ in range(200):
            text = log.read_text() if log.exists() else ""
            if "Dirty worker" in text and "listening on" in text.partition("Dirty worker")[2]:
                break
            time.sleep(0.1)
        address = re.search(r"Listening at: (http://\S+)", text)[1]
        with urllib.request.urlopen(address + path, timeout=30) as answer:
            body = answer.read().decode()
        begun = time.monotonic()
        master.terminate()
        master.wait()
        return f"{path}: {body}, a " + ("stop of all of graceful_timeout" if time.monotonic() - begun >= GRACE else "short stop")
    finally:
        master.kill()


print("; ".join(map(stopped_behind, ("/idle", "/calls"))))
PY
