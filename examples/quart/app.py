"""A counter of visits: a template, a stream, a WebSocket, and a task in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, Response, render_template_string, request, websocket

app = Quart(__name__)
app.config["MAX_CONTENT_LENGTH"] = 16 * 1024 * 1024

PAGE = "<!doctype html><title>Visits</title><p>Hello {{ name }}, you are visit number {{ number }}.</p>"


@app.before_serving
async def begin() -> None:
    """What lives as long as the worker is made here, in its event loop."""
    app.visits = 0  # type: ignore[attr-defined]
    app.visited = asyncio.Event()  # type: ignore[attr-defined]


async def note() -> None:
    app.visited.set()  # type: ignore[attr-defined]
    app.visited = asyncio.Event()  # type: ignore[attr-defined]


@app.get("/")
async def root() -> str:
    app.visits += 1  # type: ignore[attr-defined]
    # It runs beside the answer, and the stop waits for it.
    app.add_background_task(note)
    name = request.args.get("name", "world")
    return await render_template_string(PAGE, name=name, number=app.visits)  # type: ignore[attr-defined]


@app.post("/length")
async def length() -> dict[str, int]:
    """The body is counted as it comes, and never as a whole in memory."""
    return {"bytes": sum([len(piece) async for piece in request.body])}


@app.get("/visits")
async def visits() -> Response:
    async def events() -> AsyncIterator[str]:
        yield f"data: {app.visits}\n\n"  # type: ignore[attr-defined]
        while True:
            await app.visited.wait()  # type: ignore[attr-defined]
            yield f"data: {app.visits}\n\n"  # type: ignore[attr-defined]

    response = Response(events(), content_type="text/event-stream")
    # Quart ends a response after a minute, unless it is told not to.
    response.timeout = None
    return response


@app.websocket("/echo")
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())
