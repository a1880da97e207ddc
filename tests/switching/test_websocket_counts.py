"""What an echo costs, in counts that are the same on every machine: writes, and calls of Python functions."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import uvicorn_worker
from tests.scripted import Client, Harness
from tests.websocket.scripted_socket import echo
from tests.websocket.wire import BINARY, TEXT, Deflater, frame, handshake, parse_frames

MESSAGE = b"x" * 64

# A call is also where a coroutine goes on. Those of asyncio, of the application and of the tests are not counted.
# A change that needs more has to say why.
MOST_CALLS = 15
MOST_CALLS_MORE = 2.5
MOST_CALLS_LARGE = 20
# Packing and unpacking are among them, where they were calls of a library that were not counted.
MOST_CALLS_COMPRESSED = 27

PACKAGE = str(Path(uvicorn_worker.__file__).parent)


@pytest.fixture(params=["httptools", "h11"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A WebSocket that is open and has been used."""
    harness = Harness(echo, parser=request.param)
    client = harness.connect().send(handshake(), frame(TEXT, MESSAGE), frame(BINARY, MESSAGE))
    client.take()
    client.transport.calls.clear()
    yield client
    client.leave()
    harness.close()


def calls(function: Callable[[], object]) -> Counter[str]:
    """The functions of the package that are called."""
    seen: Counter[str] = Counter()

    def look(frame: FrameType, event: str, arg: Any) -> None:
        code: CodeType = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            seen[f"{code.co_filename.removeprefix(PACKAGE)} {code.co_name}"] += 1

    sys.setprofile(look)
    try:
        function()
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_an_echo(client: Client, opcode: int) -> None:
    data = frame(opcode, MESSAGE)
    seen = calls(lambda: client.send(data))
    assert client.transport.calls == ["write"]
    assert [item.payload for item in parse_frames(client.take())] == [MESSAGE]
    assert seen.total() <= MOST_CALLS, seen


def test_each_more_of_the_same_read(client: Client) -> None:
    data = frame(TEXT, MESSAGE)
    one = calls(lambda: client.send(data)).total()
    client.transport.calls.clear()
    client.take()
    seen = calls(lambda: client.send(data * 11))
    assert client.transport.calls == ["write"]
    assert len(parse_frames(client.take())) == 11
    # All frames of a read are handled in one go.
    assert seen["/websocket/session.py receive_data"] == 1
    assert seen.total() <= one + 10 * MOST_CALLS_MORE, seen


def test_a_large_one(client: Client) -> None:
    data = frame(BINARY, bytes(65536))
    # The first changes how the connection reads.
    client.send(data)
    client.transport.calls.clear()
    seen = calls(lambda: client.send(data))
    assert len(client.transport.calls) == 1
    assert seen.total() <= MOST_CALLS_LARGE, seen


def test_a_compressed_one() -> None:
    harness = Harness(echo)
    client = harness.connect().send(handshake("/", "Sec-WebSocket-Extensions: permessage-deflate"))
    client.transport.calls.clear()
    data = Deflater().message(MESSAGE)
    seen = calls(lambda: client.send(data))
    assert client.transport.calls == ["write"]
    assert seen.total() <= MOST_CALLS_COMPRESSED, seen
    client.leave()
    harness.close()
