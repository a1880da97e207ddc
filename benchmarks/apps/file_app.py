"""A file by Starlette's FileResponse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data_file import data_file  # type: ignore[import-not-found]
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

CONTENT = b"0123456789abcdef" * 65536


async def file(request: Request) -> FileResponse:
    return FileResponse(data_file(CONTENT))


app = Starlette(routes=[Route("/", file)])
