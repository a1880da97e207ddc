"""Heads and chunk lines that come a byte at a time cost what they cost at once: twice as long, twice the work."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.cost.counting import MOST, calls_of
from tests.http1.harness import Http1Harness
from tests.scripted import Client, get
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.http1 import h11_parser, limits


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for a body that does not come whole."""
    while (await receive()).get("more_body"):
        pass


def send_bytes(client: Client, data: bytes) -> None:
    for at in range(len(data)):
        client.push(data[at : at + 1])


WIDE_LIMITS: dict[str, Any] = {
    "limit_request_line": 0,
    "limit_request_field_size": 100_000,
    "limit_request_fields": 30_000,
}

BEGINNINGS = {
    "a target": lambda size: b"GET /" + b"a" * size,
    "a field": lambda size: b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * size,
    "many fields": lambda size: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * (size // 6),
    "a chunk extension": lambda size: get("/", "Transfer-Encoding: chunked", method="POST") + b"1;" + b"a" * size,
    "tiny chunks": lambda size: get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n" * (size // 6),
    "trailers": lambda size: (
        get("/", "Transfer-Encoding: chunked", method="POST") + b"1\r\na\r\n0\r\n" + b"a: b\r\n" * (size // 6)
    ),
    "empty lines": lambda size: b"\r\n" * (size // 2),
}


@pytest.mark.parametrize("each", [1, None])
@pytest.mark.parametrize("parser", ["httptools", "h11"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_byte_by_byte_and_at_once(parser: str, beginning: str, each: int | None) -> None:
    costs = []
    # Within the bounds of chunk extensions and of empty lines, so that none is refused.
    for size in (1500, 3000):
        harness = Http1Harness(app, parser=parser, **WIDE_LIMITS)
        client, data = harness.connect(), BEGINNINGS[beginning](size)
        costs.append(calls_of(partial(send_bytes if each else Client.push, client, data)))
        assert not client.closed
        harness.close()
    assert costs[1] <= costs[0] * MOST


@pytest.mark.parametrize("beginning", ["a target", "a field", "many fields"])
def test_each_byte_of_a_head_is_looked_at_once(beginning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """h11, which is given the head when it is whole: until then its end is looked for, and its lines are measured."""
    looked_at = 0

    def find_end(head: bytearray, start: int) -> Any:
        nonlocal looked_at
        looked_at += len(head) - start
        return search(head, start)

    def add(self: limits.PartialLines, data: bytes) -> None:
        nonlocal looked_at
        looked_at += len(data)
        measure(self, data)

    search, measure = h11_parser._find_end, limits.PartialLines.add
    monkeypatch.setattr(h11_parser, "_find_end", find_end)
    monkeypatch.setattr(limits.PartialLines, "add", add)
    data = BEGINNINGS[beginning](6000)
    harness = Http1Harness(app, parser="h11", **WIDE_LIMITS)
    client = harness.connect()
    send_bytes(client, data)
    assert looked_at <= 4 * len(data)
    harness.close()
