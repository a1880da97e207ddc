from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common import Go, digest, endless, event, gated, slowly
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

go = Go()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    event("startup")
    yield
    event("shutdown")


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello {request.path_params['name']}")


async def stream(request: Request) -> Response:
    return StreamingResponse(gated(go, "first\n", "last\n"), media_type="text/plain")


async def sse(request: Request) -> Response:
    return StreamingResponse(gated(go, "data: first\n\n", "data: last\n\n"), media_type="text/event-stream")


async def quiet(request: Request) -> Response:
    return StreamingResponse(endless("quiet", 3600), media_type="text/event-stream")


async def busy(request: Request) -> Response:
    return StreamingResponse(endless("busy", 0.02), media_type="text/event-stream")


async def allow(request: Request) -> Response:
    return PlainTextResponse(go.now())


async def upload(request: Request) -> Response:
    return PlainTextResponse(digest(await request.body()))


async def error(request: Request) -> Response:
    raise RuntimeError("grid error")


async def background(request: Request) -> Response:
    return PlainTextResponse("ok", background=BackgroundTask(event, "background"))


async def slow(request: Request) -> Response:
    return PlainTextResponse(await slowly())


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect as exc:
        event("websocket-left", exc.code)


routes = [
    Route("/hello/{name}", hello),
    Route("/stream", stream),
    Route("/sse", sse),
    Route("/quiet", quiet),
    Route("/busy", busy),
    Route("/go", allow),
    Route("/upload", upload, methods=["POST"]),
    Route("/error", error),
    Route("/background", background),
    Route("/slow", slow),
    WebSocketRoute("/ws", echo),
]
app = Starlette(routes=routes, lifespan=lifespan)
