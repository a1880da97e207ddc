from __future__ import annotations

from common import endless, gated
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.routing import Route
from starlette_grid import app, go


async def sse(request: Request) -> EventSourceResponse:
    return EventSourceResponse(gated(go, "first", "last"), sep="\n")


async def quiet(request: Request) -> EventSourceResponse:
    return EventSourceResponse(endless("quiet", 3600))


async def busy(request: Request) -> EventSourceResponse:
    return EventSourceResponse(endless("busy", 0.02))


app.router.routes[:0] = [Route("/sse", sse), Route("/quiet", quiet), Route("/busy", busy)]
