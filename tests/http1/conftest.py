"""Fixtures of the tests of HTTP/1.1 connections: each runs with both parsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.scripted import Client, Harness
from uvicorn_worker.asgi import ASGIApp

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
        harness = Harness(app, parser=parser, **options)
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
