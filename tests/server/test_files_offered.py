"""Which applications are offered that the server sends their files (`pathsend = auto`)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.server.files_offered import offer_files, unknown_middleware
from uvicorn_worker.server.loaded_app import LoadedApp

FILES = StaticFiles(directory=".")
GZIP = "starlette.middleware.gzip.GZipMiddleware"
BASE = "starlette.middleware.base.BaseHTTPMiddleware"


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that is a function."""


async def passed(request: Any, call_next: Any) -> Any:
    """What a BaseHTTPMiddleware is made of."""
    return await call_next(request)


class Own:
    """Middleware of an application's own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Without:
    """An application that is an object, and whose parts raise what they like."""

    app = 5

    @property
    def routes(self) -> list[Any]:
        raise RuntimeError("not yet")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers nothing."""


def with_harmless() -> Any:
    app = Starlette(routes=[Mount("/static", FILES), Route("/", plain), WebSocketRoute("/ws", plain)])
    app.add_middleware(CORSMiddleware, allow_origins=["*"])
    app.add_middleware(SessionMiddleware, secret_key="none")
    return LoadedApp(TrustedHostMiddleware(app))


def of_fastapi(*, dispatch: bool = False, mounted: Any = FILES) -> FastAPI:
    app = FastAPI()
    app.mount("/static", mounted)

    @app.get("/")
    async def root() -> str:
        return ""

    if dispatch:
        app.middleware("http")(passed)

    return app


def started(app: Any) -> Any:
    """With its middleware built, as it is once it has been called."""
    app.middleware_stack = app.build_middleware_stack()
    return app


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (plain, None),
        (Without(), None),
        (Own(plain), f"{__name__}.Own"),
        (with_harmless(), None),
        (Starlette(), None),
        (started(Starlette(routes=[Mount("/static", FILES)])), None),
        (of_fastapi(), None),
        (started(of_fastapi()), None),
        (of_fastapi(dispatch=True), BASE),
        (started(of_fastapi(dispatch=True)), BASE),
        (Starlette(middleware=[Middleware(GZipMiddleware)]), GZIP),
        (Starlette(middleware=[Middleware(BaseHTTPMiddleware, dispatch=passed)]), BASE),
        (GZipMiddleware(Starlette()), GZIP),
        (Starlette(routes=[Mount("/static", GZipMiddleware(FILES))]), GZIP),
        (Starlette(routes=[Mount("/static", FILES, middleware=[Middleware(Own)])]), f"{__name__}.Own"),
        (Starlette(routes=[Route("/", plain, middleware=[Middleware(Own)])]), f"{__name__}.Own"),
        (Starlette(routes=[Mount("/deep", routes=[Mount("/er", Own(plain))])]), f"{__name__}.Own"),
        (Router(routes=[Mount("/static", FILES)], middleware=[Middleware(GZipMiddleware)]), GZIP),
        (of_fastapi(mounted=of_fastapi(dispatch=True)), BASE),
    ],
)
def test_middleware_that_may_not_know_of_files(app: Any, expected: str | None) -> None:
    assert unknown_middleware(app) == expected


def test_one_that_holds_itself() -> None:
    app = Starlette()
    app.mount("/again", app)
    assert unknown_middleware(app) is None


@pytest.mark.parametrize(
    ("pathsend", "app", "offered"),
    [
        ("auto", plain, True),
        ("auto", GZipMiddleware(plain), False),
        ("on", GZipMiddleware(plain), True),
        ("off", plain, False),
    ],
)
def test_the_option(pathsend: str, app: Any, offered: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "uvicorn.error")
    loop = asyncio.new_event_loop()
    runtime = Runtime(Config(app, pathsend=pathsend), app, loop)
    offer_files(runtime, app, OwnLog())
    loop.close()
    transport: Any = asyncio.Transport({"sockname": ("127.0.0.1", 80)})
    extensions = runtime.scopes.of_connection(transport)["extensions"]
    assert ("http.response.pathsend" in extensions) is offered
    assert (GZIP in caplog.text) is (pathsend == "auto" and not offered)
