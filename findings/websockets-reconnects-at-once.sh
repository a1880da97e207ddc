#!/usr/bin/env bash
# websockets 15: `async for ws in connect(...)` reconnects without a pause after a close of a connection that was opened.
# Its backoff counts failed handshakes only. A server that accepts and closes with 1012 (service restart) is asked again
# within a millisecond or two, by all of its clients.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages websockets==15.0.1
"$PYTHON" - <<'PY' | expect "ten connections within a second: True"
import asyncio
import time

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def main():
    times = []

    async def restart(ws):
        times.append(time.monotonic())
        await ws.close(1012, "restart")

    async with serve(restart, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def client():
            async for ws in connect(f"ws://127.0.0.1:{port}", proxy=None):
                try:
                    await ws.recv()
                except ConnectionClosed:
                    if len(times) >= 10:
                        return

        await asyncio.wait_for(client(), 30)
    print(f"ten connections within a second: {times[9] - times[0] < 1}")


asyncio.run(main())
PY
