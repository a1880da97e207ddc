#!/usr/bin/env bash
# Gunicorn 27, dirty workers: at TERM the dirty arbiter ends at once, so a request that is still served and calls it then fails.
# The master tells its web workers and the dirty arbiter in the same moment; the web workers have graceful_timeout.
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
import time

from gunicorn.dirty import get_dirty_client


def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("asked", flush=True)
        time.sleep(3)
    try:
        text = str(get_dirty_client().execute("dirty:Adds", "add", 1, 2))
    except Exception as exc:
        text = type(exc).__name__
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text.encode()]
PY
"$PYTHON" - <<'PY' | expect "slow: 3, with TERM meanwhile: DirtyConnectionError"
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

options = ["--bind", "127.0.0.1:0", "--no-control-socket", "--log-file", "first.log", "--graceful-timeout", "20"]
options += ["--dirty-app", "dirty:Adds", "--dirty-workers", "1", "--worker-class", "gthread"]
with open("out.txt", "w") as out:
    master = subprocess.Popen([sys.executable, "-m", "gunicorn", *options, "web:app"], stdout=out, stderr=subprocess.DEVNULL)


def wait_until(look):
    for _ in range(200):
        if seen := look():
            return seen
        time.sleep(0.1)
    raise SystemExit("waited in vain: " + Path("first.log").read_text())


def ask(path):
    with urllib.request.urlopen(address + path, timeout=30) as answer:
        return answer.read().decode()


def listening():
    log = Path("first.log")
    return log.exists() and re.search(r"Listening at: (http://\S+)", log.read_text())


try:
    address = wait_until(listening)[1]
    wait_until(lambda: ask("/") == "3")
    alone = ask("/slow")
    answers = []
    client = threading.Thread(target=lambda: answers.append(ask("/slow")))
    client.start()
    wait_until(lambda: Path("out.txt").read_text().count("asked") == 2)
    master.terminate()
    client.join()
    print(f"slow: {alone}, with TERM meanwhile: {answers[0]}")
finally:
    master.terminate()
    master.wait()
PY
