#!/usr/bin/env bash
# FastPySGI 0.6: with an ASGI application a server that has nothing to do asks the kernel for events without a pause, and
# takes a whole core, where it has one for itself, for as long as it runs, also before its first request. Whoever measures servers side by side
# measures it in all of them; a machine with several of them idle is not idle.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages fastpysgi==0.6 uvloop==0.23.0
cat >serve.py <<'PY'
import sys

import fastpysgi


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


fastpysgi.server.loglevel = 0
fastpysgi.run(app, "127.0.0.1", int(sys.argv[1]), workers=1)
PY
"$PYTHON" - "$PYTHON" <<'PY' | expect "idle: more than a tenth of a core"
import socket
import subprocess
import sys
import time
import urllib.request


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def share(pid):
    """Of a core, over four seconds in which nothing is asked."""
    before, begun = cpu_seconds(pid), time.monotonic()
    time.sleep(4)
    return (cpu_seconds(pid) - before) / (time.monotonic() - begun)


port = free_port()
server = subprocess.Popen([sys.argv[1], "serve.py", str(port)])
try:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    fresh = share(server.pid)
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").read() == b"ok"
    served = share(server.pid)
finally:
    server.kill()
    server.wait()
words = "more" if min(fresh, served) > 0.1 else "not more"
print(f"idle: {words} than a tenth of a core ({fresh:.0%} before the first request, {served:.0%} after it)")
PY
