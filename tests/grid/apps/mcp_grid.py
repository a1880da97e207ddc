"""The MCP SDK's server: streamable HTTP at /mcp, SSE at /sse."""

from __future__ import annotations

from contextlib import asynccontextmanager

from common import event
from mcp.server.mcpserver import Context, MCPServer
from starlette.responses import PlainTextResponse

server = MCPServer("grid")


@server.tool()
async def hello(name: str, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    return f"hello {name}"


@server.custom_route("/hello/{name}", methods=["GET"])
async def routed(request):
    return PlainTextResponse(f"hello {request.path_params['name']}")


app = server.streamable_http_app()
app.router.routes.extend(server.sse_app().routes)
own = app.router.lifespan_context


@asynccontextmanager
async def lifespan(app):
    async with own(app):
        event("startup")
        yield
    event("shutdown")


app.router.lifespan_context = lifespan
