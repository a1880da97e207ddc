"""What a WebSocket holds whose application does not receive: its limits, and little beyond, whatever the pieces."""

from __future__ import annotations

import pytest

from tests.memory import SLACK, held_after
from tests.websocket.conftest import Open, deflate
from tests.websocket.scripted_socket import Socket, hold
from tests.websocket.wire import Deflater, binary, cont, ping, text

MOST = 1 << 18
# That of the largest message, as small as the read that it may come in.
SIZE = 65536


def fill(socket: Socket, data: bytes) -> None:
    """Send the frames of `data`, in one read, again and again until the WebSocket takes no more or has ended."""
    sent = 0
    while socket.carrier.reading and not socket.ended and sent < MOST:
        socket.send(data)
        sent += len(data)


@pytest.mark.parametrize("read", [100, 65536, 262144])
@pytest.mark.parametrize(
    "frame", [text(""), text("xy"), binary(b"xy"), text("x" * 100)], ids=["empty", "text", "binary", "longer"]
)
def test_small_messages(connect: Open, frame: bytes, read: int) -> None:
    socket = connect(hold, ws_max_size=SIZE)
    data = frame * (read // len(frame) or 1)
    assert held_after(lambda: fill(socket, data)) <= max(read, 65536) + SLACK
    assert not socket.carrier.reading


@pytest.mark.parametrize("read", [100, 65536, 262144])
def test_small_messages_that_are_compressed(connect: Open, read: int) -> None:
    socket = connect(hold, ws_max_size=SIZE, compression=deflate())
    deflater = Deflater()
    data = b"".join([deflater.message(b"xy") for _ in range(read // 8)])
    assert held_after(lambda: fill(socket, data)) <= max(read, 65536) + SLACK
    assert not socket.carrier.reading


@pytest.mark.parametrize(("size", "read"), [(0, 100), (1, 262144), (100, 100), (100, 262144)])
def test_one_message_of_small_fragments(connect: Open, size: int, read: int) -> None:
    socket = connect(hold, ws_max_size=SIZE).send(text("", fin=False))
    piece = cont("x" * size, fin=False)
    data = piece * (read // len(piece) or 1)
    assert held_after(lambda: fill(socket, data)) <= SIZE + max(read, 65536) + SLACK


@pytest.mark.parametrize("read", [100, 65536])
def test_pings(connect: Open, read: int) -> None:
    socket = connect(hold, ws_max_size=SIZE)
    socket.carrier.write_paused = True
    data = ping(b"x") * (read // 7)
    # What is answered is there, and counts.
    assert held_after(lambda: fill(socket, data)) <= 2 * read + SLACK
    assert not socket.carrier.reading
