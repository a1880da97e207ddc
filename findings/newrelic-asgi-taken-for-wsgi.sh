#!/usr/bin/env bash
# New Relic 14.1 under Gunicorn 27: an application wrapped by the agent's ASGIApplicationWrapper is wrapped as WSGI on top.
# Its hook on Gunicorn leaves coroutine functions alone, but what its own wrapper makes of an instance is none. Gunicorn's asgi
# worker then calls (scope, receive, send), which the WSGI wrapper can't take: each request is a 500.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages newrelic==14.1.0 gunicorn==27.0.1
export NEW_RELIC_DEVELOPER_MODE=true NEW_RELIC_APP_NAME=findings NEW_RELIC_LOG=agent.log
cat > seen.py <<'PY'
from newrelic import agent

agent.initialize()


class Instance:
    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})


app = Instance()
wrapped = agent.ASGIApplicationWrapper(app)
PY
"$PYTHON" - <<'PY' | expect "app: 200, wrapped: 500"
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(name):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["-k", "asgi", "-b", f"127.0.0.1:{port}", "--no-control-socket", "--log-level", "critical"]
    # The agent's hooks are set before Gunicorn is imported, as newrelic-admin does it.
    start = "from newrelic import agent; agent.initialize(); from gunicorn.app.wsgiapp import run; run()"
    server = subprocess.Popen([sys.executable, "-c", start, *options, f"seen:{name}"])
    try:
        for _ in range(300):
            try:
                return opener.open(f"http://127.0.0.1:{port}/", timeout=20).status
            except urllib.error.HTTPError as exc:
                return exc.code
            except OSError:
                time.sleep(0.1)
        return "not started"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


print(f"app: {ask('app')}, wrapped: {ask('wrapped')}")
PY
