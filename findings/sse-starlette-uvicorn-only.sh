#!/usr/bin/env bash
# sse-starlette 3.0: it learns of the server's stop by replacing a method of uvicorn's class, and in no other way.
# Importing it changes uvicorn.main.Server.handle_exit for the whole process. Under another server nothing calls it, so
# that streams are not told; and where uvicorn is not installed, that is said at level debug alone.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages sse-starlette==3.0.2 uvicorn==0.38.0 starlette==0.48.0
"$PYTHON" - <<'PY' | expect "method replaced: True, told by SIGTERM under another server: False"
import signal

from uvicorn.main import Server

before = Server.handle_exit
from sse_starlette.sse import AppStatus


class OtherServer:
    should_exit = False

    def handle_exit(self, signum, frame):
        self.should_exit = True


other = OtherServer()
signal.signal(signal.SIGTERM, other.handle_exit)
signal.raise_signal(signal.SIGTERM)
assert other.should_exit
print(f"method replaced: {Server.handle_exit is not before}, told by SIGTERM under another server: {AppStatus.should_exit}")
PY
