"""What a connection holds whose application does not read: its limits, and little beyond, however small the pieces."""

from __future__ import annotations

import pytest

from tests.http1.apps import Gate
from tests.http1.conftest import Connect
from tests.memory import SLACK, held_after
from tests.scripted import Client, get, post
from uvicorn_worker.http1.limits import BODY_HIGH_WATER

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
MOST = 4 << 20


@pytest.fixture
def connect(connect: Connect) -> Connect:
    """Connections of a server that has had a large read: what such reads go into belongs to all of them."""

    def begin(app: Gate) -> Client:
        client = connect(app)
        client.harness.connect().send(bytes(262144)).leave()
        assert client.harness.runtime.read_buffer is not None
        return client

    return begin


def fill(client: Client, piece: bytes, read: int) -> None:
    """Send `piece` again and again, in reads of a size, until the connection takes no more."""
    repeated = piece * (read // len(piece) or 1)
    sent = 0
    while client.transport.is_reading() and not client.closed and sent < MOST:
        client.send(repeated)
        sent += len(repeated)
    assert sent < MOST, "nothing has stopped it"


@pytest.mark.parametrize("read", [1000, 262144])
@pytest.mark.parametrize(
    "piece",
    [b"2\r\nxy\r\n", b"10\r\n0123456789abcdef\r\n", b"400\r\n" + bytes(1024) + b"\r\n"],
    ids=lambda piece: f"chunks of {len(piece)}",
)
def test_chunks(connect: Connect, piece: bytes, read: int) -> None:
    client = connect(Gate()).send(CHUNKED)
    assert held_after(lambda: fill(client, piece, read)) <= BODY_HIGH_WATER + max(read - BODY_HIGH_WATER, 0) + SLACK


@pytest.mark.parametrize("read", [20, 262144])
def test_a_body_in_small_reads(connect: Connect, read: int) -> None:
    client = connect(Gate()).send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
    assert held_after(lambda: fill(client, b"xy", read)) <= BODY_HIGH_WATER + max(read - BODY_HIGH_WATER, 0) + SLACK


@pytest.mark.parametrize("read", [100, 65536, 262144])
@pytest.mark.parametrize(
    "piece",
    [
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        get(),
        get("/", *[f"X-{number}: y" for number in range(50)]),
        post(b"xy"),
        post(bytes(1000)),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ],
    ids=["least", "get", "fields", "small post", "post", "chunked"],
)
def test_pipelined_requests(connect: Connect, piece: bytes, read: int) -> None:
    client = connect(Gate())
    # The read itself, where it is larger than what may wait, is part of the slack.
    assert held_after(lambda: fill(client, piece, read)) <= BODY_HIGH_WATER + SLACK
