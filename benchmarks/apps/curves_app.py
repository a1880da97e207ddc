"""Applications of benchmarks/curves.py and free_threaded.py: some compute, some wait, one blocks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

BODY = b"Hello, world!"
HEADERS = [(b"content-length", b"13")]


# As of a database: four connections, so 80 queries of 50 ms a second.
pool = asyncio.Semaphore(4)


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    path = scope["path"]
    if path == "/wait":
        await asyncio.sleep(0.05)
    elif path == "/blocks":
        time.sleep(0.05)  # noqa: ASYNC251 - what is measured
    elif path == "/pool":
        async with pool:
            await asyncio.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    time.sleep(0.05)
    start_response("200 OK", [("Content-Length", "13")])
    return [BODY]


def computes(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Some milliseconds of Python that let nothing go."""
    sum(number * number for number in range(50_000))
    start_response("200 OK", [("Content-Length", "13")])
    return [BODY]
