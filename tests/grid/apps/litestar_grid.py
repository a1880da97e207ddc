from __future__ import annotations

from common import Go, digest, endless, event, gated, slowly
from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import WebSocketDisconnect
from litestar.response import ServerSentEvent, Stream

go = Go()


@get("/hello/{name:str}", media_type=MediaType.TEXT)
async def hello(name: str) -> str:
    return f"hello {name}"


@get("/stream")
async def stream() -> Stream:
    return Stream(gated(go, "first\n", "last\n"), media_type="text/plain")


@get("/sse")
async def sse() -> ServerSentEvent:
    return ServerSentEvent(gated(go, "first", "last"))


@get("/quiet")
async def quiet() -> Stream:
    return Stream(endless("quiet", 3600), media_type="text/event-stream")


@get("/busy")
async def busy() -> Stream:
    return Stream(endless("busy", 0.02), media_type="text/event-stream")


@get("/go", media_type=MediaType.TEXT)
async def allow() -> str:
    return go.now()


@post("/upload", media_type=MediaType.TEXT)
async def upload(request: Request) -> str:
    return digest(await request.body())


@get("/error")
async def error() -> str:
    raise RuntimeError("grid error")


async def _note() -> None:
    event("background")


@get("/background", media_type=MediaType.TEXT)
async def background() -> Response:
    return Response("ok", background=BackgroundTask(_note))


@get("/slow", media_type=MediaType.TEXT)
async def slow() -> str:
    return await slowly()


@websocket("/ws")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect as exc:
        event("websocket-left", exc.code)


app = Litestar(
    [hello, stream, sse, quiet, busy, allow, upload, error, background, slow, echo],
    on_startup=[lambda: event("startup")],
    on_shutdown=[lambda: event("shutdown")],
    request_max_body_size=None,
)
