from __future__ import annotations

import falcon
import falcon.asgi
from common import Go, digest, endless, event, gated, slowly
from falcon.asgi import Request, Response, SSEvent, WebSocket

go = Go()


class Lifespan:
    async def process_startup(self, scope, message) -> None:
        event("startup")

    async def process_shutdown(self, scope, message) -> None:
        event("shutdown")


async def _encoded(pieces):
    try:
        async for piece in pieces:
            yield piece.encode()
    finally:
        await pieces.aclose()


class Hello:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        resp.text = f"hello {name}"


class Stream:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.content_type = "text/plain"
        resp.stream = _encoded(gated(go, "first\n", "last\n"))


class Events:
    async def on_get(self, req: Request, resp: Response) -> None:
        async def events():
            async for word in gated(go, "first", "last"):
                yield SSEvent(text=word)

        resp.sse = events()


class Quiet:
    async def on_get(self, req: Request, resp: Response) -> None:
        async def events():
            async for _ in _encoded(endless("quiet", 3600)):
                yield SSEvent(text="more")

        resp.sse = events()


class Busy:
    async def on_get(self, req: Request, resp: Response) -> None:
        async def events():
            async for _ in _encoded(endless("busy", 0.02)):
                yield SSEvent(text="more")

        resp.sse = events()


class Allow:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.text = go.now()


class Upload:
    async def on_post(self, req: Request, resp: Response) -> None:
        resp.text = digest(await req.stream.read())


class Error:
    async def on_get(self, req: Request, resp: Response) -> None:
        raise RuntimeError("grid error")


class Background:
    async def on_get(self, req: Request, resp: Response) -> None:
        async def note() -> None:
            event("background")

        resp.text = "ok"
        resp.schedule(note)


class Slow:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.text = await slowly()


class Echo:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except falcon.WebSocketDisconnected as exc:
            event("websocket-left", exc.code)


app = falcon.asgi.App(middleware=Lifespan())
app.add_route("/hello/{name}", Hello())
app.add_route("/stream", Stream())
app.add_route("/sse", Events())
app.add_route("/quiet", Quiet())
app.add_route("/busy", Busy())
app.add_route("/go", Allow())
app.add_route("/upload", Upload())
app.add_route("/error", Error())
app.add_route("/background", Background())
app.add_route("/slow", Slow())
app.add_route("/ws", Echo())
