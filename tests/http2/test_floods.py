"""What the log says of clients that are refused, or whose connection a flood ends."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest

from tests.http1.apps import hello
from tests.http2.conftest import Serve, Talk
from tests.http2.wire import frame
from uvicorn_worker.http2.engine.codes import FrameType
from uvicorn_worker.logs import spell
from uvicorn_worker.logs.spell import REFUSALS_SAID

Log = Callable[..., list[str]]


def test_a_flood_that_ends_connections_is_said_once(serve: Serve, log: Log) -> None:
    harness = serve(hello)
    for _ in range(5):
        client = Talk(harness)
        client.send(frame(FrameType.PRIORITY, 0, 1, b"\0\0\0\0\x10") * 2000)
        assert client.closed
    (line,) = log(logging.WARNING)
    assert line.startswith("Invalid HTTP/2 from 192.0.2.7:50123: ")
    assert line.endswith("(ENHANCE_YOUR_CALM)")


def test_and_its_end(serve: Serve, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spell, "QUIET_SECONDS", 0.05)
    harness = serve(hello)
    for _ in range(5):
        Talk(harness).send(frame(FrameType.PRIORITY, 0, 1, b"\0\0\0\0\x10") * 2000)
    # A slow test has more than one end.
    ended = 0
    while ended < 5:
        harness.settle()
        ends = re.findall(r"HTTP/2 floods are over: (\d) connections? w(?:as|ere) ended in ", "\n".join(log()))
        ended = sum(map(int, ends))
    assert ended == 5


@pytest.mark.parametrize("kind", ["request", "frame", "field"])
def test_many_that_are_refused_are_counted(serve: Serve, kind: str, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    # The test may be slow.
    monkeypatch.setattr(spell, "REFUSALS_PER_SECOND", 0)
    harness = serve(hello)
    for _ in range(REFUSALS_SAID + 100):
        client = Talk(harness)
        if kind == "frame":
            client.send(frame(FrameType.WINDOW_UPDATE, 0, 0, b"\0\0\0\0"))
        elif kind == "field":
            client.send(client.wire.request(b"/", (b"x-y", b"a\0b")))
        else:
            client.send(client.wire.request(b"/", scheme=b"http", authority=b"a b"))
    lines = log(logging.WARNING)
    assert len(lines) == REFUSALS_SAID + 1
    assert all(line.startswith("Invalid ") for line in lines[:REFUSALS_SAID])
    assert lines[-1].startswith("HTTP/2: so many invalid requests that they are counted from now on")


def test_uploads_that_are_given_up_behind_their_answer_are_none(serve: Serve, log: Log) -> None:
    """As curl does it: no reset, but the end of the body."""
    client = Talk(serve(hello))
    for _ in range(500):
        number = client.wire.next_id
        client.send(client.wire.request(b"/", (b"content-length", b"9999"), method=b"POST", end=False))
        client.send(client.wire.data(number, b"x", end=True))
        assert client.stream(number).reset is None
    assert client.get(b"/").status == 200
    assert client.goaways == []
    assert log(logging.WARNING) == []
