"""`WSGIMiddleware`, where uvicorn has it: a WSGI application as ASGI 3, in threads."""

from __future__ import annotations

from typing import Any

from uvicorn_worker.interfaces.wsgi import WsgiAdapter

__all__ = ["WSGIMiddleware"]


class WSGIMiddleware(WsgiAdapter):
    """`WSGIMiddleware(app, workers=10)`: so many requests at a time, the others wait for a thread."""

    def __init__(self, app: Any, workers: int = 10) -> None:
        super().__init__(app, workers)
