"""The callables of ASGI 3.0, and what they pass to each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

__all__ = [
    "ASGIApp",
    "Event",
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


def raw_path_of(path: str) -> bytes:
    """The bytes of `path` in a request target: percent-encoded where RFC 3986, 3.3 asks for it."""
    return quote(path, safe="/%:@!$&'()*+,;=~").encode("ascii")
