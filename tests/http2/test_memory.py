"""What a connection holds whose applications do not read: its windows, and little beyond, however small the frames."""

from __future__ import annotations

import pytest

from tests.http1.apps import Gate
from tests.http2.conftest import Converse, Talk
from tests.http2.wire import frame
from tests.memory import SLACK, held_after
from uvicorn_worker.http2.engine.codes import PADDED, FrameType
from uvicorn_worker.http2.engine.limits import Limits

# Small ones, since memory that is measured is slow: the least that a connection has is 65535, and 16 of a stream.
LIMITS = Limits(initial_window_size=4096)


def fill(talk: Talk, streams: list[int], size: int, padding: int = 0) -> None:
    """DATA of `size` bytes on each stream, in turns, until the windows are full."""
    payload, flags = bytes(size), 0
    if padding:
        payload, flags = bytes([padding]) + payload + bytes(padding), PADDED
    each = min(LIMITS.initial_window_size, LIMITS.connection_window // len(streams)) // len(payload)
    while each > 0:
        count = min(each, 4096 // len(payload) or 1)
        for stream in streams:
            talk.connection.send(frame(FrameType.DATA, flags, stream, payload) * count)
        each -= count
    talk.pull()


@pytest.mark.parametrize(
    ("streams", "size", "padding"),
    [(1, 2, 0), (1, 1, 10), (100, 8, 0), (100, 30, 0), (100, 200, 0), (100, 1, 10)],
)
def test_data(talk: Converse, engine_name: str, streams: int, size: int, padding: int) -> None:
    client = talk(Gate(), http2_engine=engine_name, http2_initial_window_size=LIMITS.initial_window_size)
    numbers = []
    for _ in range(streams):
        numbers.append(client.wire.next_id)
        client.send(client.wire.request(b"/", method=b"POST", end=False))
    window = min(LIMITS.initial_window_size * streams, LIMITS.connection_window)
    grown = held_after(lambda: fill(client, numbers, size, padding))
    assert not client.transport.is_closing()
    assert grown <= window + SLACK


def test_priorities_of_streams_that_have_not_begun(talk: Converse, engine_name: str) -> None:
    client = talk(Gate(), http2_engine=engine_name)
    value = b"u=1, " + b"x" * 8000

    def update() -> None:
        for number in range(1, 2000, 2):
            payload = number.to_bytes(4, "big") + value
            client.connection.send(frame(FrameType.PRIORITY_UPDATE, 0, 0, payload))

    assert held_after(update) <= SLACK


def test_a_header_block_that_does_not_end(talk: Converse, engine_name: str) -> None:
    client = talk(Gate(), http2_engine=engine_name)

    def send() -> None:
        client.connection.send(frame(FrameType.HEADERS, 0, 1, b"\x00"))
        for _ in range(16):
            client.connection.send(frame(FrameType.CONTINUATION, 0, 1, b"\x00"))

    assert held_after(send) <= Limits().header_list_bound + SLACK


def test_a_frame_that_does_not_end(talk: Converse, engine_name: str) -> None:
    client = talk(Gate(), http2_engine=engine_name)
    head = frame(FrameType.DATA, 0, 1, bytes(16384))

    def send() -> None:
        for at in range(0, len(head) - 7, 7):
            client.connection.send(head[at : at + 7])

    assert held_after(send) <= 16384 + SLACK
