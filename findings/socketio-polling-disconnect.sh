#!/usr/bin/env bash
# python-socketio 5.18: disconnect() of a client that polls waits for its long poll to end.
# The client tells the server that it leaves, and then waits until its own long poll has ended, which the server does not
# answer for that: it ends with the next ping. Over a WebSocket it takes no time.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages python-socketio==5.18.1 aiohttp uvicorn==0.54.0
"$PYTHON" - <<'PY' | expect "polling: more than 3 seconds, websocket: at once"
import asyncio
import os
import socket
import time

import socketio
import uvicorn

# The ping is every 5 seconds here, and not every 25, so that it does not take that long to see.
server = socketio.AsyncServer(async_mode="asgi", ping_interval=5)


async def leave(port, transport):
    client = socketio.AsyncClient()
    await client.connect(f"http://127.0.0.1:{port}", transports=[transport])
    started = time.monotonic()
    await client.disconnect()
    return f"{transport}: {'more than 3 seconds' if time.monotonic() - started > 3 else 'at once'}"


async def main():
    config = uvicorn.Config(socketio.ASGIApp(server), log_level="error")
    serving = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    serving_task = asyncio.ensure_future(serving.serve([listener]))
    while not serving.started:
        await asyncio.sleep(0.01)
    port = listener.getsockname()[1]
    print(", ".join([await leave(port, transport) for transport in ("polling", "websocket")]), flush=True)
    # Its own end does not matter here.
    os._exit(0)


asyncio.run(asyncio.wait_for(main(), 60))
PY
