"""Files as frameworks send them; `/calls` says how often the kernel has sent one, and how much, since the last time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import quart
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse as DjangoFileResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

try:
    import litestar
    from litestar.response import File
except ImportError:  # no wheels of what it needs, for a Python that is new
    litestar = None  # type: ignore[assignment]

from uvicorn_worker.http1 import kernel_sending

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = Path(os.environ["E2E_DIR"])
sent: list[int] = []


def counted(out: int, file: int, offset: int, count: int) -> int:
    number = os.sendfile(out, file, offset, count)
    sent.append(number)
    return number


kernel_sending._sendfile = counted


async def calls(request: Request) -> JSONResponse:
    seen = [len(sent), sum(sent)]
    sent.clear()
    return JSONResponse(seen)


async def file(request: Request) -> FileResponse:
    return FileResponse(FOLDER / "download.bin")


def of_django(request: Any) -> DjangoFileResponse:
    return DjangoFileResponse((FOLDER / "download.bin").open("rb"))


class Injected:
    """Appends to each body, as tools do that reload pages."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def appended(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-length"] = str(int(headers["content-length"]) + len(b"injected"))
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                message["body"] += b"injected"
            await send(message)

        await self.app(scope, receive, appended)


settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="none")
urlpatterns = [path("file", of_django)]
django.setup()

of_quart = quart.Quart(__name__)
# Its 8 KiB take a thread's time each.
of_quart.response_class.file_body_class.buffer_size = 65536


@of_quart.route("/<name>")
async def send_by_quart(name: str) -> quart.Response:
    return await quart.send_file(FOLDER / name, conditional=True)


mounted: list[tuple[str, Any]] = [("/quart", of_quart)]
if litestar is not None:

    @litestar.get("/{name:str}")
    async def send_by_litestar(name: str) -> File:
        return File(FOLDER / name)

    mounted.append(("/litestar", litestar.Litestar([send_by_litestar])))

app = Starlette(
    routes=[
        *(Mount(path, app) for path, app in mounted),
        Route("/calls", calls),
        Route("/file", file),
        Mount("/static", StaticFiles(directory=FOLDER)),
        Mount("/django", get_asgi_application()),
    ]
)

# With middleware that does not know of files.
behind = Starlette(
    routes=[
        Route("/calls", calls),
        Mount("/injected", Injected(StaticFiles(directory=FOLDER))),
        Mount("/zipped", GZipMiddleware(StaticFiles(directory=FOLDER))),
    ]
)
