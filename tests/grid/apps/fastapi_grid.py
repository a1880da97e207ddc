from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from common import Go, digest, endless, event, gated, slowly
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse

go = Go()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    event("startup")
    yield
    event("shutdown")


app = FastAPI(lifespan=lifespan, default_response_class=PlainTextResponse)


@app.get("/hello/{name}")
async def hello(name: str) -> str:
    return f"hello {name}"


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(gated(go, "first\n", "last\n"), media_type="text/plain")


@app.get("/sse")
async def sse() -> StreamingResponse:
    return StreamingResponse(gated(go, "data: first\n\n", "data: last\n\n"), media_type="text/event-stream")


@app.get("/quiet")
async def quiet() -> StreamingResponse:
    return StreamingResponse(endless("quiet", 3600), media_type="text/event-stream")


@app.get("/busy")
async def busy() -> StreamingResponse:
    return StreamingResponse(endless("busy", 0.02), media_type="text/event-stream")


@app.get("/go")
async def allow() -> str:
    return go.now()


@app.post("/upload")
async def upload(request: Request) -> str:
    return digest(await request.body())


@app.get("/error")
async def error() -> str:
    raise RuntimeError("grid error")


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(event, "background")
    return "ok"


@app.get("/slow")
async def slow() -> str:
    return await slowly()


@app.websocket("/ws")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect as exc:
        event("websocket-left", exc.code)
