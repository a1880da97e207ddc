"""A tool with progress over both transports, by the SDK's client."""

from __future__ import annotations

import asyncio
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client


async def use(streams) -> None:
    seen = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    async with ClientSession(streams[0], streams[1]) as session:
        await session.initialize()
        assert [tool.name for tool in (await session.list_tools()).tools] == ["hello"]
        answer = await session.call_tool("hello", {"name": "grid"}, progress_callback=progress)
        assert answer.content[0].text == "hello grid"
        assert seen == [1.0], seen


async def main() -> None:
    async with streamable_http_client(f"http://{sys.argv[1]}/mcp") as streams:
        await use(streams)
    async with sse_client(f"http://{sys.argv[1]}/sse") as streams:
        await use(streams)


asyncio.run(main())
