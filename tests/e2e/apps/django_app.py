"""A Django project in one module."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import TYPE_CHECKING

from django.conf import settings

settings.configure(
    SECRET_KEY="only for the tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    USE_TZ=True,
)

from django.core.asgi import get_asgi_application  # noqa: E402 - the settings come first
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from django.http import HttpRequest


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def sync_view(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"main_thread": _in_main_thread(), "q": request.GET.get("q")})


async def async_view(request: HttpRequest, number: int) -> JsonResponse:
    await asyncio.sleep(0)
    return JsonResponse({"main_thread": _in_main_thread(), "number": number, "path": request.path})


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        for number in range(int(request.GET["parts"])):
            await asyncio.sleep(0)
            yield b"part %d\n" % number

    return StreamingHttpResponse(body(), content_type="text/plain")


def upload(request: HttpRequest) -> JsonResponse:
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse(
        {"name": file.name, "size": file.size, "sha256": digest.hexdigest(), "field": request.POST["field"]}
    )


async def meta(request: HttpRequest) -> JsonResponse:
    names = ("REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT", "HTTP_X_TEST", "QUERY_STRING", "CONTENT_TYPE")
    return JsonResponse({name: request.META.get(name) for name in names})


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the view went wrong")


urlpatterns = [
    path("sync", sync_view),
    path("async/<int:number>", async_view),
    path("stream", stream),
    path("upload", csrf_exempt(upload)),
    path("meta", meta),
    path("fail", fail),
]

application = get_asgi_application()
