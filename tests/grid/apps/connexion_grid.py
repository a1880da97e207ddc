from __future__ import annotations

from contextlib import asynccontextmanager

import connexion
from common import Go, digest, endless, event, gated, slowly
from connexion.lifecycle import ConnexionResponse
from starlette.responses import StreamingResponse

go = Go()


@asynccontextmanager
async def lifespan(app):
    event("startup")
    yield
    event("shutdown")


async def hello(name: str):
    return f"hello {name}"


async def stream():
    return StreamingResponse(gated(go, "first\n", "last\n"), media_type="text/plain")


async def sse():
    return StreamingResponse(gated(go, "data: first\n\n", "data: last\n\n"), media_type="text/event-stream")


async def quiet():
    return StreamingResponse(endless("quiet", 3600), media_type="text/event-stream")


async def busy():
    return StreamingResponse(endless("busy", 0.02), media_type="text/event-stream")


async def allow():
    return go.now()


async def upload(body: bytes):
    return digest(body)


async def error():
    raise RuntimeError("grid error")


async def slow():
    return ConnexionResponse(200, body=await slowly(), mimetype="text/plain")


def _operation(name: str, content_type: str = "text/plain", **more):
    answer = {"description": "as it is", "content": {content_type: {"schema": {"type": "string"}}}}
    return {"operationId": f"connexion_grid.{name}", "responses": {"200": answer}, **more}


_named = [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]
_body = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
specification = {
    "openapi": "3.0.3",
    "info": {"title": "grid", "version": "1"},
    "paths": {
        "/hello/{name}": {"get": _operation("hello", parameters=_named)},
        "/stream": {"get": _operation("stream")},
        "/sse": {"get": _operation("sse", "text/event-stream")},
        "/quiet": {"get": _operation("quiet", "text/event-stream")},
        "/busy": {"get": _operation("busy", "text/event-stream")},
        "/go": {"get": _operation("allow")},
        "/upload": {"post": _operation("upload", requestBody=_body)},
        "/error": {"get": _operation("error")},
        "/slow": {"get": _operation("slow")},
    },
}
app = connexion.AsyncApp(__name__, lifespan=lifespan)
app.add_api(specification)
