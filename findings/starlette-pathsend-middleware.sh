#!/usr/bin/env bash
# Starlette 1.0: on a server with the ASGI extension http.response.pathsend, its files pass its own GZipMiddleware as they are, and
# `response.body_iterator` of a BaseHTTPMiddleware gives a message, a dict, where it gives bytes on a server without.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages starlette==1.0.0
"$PYTHON" - <<'PY' | expect "without: gzip, bytes; with: no gzip, dict"
import asyncio

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, Response
from starlette.routing import Route

with open("page.txt", "w") as file:
    file.write("the same again, " * 1000)


async def page(request):
    return FileResponse("page.txt")


async def kind_of_body(request, call_next):
    response = await call_next(request)
    return Response(" ".join([type(piece).__name__ async for piece in response.body_iterator]))


async def ask(middleware, extensions):
    app, sent = Starlette(routes=[Route("/", page)], middleware=[middleware]), []

    async def receive():
        await asyncio.sleep(3600 if sent else 0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"a"), (b"accept-encoding", b"gzip")]
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/"}
    scope |= {"query_string": b"", "root_path": "", "headers": headers, "asgi": {"version": "3.0", "spec_version": "2.4"}}
    await asyncio.wait_for(app({**scope, "extensions": extensions}, receive, send), 5)
    return sent


def seen(extensions):
    zipped = asyncio.run(ask(Middleware(GZipMiddleware), extensions))
    body = asyncio.run(ask(Middleware(BaseHTTPMiddleware, dispatch=kind_of_body), extensions))
    kind = (b"content-encoding", b"gzip") in zipped[0]["headers"]
    return f"{'gzip' if kind else 'no gzip'}, {body[1]['body'].decode().split()[0]}"


print(f"without: {seen({})}; with: {seen({'http.response.pathsend': {}})}")
PY
