"""The types of ASGI 3.0, by the names that uvicorn and asgiref have for them, for annotations.

The server itself knows scopes and messages as mappings (core/asgi.py), and so takes what any framework gives it; the
classes here say what there is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Literal, Protocol, TypedDict

from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send

__all__ = [
    "ASGI2Application",
    "ASGI2Protocol",
    "ASGI3Application",
    "ASGIApplication",
    "ASGIReceiveCallable",
    "ASGISendCallable",
    "ASGIVersions",
    "Event",
    "HTTPScope",
    "LifespanScope",
    "Scope",
    "StartResponse",
    "WSGIApp",
    "WWWScope",
    "WebSocketScope",
]


class ASGIVersions(TypedDict):
    """`scope["asgi"]`."""

    spec_version: str
    version: Literal["2.0", "3.0"]


class _Connection(TypedDict):
    asgi: ASGIVersions
    http_version: str
    scheme: str
    path: str
    raw_path: bytes
    query_string: bytes
    root_path: str
    headers: Iterable[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    state: dict[str, Any]
    extensions: dict[str, dict[object, object]]


class HTTPScope(_Connection):
    """Of one HTTP request."""

    type: Literal["http"]
    method: str


class WebSocketScope(_Connection):
    """Of one WebSocket."""

    type: Literal["websocket"]
    subprotocols: Iterable[str]


class LifespanScope(TypedDict):
    """Of the application as a whole."""

    type: Literal["lifespan"]
    asgi: ASGIVersions
    state: dict[str, Any]


WWWScope = HTTPScope | WebSocketScope

ASGIReceiveCallable = Receive
ASGISendCallable = Send
ASGI3Application = ASGIApp


class ASGI2Protocol(Protocol):
    """An instance of an ASGI 2 application."""

    def __init__(self, scope: Scope) -> None:
        """With the scope, of which it is one."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve it."""


ASGI2Application = type[ASGI2Protocol]
ASGIApplication = ASGI2Application | ASGI3Application


class StartResponse(Protocol):
    """What a WSGI application calls with the head of its response (PEP 3333)."""

    def __call__(self, status: str, headers: Iterable[tuple[str, str]], exc_info: Any = None, /) -> Any:
        """Gives a function that writes."""


WSGIApp = Callable[[MutableMapping[str, Any], StartResponse], Iterable[bytes]]
