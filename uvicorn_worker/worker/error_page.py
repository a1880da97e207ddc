"""What is served under `--reload` while the application can't be loaded: a page that says why."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["failure_app", "files_of"]


def failure_app(exc: BaseException) -> ASGIApp:
    """An application that answers every request with 500 and the traceback."""
    text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__)).encode("utf-8", "replace")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": text})

    return app


def files_of(exc: BaseException | None) -> Iterator[str]:
    """The source files that an error leads through: a change of one of them may mend it."""
    while exc is not None:
        if isinstance(exc, SyntaxError) and exc.filename:
            yield exc.filename
        for frame, _ in traceback.walk_tb(exc.__traceback__):
            yield frame.f_code.co_filename
        exc = exc.__cause__ or exc.__context__
