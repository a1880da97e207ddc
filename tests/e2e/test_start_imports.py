"""What a plain worker does not import: it starts faster for it, and is smaller."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from tests.e2e.harness import HTTPTOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.harness import Gunicorn

    Serve = Callable[..., Gunicorn]

APP = """
import sys

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError
    body = chr(10).join(sys.modules).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

# Each with the option, the request or the mistake that has a use for it.
NOT_IMPORTED = {
    "uvicorn_worker.http2": "http2",
    "uvicorn_worker.switching.new_connection": "http2",
    "uvicorn_worker.switching.h2c": "http2",
    "uvicorn_worker.switching.websocket_stream": "http2",
    "uvicorn_worker.switching.websocket_upgrade": "ws",
    "uvicorn_worker.websocket": "ws",
    "websockets": "ws",
    "websockets.exceptions": "nothing",
    "websockets.frames": "nothing",
    "websockets.protocol": "nothing",
    "h2": "http2_engine",
    "hpack": "http2_engine",
    "h11": "http",
    "uvicorn_worker.http1.h11_parser": "http",
    "uvicorn_worker.interfaces.wsgi": "a WSGI application",
    "uvicorn_worker.interfaces.asgi2": "an ASGI 2 application",
    "uvicorn_worker.cli": "the command",
    "uvicorn_worker.middleware": "an application that asks for it",
    "click": "the command",
    "rich": "uvicorn-worker top",
    "watchfiles": "reload",
    "prometheus_client": "metrics_bind",
    "cryptography": "--dev-cert",
    "yaml": "a logging configuration in YAML",
    "psutil": "nothing",
    "uvicorn": "nothing",
    "uvicorn_worker.board.reading": "metrics_bind",
    "uvicorn_worker.board.exposition": "metrics_bind",
    "uvicorn_worker.board.metrics": "metrics_bind",
    "uvicorn_worker.server.occupant": "an address that is taken",
    "uvicorn_worker.server.slow_requests": "log_slow_requests",
    "uvicorn_worker.interfaces.request_ids": "request_id_header",
    "uvicorn_worker.proxies.proxy_protocol": "proxy_protocol",
    "uvicorn_worker.tls.contexts": "TLS",
    "uvicorn_worker.tls.extension": "TLS",
    "uvicorn_worker.logs.formatters": "a logging configuration",
    "uvicorn_worker.logs.json_lines": "a logging configuration",
    "uvicorn_worker.logs.log_config": "a logging configuration",
    "configparser": "a logging configuration",
    "gunicorn.instrument": "statsd_host",
    "hashlib": "nothing",
    "difflib": "a name that is not there",
    "tomllib": "a pyproject.toml",
    "uuid": "request_id_header",
    "sysconfig": "an application that can't be loaded",
    "pkgutil": "a name that is not there",
}
# On a Python for which httptools is not installed, h11 reads the requests.
if importlib.util.find_spec("httptools") is None:
    NOT_IMPORTED = {name: use for name, use in NOT_IMPORTED.items() if use != "http"}


def test_a_plain_worker(serve: Serve) -> None:
    server = serve("app:app", worker=HTTPTOOLS, files={"app.py": APP}, env={"UVICORN_WS": "none"})
    imported = set(server.get("/").text.split())
    assert "uvicorn_worker.http1.protocol" in imported
    assert {name: use for name, use in NOT_IMPORTED.items() if name in imported} == {}


def test_one_with_websockets(serve: Serve) -> None:
    server = serve("app:app", worker=HTTPTOOLS, files={"app.py": APP})
    imported = set(server.get("/").text.split())
    assert "uvicorn_worker.websocket" in imported
    assert {name: use for name, use in NOT_IMPORTED.items() if name in imported and "ws" not in use.split(", ")} == {}
