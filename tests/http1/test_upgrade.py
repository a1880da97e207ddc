"""Upgrades to a protocol that is not spoken here: the request is served as the HTTP/1.1 request that it is."""

from __future__ import annotations

import pytest

from tests.http1.apps import Recorder, echo, hello
from tests.http1.conftest import Connect
from tests.scripted import get, post
from uvicorn_worker.core.asgi import ASGIApp

SIZES = [None, 1, 3, 50]


@pytest.fixture(params=["foo/2", "h2c"])
def upgrade(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The fields of a request for a protocol that no server knows, and for one that ours knows elsewhere."""
    return "Connection: Upgrade", f"Upgrade: {request.param}"


@pytest.mark.parametrize("each", SIZES)
@pytest.mark.parametrize("protocol", ["foo/2", "h2c", "TLS/1.0"])
def test_it_is_served(connect: Connect, each: int | None, protocol: str) -> None:
    app = Recorder(echo)
    client = connect(app).send(get("/1", "Connection: Upgrade", f"Upgrade: {protocol}"), each=each)
    assert client.response().body == b"GET /1 "
    assert (b"upgrade", protocol.encode()) in app.scope["headers"]
    assert client.open


@pytest.mark.parametrize("each", SIZES)
def test_with_a_request_behind_it(connect: Connect, upgrade: tuple[str, str], each: int | None) -> None:
    client = connect(echo).send(get("/1", *upgrade) + get("/2") + get("/3", *upgrade) + post(b"4"), each=each)
    assert [response.body for response in client.responses()] == [b"GET /1 ", b"GET /2 ", b"GET /3 ", b"POST / 4"]
    assert client.open


@pytest.mark.parametrize("each", SIZES)
def test_with_a_body(connect: Connect, upgrade: tuple[str, str], each: int | None) -> None:
    client = connect(echo).send(post(b"hello", *upgrade, target="/1") + get("/2"), each=each)
    assert [response.body for response in client.responses()] == [b"POST /1 hello", b"GET /2 "]


@pytest.mark.parametrize("each", SIZES)
def test_with_a_body_in_chunks(connect: Connect, upgrade: tuple[str, str], each: int | None) -> None:
    app = Recorder(echo)
    head = get("/1", *upgrade, "Transfer-Encoding: chunked", method="POST")
    rest = b"3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Trailer: t\r\n\r\n"
    client = connect(app).send(head + rest + get("/2"), each=each)
    assert [response.body for response in client.responses()] == [b"POST /1 abcdef", b"GET /2 "]
    assert app.scopes[1]["headers"] == [(b"host", b"example.org")]


def test_with_an_expectation(connect: Connect, upgrade: tuple[str, str]) -> None:
    head = get("/1", *upgrade, "Content-Length: 5", "Expect: 100-continue", method="POST")
    client = connect(echo).send(head, b"hello", get("/2"))
    assert [response.status for response in client.responses()] == [100, 200, 200]


@pytest.mark.parametrize("size", [10, 5000, 100_000, 500_000])
@pytest.mark.parametrize("app", [echo, hello], ids=["read", "not read"])
def test_with_a_large_body(connect: Connect, upgrade: tuple[str, str], app: ASGIApp, size: int) -> None:
    client = connect(app).send(post(b"x" * size, *upgrade) + get("/2"))
    assert [response.status for response in client.responses()] == [200, 200]


def test_the_end_of_the_connection_may_be_asked_for_too(connect: Connect) -> None:
    client = connect(hello).send(get("/1", "Connection: Upgrade, close", "Upgrade: foo"))
    assert client.response().closes
    assert client.closed


def test_an_upgrade_field_alone_means_nothing(connect: Connect) -> None:
    client = connect(echo).send(get("/1", "Upgrade: foo") + get("/2"))
    assert len(client.responses()) == 2


def test_one_that_is_refused(connect: Connect, upgrade: tuple[str, str]) -> None:
    client = connect(echo).send(get("/1", *upgrade, "Expect: something") + get("/2"))
    assert client.response().status == 417
    assert client.closed


def test_a_bad_body_is_refused(connect: Connect, upgrade: tuple[str, str]) -> None:
    head = get("/1", *upgrade, "Transfer-Encoding: chunked", method="POST")
    client = connect(Recorder(echo)).send(head + b"xyz\r\n")
    assert client.response().status == 400
    assert client.closed


def test_many_in_one_read_do_not_nest(connect: Connect, upgrade: tuple[str, str]) -> None:
    request = get("/", *upgrade)
    count = 100_000 // len(request)
    client = connect(hello).send(request * count)
    assert len(client.responses()) == count
