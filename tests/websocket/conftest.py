"""Fixtures of the tests of WebSocket frames: each case runs over two engines, with its bytes cut in several ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from tests.websocket.reference import ReferenceConnection
from tests.websocket.scripted_socket import Socket
from tests.websocket.wire import CLOSE, Frame, parse_frames, text
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.websocket.deflate import PerMessageDeflate
from uvicorn_worker.websocket.frames import Closed, FrameConnection

__all__ = ["LIMIT", "Connection", "Engine", "Log", "Open", "Outcome", "Receive", "StraightConnection", "deflate"]

LIMIT = 1_000_000
"""The largest message where a test does not say another."""


class Connection(Protocol):
    """What both engines have."""

    def receive_data(self, data: bytes) -> list[str | bytes | Closed]: ...
    def text(self, message: str) -> bytes: ...
    def binary(self, payload: bytes) -> bytes: ...
    def ping(self, payload: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def fail(self, code: int, reason: str) -> None: ...
    @property
    def pong(self) -> bytes | None: ...
    @property
    def open(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    def data_to_send(self) -> bytes: ...


Engine = Callable[["PerMessageDeflate | None", int], Connection]


@dataclass
class Outcome:
    """What came of the bytes: messages, the end of them, and the control frames that were sent."""

    messages: list[str | bytes]
    closed: Closed | None
    sent: list[Frame]
    connection: Connection

    @property
    def message(self) -> str | bytes:
        """The one message, after which the WebSocket is open and nothing was sent."""
        assert self.closed is None
        assert self.sent == []
        assert self.connection.open
        (message,) = self.messages
        return message

    @property
    def code(self) -> int:
        """The code of the end."""
        assert self.closed is not None, "the WebSocket is open"
        return self.closed.code

    @property
    def failure(self) -> int:
        """The code with which reading failed; the client was told it in one close frame, the last that was sent."""
        assert self.closed is not None, "nothing failed"
        assert [item.opcode for item in self.sent].count(CLOSE) == 1
        assert self.sent[-1].code == self.closed.code
        assert self.connection.finished
        assert not self.connection.open
        return self.closed.code


def deflate(
    bits: int = 12, *, client_no_context_takeover: bool = False, server_no_context_takeover: bool = False
) -> PerMessageDeflate:
    """The extension as it was agreed on."""
    return PerMessageDeflate(
        bits, bits, client_forgets=client_no_context_takeover, server_forgets=server_no_context_takeover
    )


class StraightConnection(FrameConnection):
    """Asks first for the whole message that a read may be, which has to be what reading it gives."""

    def receive_data(self, data: bytes) -> list[str | bytes | Closed]:
        straight = self.whole_message(data) if self.open else None
        events = super().receive_data(data)
        if straight is not None:
            assert events == [straight]
            assert type(events[0]) is type(straight)
            assert not self.answered
        return events


@pytest.fixture(params=[StraightConnection, ReferenceConnection], ids=["frames", "reference"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine of the package, then the reference."""
    made: Engine = request.param
    return made


# What comes behind the bytes of a case: a message, which counts unless the WebSocket has ended.
TRAILER = text("trailing")

EDGE = 600


def pieces(data: bytes, size: int) -> list[bytes]:
    """`data` in pieces of `size` bytes; where it is long, its middle in larger ones, at as many places in a mask."""
    if len(data) > 4 * EDGE:
        middle = data[EDGE:-EDGE]
        larger = [middle[at : at + 1021] for at in range(0, len(middle), 1021)]
        return [*pieces(data[:EDGE], size), *larger, *pieces(data[-EDGE:], size)]
    return [data[at : at + size] for at in range(0, len(data), size)]


CUTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": lambda data: [data],
    "byte by byte": lambda data: pieces(data, 1),
    "three bytes each": lambda data: pieces(data, 3),
    "with a frame trailing": lambda data: [data + TRAILER],
    "with a byte trailing": lambda data: [data + TRAILER[:1], TRAILER[1:]],
}


class Receive:
    """Feeds bytes to a new connection of an engine, in the way that the test's parameters say."""

    def __init__(self, engine: Engine, cut: str) -> None:
        self._engine = engine
        self._cut = cut

    def __call__(
        self,
        data: bytes,
        *,
        max_size: int = LIMIT,
        extension: PerMessageDeflate | None = None,
        close: int | None = None,
    ) -> Outcome:
        """`data` ends at the end of a message, where it does not fail; `close`: we have sent such a close frame."""
        connection = self._engine(extension, max_size)
        if close is not None:
            connection.close(close, "")
            connection.data_to_send()
        outcome = Outcome([], None, [], connection)
        for piece in CUTS[self._cut](data):
            for event in connection.receive_data(piece):
                assert outcome.closed is None, "an event after the end"
                if isinstance(event, Closed):
                    outcome.closed = event
                else:
                    outcome.messages.append(event)
            outcome.sent += parse_frames(connection.data_to_send())
        if "trailing" in self._cut and outcome.closed is None:
            assert outcome.messages.pop() == "trailing"
        return outcome


@pytest.fixture(params=list(CUTS))
def receive(engine: Engine, request: pytest.FixtureRequest) -> Receive:
    """`receive(data)` gives the `Outcome` of bytes from the client."""
    return Receive(engine, request.param)


@pytest.fixture(params=list(CUTS))
def receive_strictly(request: pytest.FixtureRequest) -> Receive:
    """As `receive`, with the engine of the package only, where the reference differs."""
    return Receive(StraightConnection, request.param)


Log = Callable[..., list[str]]


class Open(Protocol):
    """Opens a `Socket`."""

    def __call__(self, app: ASGIApp, *, settle: bool = True, **options: Any) -> Socket: ...


@pytest.fixture
def connect() -> Iterator[Open]:
    """`connect(app, **options)`: a WebSocket in an application; it ends with the test."""
    opened: list[Socket] = []

    def start(app: ASGIApp, *, settle: bool = True, **options: Any) -> Socket:
        socket = Socket(app, **options)
        opened.append(socket)
        if settle:
            socket.settle()
        return socket

    yield start
    for socket in opened:
        socket.harness.close()
