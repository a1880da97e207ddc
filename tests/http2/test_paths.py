"""The option `paths` over HTTP/2."""

from __future__ import annotations

import asyncio

import pytest

from tests.http1.apps import echo
from tests.http2.conftest import Converse
from uvicorn_worker.core.asgi import Receive, Scope, Send


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(("path", "status"), [(b"/", 413), (b"/up", 200), (b"/up/none", 413)])
def test_limit_request_body(talk: Converse, path: bytes, status: int) -> None:
    paths = {"/up": {"limit_request_body": 100}, "/up/none": {"limit_request_body": 0}}
    assert talk(echo, limit_request_body=5, paths=paths).post(b"1234567890", path).status == status
    declared = (b"content-length", b"10")
    assert talk(echo, limit_request_body=5, paths=paths).post(b"1234567890", path, declared).status == status


@pytest.mark.parametrize(("path", "seconds"), [(b"/", 30), (b"/quick", 5)])
def test_timeout_request(talk: Converse, path: bytes, seconds: float) -> None:
    connection = talk(hanging, timeout_request=30, paths={"/quick": {"timeout_request": 5}})
    connection.get(path)
    connection.tick(seconds - 1)
    assert not connection.stream(1).whole
    connection.tick(2)
    assert connection.pull().stream(1).status == 504


@pytest.mark.parametrize(("path", "status"), [(b"/", None), (b"/up", 408)])
def test_timeout_request_body(talk: Converse, path: bytes, status: int | None) -> None:
    connection = talk(echo, timeout_request_body=60, paths={"/up": {"timeout_request_body": 5}})
    wire = connection.wire
    connection.send(wire.headers(1, wire.request_fields(path, method=b"POST"), end=False))
    connection.tick(7)
    statuses = connection.pull().stream(1).statuses
    assert statuses == ([] if status is None else [status])
