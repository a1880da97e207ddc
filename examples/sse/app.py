"""Server-sent events that miss nothing: a page that reconnects is sent what came meanwhile.

The numbers are made from the clock, so that each worker, and the one after a reload, knows the same ones. A real
service keeps its events where all workers find them: a database, a Redis stream.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, StreamingResponse
from starlette.routing import Route

HERE = Path(__file__).parent

# An event every so many seconds; its number counts them from 1970 on.
STEP = 0.25


async def page(request: Request) -> FileResponse:
    return FileResponse(HERE / "index.html")


async def events(request: Request) -> StreamingResponse:
    # Sent by the browser itself when it connects again.
    last = request.headers.get("last-event-id", "")
    number = int(last) if last.isascii() and last.isdigit() else int(time.time() / STEP) - 1
    return StreamingResponse(
        lines(number),
        media_type="text/event-stream",
        # nginx passes each event on at once by this. The HTML standard asks that no cache keeps them.
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


async def lines(number: int) -> AsyncIterator[str]:
    # After the end of a connection the browser waits for so many milliseconds, instead of its own few seconds.
    yield "retry: 200\n\n"
    while True:
        while number < int(time.time() / STEP):
            number += 1
            yield f"id: {number}\ndata: {number}\n\n"
        # Where the page is closed, and at a reload or a stop, the generator is cancelled here.
        await asyncio.sleep(STEP)


app = Starlette(routes=[Route("/", page), Route("/events", events)])
