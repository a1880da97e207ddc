"""The callables of ASGI 3.0, and what they pass to each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

__all__ = [
    "TOLD_AT_ONCE",
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

TOLD_AT_ONCE = 256
"""How often an application may ask in a row after it was told that its client has left, before all else has a turn.

Without one the loop of `while True: await receive()` would hear no signal any more.
"""


def raw_path_of(path: str) -> bytes:
    """The bytes of `path` in a request target: percent-encoded where RFC 3986, 3.3 asks for it."""
    return quote(path, safe="/%:@!$&'()*+,;=~").encode("ascii")
