"""What options ask for is there before the fork, and nothing else of it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from uvicorn_worker.core.config import Config
from uvicorn_worker.server.needed import load_needed

PROGRAM = """
import sys
import uvicorn_worker
from uvicorn_worker.core.config import Config
from uvicorn_worker.server import Server
from uvicorn_worker.server.needed import load_needed
before = set(sys.modules)
load_needed(Config("x:y", **{options!r}))
print(*sorted(set(sys.modules) - before))
"""


def loaded(**options: Any) -> set[str]:
    """The modules that are imported for these options."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(options=options)], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("options", "module"),
    [
        ({"http": "h11"}, "uvicorn_worker.http1.h11_parser"),
        ({"http": "h11"}, "uvicorn_worker.switching.websocket_upgrade"),
        ({"http": "h11", "http2": "on"}, "uvicorn_worker.http2.engine.native.engine"),
        ({"http": "h11", "http2": "on", "http2_engine": "h2"}, "uvicorn_worker.http2.engine.h2.engine"),
        ({"http": "h11", "http2": "on"}, "uvicorn_worker.switching.new_connection"),
        ({"http": "h11", "ssl_certfile": "cert.pem", "ssl_keyfile": "key.pem"}, "uvicorn_worker.tls.contexts"),
        ({"http": "h11", "ssl_certfile": "cert.pem", "ssl_keyfile": "key.pem"}, "uvicorn_worker.tls.extension"),
        ({"http": "h11", "proxy_protocol": "auto"}, "uvicorn_worker.proxies.proxy_protocol"),
        ({"http": "h11", "request_id_header": "X-Request-ID"}, "uvicorn_worker.interfaces.request_ids"),
        ({"http": "h11", "log_slow_requests": 1}, "uvicorn_worker.server.slow_requests"),
        ({"http": "h11", "log_config": {"version": 1}}, "uvicorn_worker.logs.log_config"),
        ({"http": "h11", "metrics_bind": "127.0.0.1:0"}, "uvicorn_worker.board.metrics"),
    ],
)
def test_what_an_option_asks_for(options: dict[str, Any], module: str) -> None:
    assert module in loaded(**options)


def test_what_no_option_asks_for() -> None:
    ours = {name for name in loaded(http="h11", ws="none") if name.startswith("uvicorn_worker")}
    assert ours == {"uvicorn_worker.http1.h11_parser"}


def test_what_is_not_installed_is_left_to_those_who_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    load_needed(Config("x:y", http="httptools"))
