#!/usr/bin/env bash
# New Relic 14.1: whether a plain ASGI application has transactions depends on the server's name.
# The agent wraps applications in hooks on modules of uvicorn, Hypercorn and Daphne; under any other server there is nothing
# to be seen of the same application, and no word about it in the agent's log.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages newrelic==14.1.0 uvicorn==0.54.0 granian==2.8.0
export NEW_RELIC_DEVELOPER_MODE=true NEW_RELIC_APP_NAME=findings NEW_RELIC_LOG=agent.log
cat > seen.py <<'PY'
from newrelic import agent

agent.initialize()
agent.register_application(timeout=20.0)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    transaction = agent.current_transaction()
    body = b"none" if transaction is None else transaction.path.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
PY
"$PYTHON" - <<'PY' | expect "uvicorn: WebTransaction/Uri/shop, granian: none"
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "seen:app", "--log-level", "error", "--port"],
    "granian": ["-m", "granian", "--interface", "asginl", "--no-access-log", "--log-level", "error", "seen:app", "--port"],
}
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(command):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, *command, str(port)])
    try:
        for _ in range(300):
            try:
                return opener.open(f"http://127.0.0.1:{port}/shop", timeout=20).read().decode()
            except OSError:
                time.sleep(0.1)
        return "not started"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


print(", ".join(f"{name}: {ask(command)}" for name, command in COMMANDS.items()))
PY
