"""Cycles as the access log sees them, made by a real connection, and Gunicorn's own objects to compare with."""

from __future__ import annotations

from typing import Any

from tests.http1.apps import body, respond, start
from tests.logs.cycles import REQUESTS, headless_cycle, settings
from tests.records import Records, records_of
from tests.scripted import Harness, get
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.runtime import AccessHook, CycleView

__all__ = ["REQUESTS", "Records", "cycle_of", "headless_cycle", "records_of", "serve_logged", "settings"]


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


def cycle_of(request: bytes | None = None, app: ASGIApp | None = None, **options: Any) -> CycleView:
    """The one cycle of a request."""
    seen: list[CycleView] = []
    serve_logged(seen.append, get() if request is None else request, app, **options)
    (cycle,) = seen
    return cycle
