from __future__ import annotations

from blacksheep import Application, Content, Request, Response, StreamedContent, WebSocket, WebSocketDisconnectError
from blacksheep.server.responses import text
from common import Go, digest, endless, event, gated, slowly

go = Go()
app = Application()


def _stream(pieces, content_type=b"text/event-stream") -> Response:
    async def encoded():
        try:
            async for piece in pieces:
                yield piece.encode()
        finally:
            await pieces.aclose()

    return Response(200, content=StreamedContent(content_type, encoded))


@app.on_start
async def startup(app: Application) -> None:
    event("startup")


@app.on_stop
async def shutdown(app: Application) -> None:
    event("shutdown")


@app.router.get("/hello/{name}")
async def hello(name: str) -> Response:
    return text(f"hello {name}")


@app.router.get("/stream")
async def stream() -> Response:
    return _stream(gated(go, "first\n", "last\n"), b"text/plain")


@app.router.get("/sse")
async def sse() -> Response:
    return _stream(gated(go, "data: first\n\n", "data: last\n\n"))


@app.router.get("/quiet")
async def quiet() -> Response:
    return _stream(endless("quiet", 3600))


@app.router.get("/busy")
async def busy() -> Response:
    return _stream(endless("busy", 0.02))


@app.router.get("/go")
async def allow() -> Response:
    return text(go.now())


@app.router.post("/upload")
async def upload(request: Request) -> Response:
    return text(digest(await request.read()))


@app.router.get("/error")
async def error() -> Response:
    raise RuntimeError("grid error")


@app.router.get("/slow")
async def slow() -> Response:
    return Response(200, content=Content(b"text/plain", (await slowly()).encode()))


@app.router.ws("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError as exc:
        event("websocket-left", exc.code)
