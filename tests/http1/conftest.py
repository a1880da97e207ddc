"""Fixtures of the tests of HTTP/1.1 connections: each runs with both parsers."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http1.harness import Http1Harness
from tests.scripted import Client, Harness
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.http1.known_heads import KnownHeads

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Serve = Callable[..., Harness]
Connect = Callable[..., Client]


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> str:
    """The parser that reads the requests."""
    return str(request.param)


@pytest.fixture
def serve(parser: str) -> Iterator[Serve]:
    """Start harnesses: `serve(app, **options)`; they end with the test."""
    started: list[Harness] = []

    def start(app: ASGIApp, **options: Any) -> Harness:
        harness = Http1Harness(app, parser=parser, **options)
        started.append(harness)
        return harness

    yield start
    for harness in started:
        harness.close()


@pytest.fixture
def connect(serve: Serve) -> Connect:
    """One connection to an application: `connect(app, **options)`."""

    def start(app: ASGIApp, **options: Any) -> Client:
        return serve(app, **options).connect()

    return start


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each read that was compared with what is known of its connection's requests was taken by it."""
    seen: list[bool] = []
    take = KnownHeads.take_pattern

    def spy(self: KnownHeads, start: bytes, data: bytes | memoryview) -> bool:
        seen.append(take(self, start, data))
        return seen[-1]

    monkeypatch.setattr(KnownHeads, "take_pattern", spy)
    return seen


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on each kind of event loop; whatever the loop has to complain about is an error."""
    loop = pytest.importorskip("uvloop").new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    faults: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: faults.append(context))
    yield lambda coroutine: loop.run_until_complete(asyncio.wait_for(coroutine, 30))
    loop.close()
    assert faults == []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS contexts of a server and of a client that trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))
