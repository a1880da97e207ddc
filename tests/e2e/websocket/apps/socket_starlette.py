"""WebSockets in Starlette."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from eventlog import event
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"clients": set()}


class Echo(WebSocketEndpoint):
    encoding = "text"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: str) -> None:
        await websocket.send_text(data)

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        event("disconnect", close_code)


async def json(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol="json")
    async for message in websocket.iter_json():
        await websocket.send_json({"got": message, "room": websocket.path_params["room"]})


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    clients = websocket.state.clients
    clients.add(websocket)
    await websocket.send_text(f"{len(clients)} here")
    try:
        while True:
            text = await websocket.receive_text()
            for client in list(clients):
                await client.send_text(text)
    except WebSocketDisconnect as exc:
        clients.remove(websocket)
        event("left", f"{exc.code} {exc.reason}")


async def inspect(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(
        {
            "url": str(websocket.url.replace(netloc="")),
            "agent": websocket.headers["x-agent"],
            "cookies": websocket.cookies,
            "offered": websocket.scope["subprotocols"],
            "host": websocket.client.host if websocket.client else None,
        }
    )
    await websocket.close(4001, "seen enough")


async def private(websocket: WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"error": "who are you?"}, status_code=401))


async def closed(websocket: WebSocket) -> None:
    await websocket.close()


app = Starlette(
    routes=[
        WebSocketRoute("/echo", Echo),
        WebSocketRoute("/json/{room}", json),
        WebSocketRoute("/chat", chat),
        WebSocketRoute("/inspect", inspect),
        WebSocketRoute("/private", private),
        WebSocketRoute("/closed", closed),
    ],
    lifespan=lifespan,
)
