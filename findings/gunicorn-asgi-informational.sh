#!/usr/bin/env bash
# Gunicorn 27, -k asgi: early hints are a message of its own, `http.response.informational`, which no scope announces; an
# application that sends it, as Gunicorn's guide to HTTP/2 has it, is answered 500 by uvicorn 0.54 and Hypercorn 0.18.
# ASGI's extension for the same, `http.response.early_hint`, is not in its scope.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages gunicorn==27.0.1 uvicorn==0.54.0 hypercorn==0.18.0
cat >hints.py <<'PY'
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    hint = {"type": "http.response.informational", "status": 103, "headers": [(b"link", b"</a.css>; rel=preload")]}
    await send(hint)
    said = " ".join(scope.get("extensions") or {}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-extensions", said or b"none")]})
    await send({"type": "http.response.body", "body": b"ok"})
PY
"$PYTHON" - "$PYTHON" <<'PY' | expect "gunicorn: 103 200 extensions none; uvicorn: 500; hypercorn: 500"
import re
import socket
import subprocess
import sys
import time

COMMANDS = {
    "gunicorn": ["gunicorn", "-k", "asgi", "--no-control-socket", "-b"],
    "uvicorn": ["uvicorn", "--port"],
    "hypercorn": ["hypercorn", "-b"],
}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def ask(port):
    """All that comes of one request, once the server is there."""
    for _ in range(200):
        try:
            with socket.create_connection(("127.0.0.1", port), 20) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: sock.recv(65536), b""))
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def see(name):
    port = free_port()
    place = str(port) if name == "uvicorn" else f"127.0.0.1:{port}"
    command = [sys.argv[1], "-m", *COMMANDS[name], place, "hints:app"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answer = ask(port)
    finally:
        server.terminate()
        server.wait(20)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answer)
    extensions = re.findall(rb"x-extensions: ([\w. ]+)", answer)
    seen = b" ".join(statuses) + b"".join(b" extensions " + each for each in extensions)
    return f"{name}: {seen.decode()}"


print("; ".join(map(see, COMMANDS)))
PY
