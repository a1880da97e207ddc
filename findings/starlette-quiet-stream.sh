#!/usr/bin/env bash
# Starlette 0.48: whether a quiet StreamingResponse ends with its client depends on the server's spec_version.
# Up to ASGI 2.3 it listens for http.disconnect while it streams. From 2.4 on it relies on send() to raise, so that a
# stream that has nothing to send outlives its client for as long as it is quiet.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages starlette==0.48.0
"$PYTHON" - <<'PY' | expect "2.3 ended, 2.4 still running"
import asyncio

from starlette.responses import StreamingResponse


async def quiet():
    yield b"x"
    await asyncio.sleep(3600)


async def run(version):
    async def receive():
        await asyncio.sleep(0.1)
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"version": "3.0", "spec_version": version}}
    try:
        await asyncio.wait_for(StreamingResponse(quiet())(scope, receive, send), 2)
        return f"{version} ended"
    except asyncio.TimeoutError:
        return f"{version} still running"


print(", ".join(asyncio.run(run(version)) for version in ("2.3", "2.4")))
PY
