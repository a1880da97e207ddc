"""Django, and Channels beside it where that is installed."""

from __future__ import annotations

import importlib.util

import django
from common import Go, digest, endless, event, gated, slowly
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

go = Go()
has_channels = importlib.util.find_spec("channels") is not None
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="grid",
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    MIDDLEWARE=[],
    LOGGING_CONFIG=None,
    INSTALLED_APPS=["channels"] if has_channels else [],
)
django.setup()


async def hello(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"hello {name}")


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(gated(go, "first\n", "last\n"), content_type="text/plain")


async def sse(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(gated(go, "data: first\n\n", "data: last\n\n"), content_type="text/event-stream")


async def quiet(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(endless("quiet", 3600), content_type="text/event-stream")


async def busy(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(endless("busy", 0.02), content_type="text/event-stream")


async def allow(request: HttpRequest) -> HttpResponse:
    return HttpResponse(go.now())


def upload(request: HttpRequest) -> HttpResponse:
    return HttpResponse(digest(request.body))


def error(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("grid error")


async def slow(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await slowly())


urlpatterns = [
    path("hello/<name>", hello),
    path("stream", stream),
    path("sse", sse),
    path("quiet", quiet),
    path("busy", busy),
    path("go", allow),
    path("upload", upload),
    path("error", error),
    path("slow", slow),
]

app = get_asgi_application()

if has_channels:
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter

    class Echo(AsyncWebsocketConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            await self.send(text_data)

        async def disconnect(self, code: int) -> None:
            event("websocket-left", code)

    app = ProtocolTypeRouter({"http": app, "websocket": URLRouter([path("ws", Echo.as_asgi())])})
