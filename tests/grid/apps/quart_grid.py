from __future__ import annotations

import asyncio

from common import Go, digest, endless, event, gated, slowly
from quart import Quart, make_response, request, websocket

go = Go()
app = Quart(__name__)


@app.before_serving
async def startup() -> None:
    event("startup")


@app.after_serving
async def shutdown() -> None:
    event("shutdown")


async def _endless(pieces, content_type="text/event-stream"):
    response = await make_response(pieces, {"Content-Type": content_type})
    response.timeout = None
    return response


@app.get("/hello/<name>")
async def hello(name):
    return f"hello {name}"


@app.get("/stream")
async def stream():
    return await _endless(gated(go, "first\n", "last\n"), "text/plain")


@app.get("/sse")
async def sse():
    return await _endless(gated(go, "data: first\n\n", "data: last\n\n"))


@app.get("/quiet")
async def quiet():
    return await _endless(endless("quiet", 3600))


@app.get("/busy")
async def busy():
    return await _endless(endless("busy", 0.02))


@app.get("/go")
async def allow():
    return go.now()


@app.post("/upload")
async def upload():
    return digest(await request.get_data())


@app.get("/error")
async def error():
    raise RuntimeError("grid error")


async def _note() -> None:
    event("background")


@app.get("/background")
async def background():
    app.add_background_task(_note)
    return "ok"


@app.get("/slow")
async def slow():
    return await slowly()


@app.websocket("/ws")
async def echo() -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send(await websocket.receive())
    except asyncio.CancelledError:
        event("websocket-left")
        raise
