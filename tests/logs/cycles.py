"""Cycles as the access log sees them, of requests that no protocol has read."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

from gunicorn.config import Config as GunicornConfig

from tests.scripted import get, post
from uvicorn_worker.core.runtime import CycleView

__all__ = ["REQUESTS", "cycle_of", "headless_cycle", "settings"]

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

# What a small answer of an application has.
ANSWER = [(b"content-type", b"text/plain"), (b"X-Twice", b"1"), (b"x-twice", b"2"), (b"x-quote", b'a"b')]


def settings(**values: Any) -> GunicornConfig:
    """Gunicorn's settings, with these values set."""
    cfg = GunicornConfig()
    for name, value in values.items():
        cfg.set(name, value)
    return cfg


def cycle_of(
    request: bytes = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    *,
    client: tuple[str, int] | None = ("192.0.2.7", 50123),
    server: tuple[str, int | None] = ("127.0.0.1", 8000),
    root_path: str = "",
    **values: Any,
) -> CycleView:
    """The cycle of a request that was answered 200 with 13 bytes; `values` are attributes that are others."""
    head, _, _ = request.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    method, target, version = line.split(b" ")
    path, _, query = target.partition(b"?")
    headers = [(name.lower(), value.strip()) for name, _, value in (field.partition(b":") for field in fields)]
    scope = {
        "type": "http",
        "http_version": version.decode()[5:],
        "method": method.decode(),
        "path": root_path + unquote(path.decode()),
        "raw_path": root_path.encode() + path,
        "query_string": query,
        "root_path": root_path,
        "scheme": "http",
        "headers": headers,
        "client": client,
        "server": server,
    }
    answer = {"status": 200, "response_headers": ANSWER, "body_sent": 13, "started": time.monotonic(), "task": None}
    cycle: Any = SimpleNamespace(scope=scope, target=target, **{**answer, **values})
    return cycle  # type: ignore[no-any-return]


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
