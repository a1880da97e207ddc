"""The MCP SDK's server: streamable HTTP at /mcp, SSE at /sse."""

from __future__ import annotations

from common import event
from mcp.server.fastmcp import Context, FastMCP

server = FastMCP("grid")


@server.tool()
async def hello(name: str, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    return f"hello {name}"


@server.custom_route("/hello/{name}", methods=["GET"])
async def routed(request):
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(f"hello {request.path_params['name']}")


app = server.streamable_http_app()
app.router.routes.extend(server.sse_app().routes)
_lifespan = app.router.lifespan_context


def lifespan(app):
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def both():
        async with _lifespan(app):
            event("startup")
            yield
        event("shutdown")

    return both()


app.router.lifespan_context = lifespan
