"""A Starlette app: streaming, files, cookies, middleware, background tasks."""

from __future__ import annotations

import hashlib
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventlog import event
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    if os.environ.get("STARLETTE_STARTUP") == "raise":
        raise RuntimeError("the database is away")
    event("startup")
    yield {"color": "green"}
    event("shutdown")


class AddHeader(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-middleware"] = "seen"
        return response


async def home(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {request.url.path} {request.state.color}")


async def inspect(request: Request) -> Response:
    return JSONResponse(
        {
            "path": request.scope["path"],
            "raw_path": request.scope["raw_path"].decode(),
            "query": dict(request.query_params),
            "root_path": request.scope["root_path"],
            "scheme": request.url.scheme,
            "http_version": request.scope["http_version"],
            "cookies": request.cookies,
            "agent": request.headers.get("user-agent"),
        }
    )


def sync_view(request: Request) -> Response:
    return PlainTextResponse("from a thread")


async def cookies(request: Request) -> Response:
    response = RedirectResponse("/inspect", status_code=303)
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


async def empty(request: Request) -> Response:
    return Response(status_code=204)


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(int(request.query_params["parts"])):
            yield b"part %d\n" % number

    return StreamingResponse(parts(), media_type="text/plain")


async def stream_from_thread(request: Request) -> Response:
    def parts() -> Iterator[bytes]:
        for number in range(int(request.query_params["parts"])):
            yield b"part %d\n" % number

    return StreamingResponse(parts(), media_type="text/plain")


async def file(request: Request) -> Response:
    return FileResponse(Path(os.environ["E2E_DIR"]) / "download.bin")


async def upload(request: Request) -> Response:
    body = await request.body()
    task = BackgroundTask(event, "background", len(body))
    return JSONResponse({"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}, background=task)


app = Starlette(
    routes=[
        Route("/", home),
        Route("/inspect", inspect),
        Route("/inspect/{rest:path}", inspect),
        Route("/sync", sync_view),
        Route("/cookies", cookies),
        Route("/empty", empty),
        Route("/stream", stream),
        Route("/stream-from-thread", stream_from_thread),
        Route("/file", file),
        Route("/upload", upload, methods=["POST", "PUT"]),
    ],
    middleware=[Middleware(AddHeader)],
    lifespan=lifespan,
)
