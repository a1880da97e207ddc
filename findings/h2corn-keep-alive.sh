#!/usr/bin/env bash
# h2corn 2.0: an idle keep-alive connection of HTTP/1.1 is closed after --timeout-request-header (10 s by default), however
# long --timeout-keep-alive is (120 s by default). Behind a balancer that keeps connections for longer, raising the second
# one alone does not help: the server goes on closing first.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages h2corn==2.0.0
cat >app.py <<'PY'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
PY
"$PYTHON" - "$PYTHON" <<'PY' | expect "header 2 s, keep-alive 60 s: closed; header 60 s, keep-alive 60 s: open"
import os
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def connected(port):
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=8)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise SystemExit("h2corn does not listen")


def look(header):
    """What becomes of a connection that is idle for eight seconds after one answer."""
    port = free_port()
    command = [os.path.join(os.path.dirname(sys.argv[1]), "h2corn"), "--bind", f"127.0.0.1:{port}", "--no-access-log"]
    command += ["--lifespan", "off", "--timeout-request-header", str(header), "--timeout-keep-alive", "60", "app:app"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connected(port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += client.recv(1000)
            try:
                state = "closed" if client.recv(1) == b"" else "something came"
            except TimeoutError:
                state = "open"
    finally:
        server.terminate()
        server.wait()
    return f"header {header} s, keep-alive 60 s: {state}"


print("; ".join(look(header) for header in (2, 60)))
PY
