#!/usr/bin/env bash
# Gunicorn 27, gunicornc: `show workers` and `show all` have BOOTED "no" for every worker, also for one that has answered requests.
# A worker notes that it has booted in its own process, after the fork; what the control socket tells is the master's copy.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages gunicorn==27.0.1
export TMPDIR=$FOLDER
cat > web.py <<'PY'
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
PY
"$PYTHON" - <<'PY' | expect "answered: ok, booted: [False]"
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

options = ["--bind", "127.0.0.1:0", "--control-socket", "./g.ctl", "--log-file", "master.log"]
master = subprocess.Popen([sys.executable, "-m", "gunicorn", *options, "web:app"])


def wait_until(look):
    for _ in range(200):
        if seen := look():
            return seen
        time.sleep(0.1)
    raise SystemExit("waited in vain: " + Path("master.log").read_text())


def listening():
    log = Path("master.log")
    return log.exists() and re.search(r"Listening at: (http://\S+)", log.read_text())


def workers():
    command = [sys.executable, "-m", "gunicorn.ctl.cli", "-s", "./g.ctl", "-c", "show workers", "--json"]
    asked = subprocess.run(command, capture_output=True, text=True)
    return json.loads(asked.stdout)["workers"] if asked.returncode == 0 else None


try:
    address = wait_until(listening)[1]
    with urllib.request.urlopen(address, timeout=30) as answer:
        body = answer.read().decode()
    time.sleep(2)
    print(f"answered: {body}, booted: {[each['booted'] for each in wait_until(workers)]}")
finally:
    master.terminate()
    master.wait()
PY
