"""A chat room: a page, and a WebSocket for each page that is open."""

import asyncio
from contextlib import suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

HERE = Path(__file__).parent

# An inbox for each page. The room is in the memory of one process: see `workers` in gunicorn.conf.py.
room: set[asyncio.Queue[str]] = set()


async def page(request: Request) -> FileResponse:
    return FileResponse(HERE / "index.html")


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    # A page that does not keep up misses messages; it neither holds up the others, nor fills the memory.
    inbox: asyncio.Queue[str] = asyncio.Queue(maxsize=100)
    room.add(inbox)
    delivery = asyncio.create_task(deliver(websocket, inbox))
    try:
        # Ends when the page is closed, or when the server stops.
        async for text in websocket.iter_text():
            say(text)
    finally:
        room.discard(inbox)
        delivery.cancel()


def say(text: str) -> None:
    for inbox in room:
        with suppress(asyncio.QueueFull):
            inbox.put_nowait(text)


async def deliver(websocket: WebSocket, inbox: asyncio.Queue[str]) -> None:
    with suppress(WebSocketDisconnect):
        while True:
            # Waits while the client does not read.
            await websocket.send_text(await inbox.get())


app = Starlette(routes=[Route("/", page), WebSocketRoute("/chat", chat)])
