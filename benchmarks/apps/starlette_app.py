"""A Starlette route that returns JSON, as its documentation begins."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002, as applications have it
from starlette.responses import JSONResponse
from starlette.routing import Route


async def home(request: Request) -> JSONResponse:
    return JSONResponse({"message": "Hello, World!"})


app = Starlette(routes=[Route("/", home)])
