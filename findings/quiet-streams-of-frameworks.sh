#!/usr/bin/env bash
# BlackSheep 2.6, Sanic 25.12 (ASGI mode) and Falcon 4.4: a quiet stream does not hear that its client has left.
# Litestar 2.25 and Quart 0.22 wait for http.disconnect beside the stream, and end it. These three look at what receive() has,
# if at all, when the next piece is sent: a stream without one lives on, with all that it holds.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packages blacksheep==2.6.4 sanic==25.12.1 falcon==4.4.0 litestar==2.25.0 quart==0.22.0
"$PYTHON" - <<'PY' | expect "litestar: ended, quart: ended, blacksheep: runs on, sanic: runs on, falcon: runs on"
import asyncio

import blacksheep
import falcon.asgi
import litestar
import litestar.response
import quart
import sanic


async def quiet():
    yield b"data: first\n\n"
    await asyncio.sleep(3600)


def make_litestar():
    @litestar.get("/")
    async def root() -> litestar.response.Stream:
        return litestar.response.Stream(quiet())

    return litestar.Litestar([root])


def make_quart():
    app = quart.Quart("quiet")

    @app.get("/")
    async def root():
        response = quart.Response(quiet())
        response.timeout = None
        return response

    return app


def make_blacksheep():
    app = blacksheep.Application()

    @app.router.get("/")
    async def root():
        return blacksheep.Response(200, content=blacksheep.StreamedContent(b"text/plain", quiet))

    return app


def make_sanic():
    app = sanic.Sanic("quiet", configure_logging=False)

    @app.get("/")
    async def root(request):
        response = await request.respond()
        async for piece in quiet():
            await response.send(piece)

    return app


def make_falcon():
    class Root:
        async def on_get(self, req, resp):
            async def events():
                async for _ in quiet():
                    yield falcon.asgi.SSEvent(text="first")

            resp.sse = events()

    app = falcon.asgi.App()
    app.add_route("/", Root())
    return app


async def run_lifespan(app):
    """Up to the end of its startup."""
    started = asyncio.Event()
    messages = iter([{"type": "lifespan.startup"}])

    async def receive():
        return next(messages, None) or await asyncio.Future()

    async def send(message):
        started.set()

    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.wait_for(started.wait(), 10)
    return task


async def leave(app):
    lifespan = await run_lifespan(app)
    first, left = asyncio.Event(), asyncio.Event()
    request = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if request:
            return request.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            first.set()

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "", "headers": [(b"host", b"x")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {}, "extensions": {},
    }
    task = asyncio.ensure_future(app(scope, receive, send))
    await asyncio.wait_for(first.wait(), 10)
    left.set()
    done, _ = await asyncio.wait([task], timeout=2)
    for each in (task, lifespan):
        each.cancel()
    await asyncio.gather(task, lifespan, return_exceptions=True)
    return "ended" if done else "runs on"


MAKERS = (make_litestar, make_quart, make_blacksheep, make_sanic, make_falcon)
print(", ".join(f"{maker.__name__[5:]}: {asyncio.run(leave(maker()))}" for maker in MAKERS))
PY
