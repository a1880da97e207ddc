from __future__ import annotations

from common import Go, digest, endless, event, gated, slowly
from sanic import Request, Sanic, Websocket
from sanic.response import HTTPResponse, text

go = Go()
app = Sanic("grid", configure_logging=False)


@app.before_server_start
async def startup(app: Sanic) -> None:
    event("startup")


@app.after_server_stop
async def shutdown(app: Sanic) -> None:
    event("shutdown")


async def _stream(request: Request, pieces, content_type: str = "text/event-stream") -> None:
    response = await request.respond(content_type=content_type)
    try:
        async for piece in pieces:
            await response.send(piece)
        await response.eof()
    finally:
        await pieces.aclose()


@app.get("/hello/<name>")
async def hello(request: Request, name: str) -> HTTPResponse:
    return text(f"hello {name}")


@app.get("/stream")
async def stream(request: Request) -> None:
    await _stream(request, gated(go, "first\n", "last\n"), "text/plain")


@app.get("/sse")
async def sse(request: Request) -> None:
    await _stream(request, gated(go, "data: first\n\n", "data: last\n\n"))


@app.get("/quiet")
async def quiet(request: Request) -> None:
    await _stream(request, endless("quiet", 3600))


@app.get("/busy")
async def busy(request: Request) -> None:
    await _stream(request, endless("busy", 0.02))


@app.get("/go")
async def allow(request: Request) -> HTTPResponse:
    return text(go.now())


@app.post("/upload")
async def upload(request: Request) -> HTTPResponse:
    return text(digest(request.body))


@app.get("/error")
async def error(request: Request) -> HTTPResponse:
    raise RuntimeError("grid error")


async def _note() -> None:
    event("background")


@app.get("/background")
async def background(request: Request) -> HTTPResponse:
    request.app.add_task(_note())
    return text("ok")


@app.get("/slow")
async def slow(request: Request) -> HTTPResponse:
    return text(await slowly())


@app.websocket("/ws")
async def echo(request: Request, ws: Websocket) -> None:
    try:
        while True:
            message = await ws.recv()
            if message is None:
                break
            await ws.send(message)
    finally:
        event("websocket-left")
