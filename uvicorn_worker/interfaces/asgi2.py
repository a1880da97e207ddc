"""ASGI 2.0, the double callable: `app(scope)` gives an instance, `await instance(receive, send)` runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from uvicorn_worker.core.asgi import Receive, Scope, Send

__all__ = ["ASGI2App", "Asgi2Adapter"]

ASGI2App = Callable[[Scope], Callable[[Receive, Send], Awaitable[None]]]


class Asgi2Adapter:
    """Serves an ASGI 2.0 application, for every type of scope."""

    def __init__(self, app: ASGI2App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application on one scope, of which it gets a copy that names the version it speaks."""
        versions = {**scope["asgi"], "version": "2.0"}
        await self._app({**scope, "asgi": versions})(receive, send)
