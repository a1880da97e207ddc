"""What `Config.loaded_app` is: the application is its `app`, as that of uvicorn's ProxyHeadersMiddleware is.

The server reads what proxies say by itself, and calls the application directly where nobody has put anything around it.
"""

from __future__ import annotations

from typing import Any

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["LoadedApp", "bare"]


class LoadedApp:
    """An application, and nothing around it."""

    __slots__ = ("app",)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """For what somebody has put around this one."""
        await self.app(scope, receive, send)


def bare(app: Any) -> ASGIApp:
    """The application itself."""
    found: ASGIApp = app.app if type(app) is LoadedApp else app
    return found
