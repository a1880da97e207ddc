#!/usr/bin/env bash
# Gunicorn 27: a worker that leaves ends the daemons that the master has started by multiprocessing.
# After the fork the worker has multiprocessing's list of the master's children, and Python ends the daemons of that list at exit.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages gunicorn==27.0.1
cat > gunicorn.conf.py <<'PY'
import multiprocessing
import os
import time

bind = "127.0.0.1:0"
errorlog = "error.log"


def help_out():
    time.sleep(60)


def on_starting(server):
    helper = multiprocessing.get_context("fork").Process(target=help_out, daemon=True)
    helper.start()
    with open("helper", "w") as file:
        file.write(str(helper.pid))


def post_worker_init(worker):
    with open("workers", "a") as file:
        file.write("booted ")


def worker_exit(server, worker):
    with open("workers", "a") as file:
        file.write("left ")

PY
cat > hello.py <<'PY'
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
PY
"$PYTHON" - <<'PY' | expect "alive before the reload: True, after: False"
import signal
import subprocess
import sys
import time
from pathlib import Path


def wait_for(words):
    for _ in range(200):
        if Path("workers").exists() and Path("workers").read_text().count(words) >= 1:
            return
        time.sleep(0.1)
    raise SystemExit(f"waited for {words}: " + Path("error.log").read_text())


def alive():
    try:
        return Path(f"/proc/{Path('helper').read_text()}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


master = subprocess.Popen([sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "hello:app"], stderr=subprocess.DEVNULL)
try:
    wait_for("booted")
    before = alive()
    master.send_signal(signal.SIGHUP)
    wait_for("left")
    time.sleep(2)
    print(f"alive before the reload: {before}, after: {alive()}")
finally:
    master.terminate()
    master.wait()
PY
