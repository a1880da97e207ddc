"""python-socketio, by polling and by WebSocket, beside Starlette's routes."""

from __future__ import annotations

import socketio
import starlette_grid
from common import event

server = socketio.AsyncServer(async_mode="asgi")


@server.event
async def connect(sid, environ, auth) -> None:
    event("connect", environ["asgi.scope"]["type"])


@server.event
async def echo(sid, text: str) -> str:
    async def note() -> None:
        event("background")
        await server.emit("later", text, to=sid)

    server.start_background_task(note)
    return text


@server.event
async def disconnect(sid, reason) -> None:
    event("disconnect", reason)


app = socketio.ASGIApp(server, starlette_grid.app)
