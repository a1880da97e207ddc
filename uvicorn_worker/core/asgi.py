"""The shapes of ASGI 3.0 (HTTP 2.5, lifespan 2.0): scopes, events and callables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal, TypedDict
from urllib.parse import quote

__all__ = [
    "ASGIApp",
    "ASGIVersions",
    "Event",
    "HTTPDisconnectEvent",
    "HTTPRequestEvent",
    "HTTPResponseBodyEvent",
    "HTTPResponseStartEvent",
    "HTTPScope",
    "LifespanScope",
    "Receive",
    "Scope",
    "Send",
    "raw_path_of",
]

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class ASGIVersions(TypedDict):
    """`scope["asgi"]`: the version of ASGI, and that of the sub-specification of the scope's type."""

    version: Literal["3.0"]
    spec_version: str


class _HTTPScopeRequired(TypedDict):
    type: Literal["http"]
    asgi: ASGIVersions
    http_version: Literal["1.0", "1.1"]
    method: str
    scheme: Literal["http", "https"]
    path: str
    raw_path: bytes
    query_string: bytes
    root_path: str
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None


class HTTPScope(_HTTPScopeRequired, total=False):
    """The connection scope of one HTTP request (ASGI HTTP 2.5)."""

    state: dict[str, Any]
    extensions: dict[str, dict[str, Any]]


class LifespanScope(TypedDict):
    """The scope of the application's lifespan (ASGI lifespan 2.0); `state` is copied into each request."""

    type: Literal["lifespan"]
    asgi: ASGIVersions
    state: dict[str, Any]


class HTTPRequestEvent(TypedDict):
    """A piece of the request body; the last one has `more_body` false."""

    type: Literal["http.request"]
    body: bytes
    more_body: bool


class HTTPDisconnectEvent(TypedDict):
    """The client left, or the response is complete."""

    type: Literal["http.disconnect"]


class HTTPResponseStartEvent(TypedDict, total=False):
    """Status and headers of the response; held back until the first body event."""

    type: Literal["http.response.start"]
    status: int
    headers: Iterable[tuple[bytes, bytes]]
    trailers: bool


class HTTPResponseBodyEvent(TypedDict, total=False):
    """A piece of the response body; the last one has `more_body` false or absent."""

    type: Literal["http.response.body"]
    body: bytes
    more_body: bool


def raw_path_of(path: str) -> bytes:
    """The bytes of `path` in a request target: percent-encoded where RFC 3986, 3.3 asks for it."""
    return quote(path, safe="/%:@!$&'()*+,;=~").encode("ascii")
