"""Cycles as the access log sees them, made by a real connection, and Gunicorn's own objects to compare with."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from gunicorn.config import Config as GunicornConfig

from tests.http1.apps import body, respond, start
from tests.scripted import Harness, get, post
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.runtime import AccessHook, CycleView

__all__ = ["REQUESTS", "Records", "cycle_of", "headless_cycle", "records_of", "serve_logged", "settings"]

REQUESTS = {
    "get": get(),
    "query": get("/a%20b?c=d&e"),
    "fields": get("/", "Referer: http://x/", "User-Agent: curl/8", 'X-Quote: a"b', "X-Twice: 1", "X-Twice: 2"),
    "user": get("/", "Authorization: Basic YWxpY2U6c2VjcmV0"),
    "user without a password": get("/", "Authorization: basic YWxpY2U="),
    "no user": get("/", "Authorization: Basic OnNlY3JldA=="),
    "bearer": get("/", "Authorization: Bearer YWxpY2U6c2VjcmV0"),
    "no base64": get("/", "Authorization: Basic YWxp"),
    "bad base64": get("/", "Authorization: Basic YWxpY2U6c2VjcmV"),
    "no utf-8": get("/", "Authorization: Basic /////w=="),
    "no credentials": get("/", "Authorization: Basic"),
    "credentials beyond ASCII": get("/", "Authorization: Basic \xe9\xe9"),
    "post": post(b"12345", "Content-Type: text/plain"),
    "http10": get(version="1.0"),
    "latin-1": get("/", "User-Agent: \xe9"),
}


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


def cycle_of(request: bytes | None = None, app: ASGIApp | None = None, **options: Any) -> CycleView:
    """The one cycle of a request."""
    seen: list[CycleView] = []
    serve_logged(seen.append, get() if request is None else request, app, **options)
    (cycle,) = seen
    return cycle


def headless_cycle(status: int) -> CycleView:
    """What the access log is told of an answer to a client that has sent no head."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "-",
        "path": "-",
        "raw_path": b"-",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [],
        "client": ("192.0.2.7", 50123),
        "server": ("192.0.2.1", 80),
    }
    cycle: Any = SimpleNamespace(
        scope=scope, target=b"-", status=status, response_headers=[], body_sent=0, started=time.monotonic()
    )
    return cycle  # type: ignore[no-any-return]


class Records(logging.Handler):
    """Keeps what is logged; pytest's own handlers are only on loggers that propagate, which Gunicorn's do not."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.kept]


@contextlib.contextmanager
def records_of(*names: str) -> Iterator[Records]:
    """What is logged on these loggers, which are put back afterwards as they were."""
    handler = Records()
    loggers = [logging.getLogger(name) for name in names]
    before = [dict(vars(logger), handlers=list(logger.handlers), filters=list(logger.filters)) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield handler
    finally:
        for logger, attributes in zip(loggers, before, strict=True):
            for each in logger.handlers:
                if each not in attributes["handlers"]:
                    each.close()
            vars(logger).update(attributes)
            logger.setLevel(attributes["level"])  # which forgets what isEnabledFor has kept
