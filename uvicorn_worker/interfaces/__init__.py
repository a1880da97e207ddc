"""What an application can look like to be served, and the adapters to the one form that the server calls.

    asgi3    await app(scope, receive, send)             called as it is
    asgi2    await app(scope)(receive, send)             Asgi2Adapter
    wsgi     app(environ, start_response) -> iterable    WsgiAdapter, in a pool of threads

The adapters know scope, receive and send alone, so they serve every protocol alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn_worker.interfaces.detection import Kind, detect, needs_arguments

if TYPE_CHECKING:
    from uvicorn_worker.interfaces.asgi2 import Asgi2Adapter
    from uvicorn_worker.interfaces.wsgi import WsgiAdapter

__all__ = ["Asgi2Adapter", "Kind", "WsgiAdapter", "detect", "needs_arguments"]


def __getattr__(name: str) -> Any:
    """The adapters are imported where an application needs one."""
    if name == "Asgi2Adapter":
        from uvicorn_worker.interfaces.asgi2 import Asgi2Adapter

        return Asgi2Adapter
    if name == "WsgiAdapter":
        from uvicorn_worker.interfaces.wsgi import WsgiAdapter

        return WsgiAdapter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
