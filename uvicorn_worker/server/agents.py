"""Monitoring agents that find the server by name, and so would not find this one.

New Relic's agent makes a transaction of each request by wrapping the loaded application, which it does in hooks on
modules of uvicorn, Hypercorn and Daphne. Here the worker wraps it itself where the agent is initialised. Other agents
hook frameworks, or are middleware that is added by hand: they don't ask who serves.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import sys
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["seen_by_agents", "without_wsgi_wrapper"]

# The wrapper that New Relic's hook on Gunicorn puts around what it takes for a WSGI application: all that is
# no coroutine function, ASGI applications among them.
_WSGI_WRAPPER = "_nr_wsgi_application_wrapper_"


def without_wsgi_wrapper(app: Any) -> Any:
    """An application that is known to be ASGI, without what would call it as WSGI."""
    while getattr(getattr(app, "_self_wrapper", None), "__name__", None) == _WSGI_WRAPPER:
        app = app.__wrapped__
    return app


def seen_by_agents(app: ASGIApp) -> ASGIApp:
    """`app`, an ASGI 3 application, as the agents in this process are to see it."""
    if "newrelic" not in sys.modules:
        return app
    try:
        agent = importlib.import_module("newrelic.agent")
        # True from initialize() on, if the agent is to do anything at all.
        if not agent.global_settings().enabled:
            return app
        return agent.ASGIApplicationWrapper(_as_coroutine_function(app))  # type: ignore[no-any-return]
    except Exception:
        logging.getLogger("uvicorn.error").warning("New Relic's agent sees no requests", exc_info=True)
        return app


def _as_coroutine_function(app: ASGIApp) -> ASGIApp:
    """`app`, so that it can't be mistaken for ASGI 2: the agent takes all else than coroutine functions for that."""
    called = app if inspect.isroutine(app) else getattr(app, "__call__", app)  # noqa: B004 - it is what is looked at
    if inspect.iscoroutinefunction(called) and not inspect.isclass(app):
        return app

    # Its name is what transactions may be called after.
    @functools.wraps(app, updated=())
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return application
