"""Events and their answers over each of the transports."""

from __future__ import annotations

import asyncio
import sys

import socketio


async def main() -> None:
    for transports in (["polling"], ["websocket"], ["polling", "websocket"]):
        later = asyncio.get_running_loop().create_future()
        async with socketio.AsyncSimpleClient() as client:
            await client.connect(f"http://{sys.argv[1]}", transports=transports)
            assert await client.call("echo", "hello", timeout=20) == "hello"
            assert await client.receive(timeout=20) == ["later", "hello"]
        later.cancel()


asyncio.run(main())
print("disconnect background")
