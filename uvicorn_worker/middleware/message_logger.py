"""`MessageLoggerMiddleware`, where uvicorn has it: a line on uvicorn.asgi for each ASGI message, at level trace."""

from __future__ import annotations

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.logs.levels import log_messages

__all__ = ["MessageLoggerMiddleware"]


class MessageLoggerMiddleware:
    """`app`, with its messages in the log; their content is not shown."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._own_logged = log_messages(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what the scope is of."""
        await self._own_logged(scope, receive, send)
