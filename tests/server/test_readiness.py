"""The line that says what serves."""

from __future__ import annotations

import asyncio
import importlib.util
from contextlib import closing
from typing import TYPE_CHECKING

from tests.http1.apps import hello
from tests.server.running import Running
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.explained import explained
from uvicorn_worker.server.readiness import differing, ready_line, ready_of

if TYPE_CHECKING:
    import pytest

HERE = ["http://127.0.0.1:80"]


def line(workers: int = 1, seconds: float = 0.44, **options: object) -> str:
    given = {"loop": "asyncio", "http": "h11", **options}
    return ready_line(Config(hello, **given), HERE, workers=workers, seconds=seconds, usual={"loop": "asyncio"})  # type: ignore[arg-type]


def test_one_process() -> None:
    assert line(http="auto").startswith("Ready in 0.4 s on http://127.0.0.1:80: 1 process, loop asyncio, HTTP/1.1 (")
    assert line().endswith("HTTP/1.1 (h11), WebSocket, no TLS; not by default: http = h11")


def test_a_slow_start_leads_to_what_can_be_done() -> None:
    assert "docs/" not in line(seconds=9.9)
    assert line(seconds=10).endswith(f"http = h11 {explained('it-starts-slowly')}")


def test_what_differs_is_said_but_no_secret() -> None:
    said = line(2, http2="on", ws="none", ssl_certfile="c.pem", ssl_keyfile_password="secret")
    assert ": 2 workers, loop asyncio, HTTP/1.1 (h11), HTTP/2, TLS; not by default: http = h11, " in said
    assert "WebSocket" not in said
    assert "http2 = on" in said
    assert "ws = none" in said
    assert "secret" not in said
    assert "c.pem" not in said


def test_nothing_differs() -> None:
    assert list(differing(Config(hello))) == []
    assert list(differing(Config(hello, limit_concurrency=5), {"limit_concurrency": 5})) == []
    assert "not by default" not in line(http="auto")


def test_the_loop_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert ", loop asyncio, " in line(loop="auto")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: object())
    assert ", loop uvloop, " in line(loop="auto") or ", loop asyncio, " in line(loop="auto")


def test_the_loop_that_serves_is_said_not_the_one_that_was_to() -> None:
    with closing(asyncio.new_event_loop()) as loop:
        here = ready_line(Config(hello), HERE, workers=1, seconds=1, loop=loop)
    assert ", loop asyncio, " in here


def test_of_a_server_that_serves_alone() -> None:
    async def main() -> tuple[str, int]:
        async with Running(hello, lifespan="off") as running:
            return ready_of(running.server, 1.25), running.sock.getsockname()[1]

    said, port = asyncio.run(main())
    assert said.startswith(f"Ready in 1.2 s on http://127.0.0.1:{port}: 1 process, loop ")
