#!/usr/bin/env bash
# A WebSocket handshake as nginx before 1.29.7 passes it on where its configuration sets Upgrade and Connection, and no
# proxy_http_version: a GET of HTTP/1.0. RFC 9110, 7.8 has servers ignore Upgrade there. Uvicorn 0.54, Gunicorn's own
# worker for ASGI and Granian 2.8 grant it all the same, and nginx takes the answer; Hypercorn 0.18 and h2corn 2.0 answer
# 400. So one such configuration of a proxy works or not by the server behind it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages uvicorn==0.54.0 websockets==17.4 gunicorn==27.0.1 granian==2.8.9 hypercorn==0.18.0 h2corn==2.0.0
cat >app.py <<'PY'
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
PY
"$PYTHON" - "$PYTHON" <<'PY' | expect "uvicorn 101, 101; gunicorn 101, 101; granian 101, 101; hypercorn 101, 400; h2corn 101, 400"
import os
import socket
import subprocess
import sys
import time

PROGRAMS = os.path.dirname(sys.argv[1])
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def commands(port):
    """How each server is started."""
    return {
        "uvicorn": ["uvicorn", "--port", str(port), "app:app"],
        "gunicorn": ["gunicorn", "-k", "asgi", "-b", f"127.0.0.1:{port}", "--no-control-socket", "app:app"],
        "granian": ["granian", "--interface", "asgi", "--port", str(port), "app:app"],
        "hypercorn": ["hypercorn", "--bind", f"127.0.0.1:{port}", "app:app"],
        "h2corn": ["h2corn", "--bind", f"127.0.0.1:{port}", "app:app"],
    }


def status(port, version):
    """What a handshake of this version of HTTP is answered with."""
    for _ in range(200):
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=20)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    fields = ["Host: a", "Upgrade: websocket", "Connection: upgrade", f"Sec-WebSocket-Key: {KEY}"]
    lines = [f"GET / HTTP/{version}", *fields, "Sec-WebSocket-Version: 13", "", ""]
    with client:
        client.sendall("\r\n".join(lines).encode())
        return client.recv(1000).decode("latin-1").split()[1]


def look(name):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    program, *options = commands(port)[name]
    command = [os.path.join(PROGRAMS, program), *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return f"{name} {status(port, '1.1')}, {status(port, '1.0')}"
    finally:
        server.terminate()
        server.wait()


print("; ".join(look(name) for name in commands(0)))
PY
