#!/usr/bin/env bash
# Gunicorn 27, dirty workers: of two masters with one proc_name, as of a service on two ports, each ends the other's dirty arbiter, again and again.
# Its PID file is in the temporary folder, by proc_name alone, and the process in it is taken for one whose master has crashed. Web
# workers don't learn where the next arbiter listens. Another proc_name, or another TMPDIR, for each avoids it.
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
    try:
        text = str(get_dirty_client().execute("dirty:Adds", "add", 1, 2))
    except Exception as exc:
        text = type(exc).__name__
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text.encode()]
PY
"$PYTHON" - <<'PY' | expect "the first alone: 3, with the second there: DirtyConnectionError; started again and again: True"
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def start(name):
    options = ["--bind", "127.0.0.1:0", "--no-control-socket", "--log-file", f"{name}.log"]
    options += ["--dirty-app", "dirty:Adds", "--dirty-workers", "1"]
    return subprocess.Popen([sys.executable, "-m", "gunicorn", *options, "web:app"], stderr=subprocess.DEVNULL)


def found(name, pattern):
    for _ in range(200):
        log = Path(f"{name}.log")
        if log.exists() and (match := re.search(pattern, log.read_text())):
            return match[1]
        time.sleep(0.1)
    raise SystemExit(f"waited for {pattern}: {log.read_text()}")


def ask(name):
    with urllib.request.urlopen(found(name, r"Listening at: (http://\S+)"), timeout=20) as answer:
        return answer.read().decode()


masters = [start("first")]
try:
    found("first", "(Booting worker)")
    for _ in range(100):
        if (alone := ask("first")) == "3":
            break
        time.sleep(0.1)
    masters.append(start("second"))
    found("second", "(Booting worker)")
    time.sleep(5)
    again = sum(Path(f"{name}.log").read_text().count("Spawned dirty") for name in ("first", "second")) > 2
    print(f"the first alone: {alone}, with the second there: {ask('first')}; started again and again: {again}")
finally:
    for master in masters:
        master.terminate()
        master.wait()
PY
