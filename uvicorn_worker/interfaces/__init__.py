"""What an application can look like to be served, and the adapters to the one form that the server calls.

    asgi3    await app(scope, receive, send)             called as it is
    asgi2    await app(scope)(receive, send)             Asgi2Adapter
    wsgi     app(environ, start_response) -> iterable    WsgiAdapter, in a pool of threads

The adapters know scope, receive and send alone, so they serve every protocol alike.
"""

from __future__ import annotations

from uvicorn_worker.interfaces.asgi2 import Asgi2Adapter
from uvicorn_worker.interfaces.detection import Kind, detect, needs_arguments
from uvicorn_worker.interfaces.wsgi import WsgiAdapter

__all__ = ["Asgi2Adapter", "Kind", "WsgiAdapter", "detect", "needs_arguments"]
