#!/usr/bin/env bash
# Bottle 0.13 and dulwich 1.2: a chunked body is decoded by the application, although the server (here Gunicorn 27) has done that and says so by
# `wsgi.input_terminated`. Bottle answers 400, and a `git push` to dulwich's application fails with 500 once it is longer than
# git's `http.postBuffer`, 1 MiB, from where on git sends it in chunks.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages gunicorn==27.0.1 bottle==0.13.4 dulwich==1.2.21
cat > served.py <<'PY'
import os

import bottle
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

web = bottle.Bottle()
web.post("/upload", callback=lambda: str(len(bottle.request.body.read())))
git = make_wsgi_chain(DictBackend({"/r": Repo.init_bare("r", mkdir=True)}))


def app(environ, start_response):
    return (web if environ["PATH_INFO"] == "/upload" else git)(environ, start_response)
PY
cat > look.py <<'PY'
import http.client
import socket
import subprocess
import sys
import time

command = [sys.executable, "-m", "gunicorn", "served:app", "-b", "unix:socket", "--log-level", "critical"]
server = subprocess.Popen(command, stderr=subprocess.DEVNULL)


def status(path, chunked):
    connection = http.client.HTTPConnection("localhost")
    for _ in range(100):
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect("socket")
            break
        except OSError:
            time.sleep(0.1)
    headers = {"Content-Type": "application/x-git-upload-pack-request"}
    connection.request("POST", path, iter([b"0000"]) if chunked else b"0000", headers, encode_chunked=chunked)
    return connection.getresponse().status


try:
    for name, path in ("Bottle", "/upload"), ("dulwich", "/r/git-upload-pack"):
        print(f"{name}: with a length {status(path, False)}, in chunks {status(path, True)};", end=" ")
finally:
    server.terminate()
    server.wait()
PY
"$PYTHON" look.py | expect "Bottle: with a length 200, in chunks 400; dulwich: with a length 200, in chunks 500;"
