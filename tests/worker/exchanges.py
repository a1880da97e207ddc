"""Exchanges as the access log sees them, made by a real connection, and Gunicorn's own objects to compare with."""

from __future__ import annotations

from typing import Any

from gunicorn.config import Config as GunicornConfig

from tests.http1.apps import body, respond, start
from tests.scripted import Harness, get
from uvicorn_worker.asgi import ASGIApp
from uvicorn_worker.runtime import AccessHook, Exchange

__all__ = ["exchange_of", "serve_logged", "settings"]


def settings(**values: Any) -> GunicornConfig:
    """Gunicorn's settings, with these values set."""
    cfg = GunicornConfig()
    for name, value in values.items():
        cfg.set(name, value)
    return cfg


def serve_logged(
    hook: AccessHook,
    request: bytes,
    app: ASGIApp | None = None,
    transport: dict[str, Any] | None = None,
    **options: Any,
) -> bytes:
    """Serve `request` with an access hook; what was written."""
    if app is None:
        headers = [(b"content-type", b"text/plain"), (b"X-Twice", b"1"), (b"x-twice", b"2"), (b"x-quote", b'a"b')]
        app = respond(start(200, headers), body(b"Hello, world!"))
    harness = Harness(app, **options)
    harness.runtime.access = hook
    client = harness.connect(**(transport or {})).send(request)
    harness.close()
    return client.transport.output


def exchange_of(request: bytes | None = None, app: ASGIApp | None = None, **options: Any) -> Exchange:
    """The one exchange of a request."""
    seen: list[Exchange] = []
    serve_logged(seen.append, get() if request is None else request, app, **options)
    (exchange,) = seen
    return exchange
