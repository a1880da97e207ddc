"""The option `request_id_header`: a request has an id, from its client or made here, and its answer names it.

What the application sees of it is `scope["state"]["request_id"]`, and the header field, also where it was made here.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send
from uvicorn_worker.core.response_fields import as_pair

__all__ = ["make_id", "with_request_ids"]

# What is taken from a client: it is put into logs, and handed on.
_TAKEN = rb"[A-Za-z0-9._:/+=@~-]{1,128}"
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


def make_id() -> str:
    """A UUID of version 7 (RFC 9562, 5.7): those that are made later are greater."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    # Version and variant.
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    # Not at the start: it asks for the platform.
    import uuid

    return str(uuid.UUID(int=number))


def with_request_ids(app: ASGIApp, header: str) -> ASGIApp:
    """The application, each request of which has an id in the header field of that name."""
    name = header.lower().encode("latin-1")
    is_taken = re.compile(_TAKEN).fullmatch

    async def identified(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        value = next((value for field, value in scope["headers"] if field == name and is_taken(value)), None)
        if value is None:
            value = make_id().encode("ascii")
            scope["headers"] = [(field, each) for field, each in scope["headers"] if field != name]
            scope["headers"].append((name, value))
        scope.setdefault("state", {})["request_id"] = value.decode("ascii")

        async def send_with_id(message: Event) -> None:
            if message["type"] in _STARTS:
                message = {**message, "headers": _with(message.get("headers", ()), name, value)}
            await send(message)

        await app(scope, receive, send_with_id)

    return identified


def _with(headers: Any, name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a response, that of the application's own left out."""
    return [*(field for field in map(as_pair, headers) if field[0].lower() != name), (name, value)]
