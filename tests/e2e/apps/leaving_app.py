"""Streams of frameworks that say nothing for long, and what they do when their clients leave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from django.conf import settings
from eventlog import event
from fastapi import BackgroundTasks, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request  # noqa: TC002 - Starlette's own style
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

settings.configure(SECRET_KEY="only for the tests", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, MIDDLEWARE=[])

import django  # noqa: E402 - the settings come first
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

django.setup()


async def quiet(name: str) -> AsyncIterator[bytes]:
    """One piece, and then nothing for a minute."""
    try:
        yield b"data: 1\n\n"
        await asyncio.sleep(60)
    finally:
        event("finally", name)


async def background(name: str) -> None:
    event("background", name)


async def stream(request: Request) -> Response:
    return StreamingResponse(quiet(request.url.path), background=BackgroundTask(background, request.url.path))


async def silent(request: Request) -> Response:
    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b"late"

    return StreamingResponse(nothing(), media_type="text/event-stream")


async def file(request: Request) -> Response:
    large = Path(os.environ["E2E_DIR"]) / "large"
    large.write_bytes(b"x" * 20_000_000)
    return FileResponse(large, background=BackgroundTask(background, request.url.path))


async def second(request: Request) -> Response:
    """As the MCP SDK's event streams do: a response when the stream has ended."""
    await StreamingResponse(quiet(request.url.path))(request.scope, request.receive, request._send)
    event("background", request.url.path)
    return Response()


async def pass_on(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    return response


api = FastAPI()

try:
    from fastapi.sse import EventSourceResponse

    @api.get("/events", response_class=EventSourceResponse)
    async def events(tasks: BackgroundTasks) -> AsyncIterator[dict[str, int]]:
        tasks.add_task(background, "/fastapi/events")
        try:
            yield {"a": 1}
            await asyncio.sleep(60)
        finally:
            event("finally", "/fastapi/events")

except ImportError:  # FastAPI before 0.135
    pass


@api.get("/stream")
async def fastapi_stream(tasks: BackgroundTasks) -> StreamingResponse:
    return StreamingResponse(quiet("/fastapi/stream"), background=BackgroundTask(background, "/fastapi/stream"))


def django_stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(quiet("/django/stream"))


urlpatterns = [path("django/stream", django_stream)]

app = Starlette(
    routes=[
        Route("/starlette/stream", stream),
        Route("/starlette/silent", silent),
        Route("/starlette/file", file),
        Route("/starlette/second", second),
        Mount(
            "/middleware",
            Starlette(routes=[Route("/stream", stream)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=pass_on)]),
        ),
        Mount("/fastapi", api),
        Mount("/", get_asgi_application()),
    ]
)
