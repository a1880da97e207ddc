"""Large reads of a WebSocket go into one buffer, and nobody sees a difference."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.http1.apps import Recorder, hello
from tests.scripted import Client, Harness, post
from tests.websocket.scripted_socket import echo, hold
from tests.websocket.wire import CLOSE, binary, cont, frame, handshake, parse_frames, ping, text
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.large_reads import LARGE_READ, PATIENCE, LargeReads

# One frame of these is a large read.
PAYLOAD = bytes(range(256)) * 256
LARGE = binary(PAYLOAD)
SMALL = text("small")


@pytest.fixture
def client() -> Iterator[Client]:
    """An echo that has just been opened."""
    harness = Harness(echo)
    client = harness.connect().send(handshake())
    client.take()
    yield client
    client.leave()
    harness.close()


async def echo_or_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket that echoes, and an answer to whatever else is asked."""
    await (echo if scope["type"] == "websocket" else hello)(scope, receive, send)


def reads_large(client: Client) -> bool:
    return isinstance(client.transport.get_protocol(), LargeReads)


def echoes(client: Client) -> list[bytes]:
    return [item.payload for item in parse_frames(client.take())]


class TestSwitching:
    def test_small_messages_need_no_buffer(self, client: Client) -> None:
        client.send(*[SMALL] * 5)
        assert not reads_large(client)
        assert client.harness.runtime.read_buffer is None

    def test_a_large_read(self, client: Client) -> None:
        client.send(LARGE)
        assert reads_large(client)
        client.send(LARGE, LARGE)
        assert echoes(client) == [PAYLOAD] * 3

    @pytest.mark.parametrize("size", [LARGE_READ - 1, LARGE_READ])
    def test_what_is_large(self, client: Client, size: int) -> None:
        # 8 bytes of head.
        message = bytes(size - 8)
        client.send(binary(message))
        assert reads_large(client) == (size == LARGE_READ)
        assert echoes(client) == [message]

    def test_after_some_small_ones_it_is_as_before(self, client: Client) -> None:
        client.send(LARGE, *[SMALL] * (PATIENCE - 1))
        assert reads_large(client)
        client.send(SMALL)
        assert not reads_large(client)
        client.send(SMALL, LARGE)
        assert reads_large(client)
        assert echoes(client) == [PAYLOAD, *[b"small"] * (PATIENCE + 1), PAYLOAD]

    def test_a_large_one_among_them_keeps_it(self, client: Client) -> None:
        for _ in range(3):
            client.send(LARGE, *[SMALL] * (PATIENCE - 1))
        assert reads_large(client)

    def test_all_connections_share_the_buffer(self, client: Client) -> None:
        other = client.harness.connect().send(handshake())
        other.take()
        client.send(LARGE)
        buffer = client.harness.runtime.read_buffer
        other.send(LARGE)
        assert client.harness.runtime.read_buffer is buffer
        for _ in range(2):
            client.send(LARGE)
            other.send(LARGE)
        assert echoes(client) == echoes(other) == [PAYLOAD] * 3

    def test_behind_a_large_request(self) -> None:
        """The buffer is the HTTP connection's first; the WebSocket begins without, and gets it again."""
        harness = Harness(echo_or_answer)
        client = harness.connect().send(post(PAYLOAD))
        assert reads_large(client)
        client.take()
        client.send(handshake())
        assert not reads_large(client)
        client.take()
        client.send(SMALL, LARGE, LARGE)
        assert reads_large(client)
        assert echoes(client) == [b"small", PAYLOAD, PAYLOAD]
        client.leave()
        harness.close()


class TestFrames:
    """What of a large read has to be kept is copied."""

    @pytest.mark.parametrize("each", [LARGE_READ, LARGE_READ + 1, 100_000, 262_144])
    def test_cut_anywhere(self, client: Client, each: int) -> None:
        message = PAYLOAD * 5
        data = (binary(message) + text("κόσμε" * 30_000) + SMALL) * 3
        client.send(data, each=each)
        assert echoes(client) == [message, ("κόσμε" * 30_000).encode(), b"small"] * 3

    def test_fragments(self, client: Client) -> None:
        client.send(LARGE)
        client.send(binary(PAYLOAD, fin=False), cont(PAYLOAD, fin=False), ping(b"?"), cont(PAYLOAD))
        assert echoes(client) == [PAYLOAD, b"?", PAYLOAD * 3]

    def test_messages_that_wait(self) -> None:
        harness = Harness(hold, ws_max_queue=100)
        client = harness.connect().send(handshake())
        client.send(LARGE, binary(PAYLOAD[::-1]))
        (connection,) = harness.runtime.connections
        assert list(connection.session._messages) == [PAYLOAD, PAYLOAD[::-1]]  # type: ignore[attr-defined]
        client.leave()
        harness.close()

    @pytest.mark.parametrize(("data", "code"), [(text(b"\xff" * 65536), 1007), (frame(3, PAYLOAD), 1002)])
    def test_a_bad_one(self, client: Client, data: bytes, code: int) -> None:
        client.send(LARGE, data)
        *_, last = parse_frames(client.take())
        assert (last.opcode, last.code) == (CLOSE, code)

    def test_what_comes_after_the_end_is_dropped(self, client: Client) -> None:
        client.send(LARGE, frame(3, PAYLOAD))
        client.take()
        client.send(LARGE, SMALL)
        assert client.take() == b""
        assert client.open or client.transport.eof_written


class TestConnection:
    """The connection is told what its transport says."""

    def test_it_is_lost(self) -> None:
        app = Recorder(echo)
        harness = Harness(app)
        client = harness.connect().send(handshake(), LARGE).leave()
        assert app.received[-1]["code"] == 1006
        assert not harness.runtime.connections
        assert client.transport.lost
        harness.close()

    def test_its_other_side_ends(self, client: Client) -> None:
        client.send(LARGE).eof()
        assert client.transport.lost

    def test_it_is_slow(self, client: Client) -> None:
        client.send(LARGE)
        client.stall()
        client.send(LARGE, LARGE)
        (connection,) = client.harness.runtime.connections
        assert connection.write_paused  # type: ignore[attr-defined]
        client.drain()
        assert not connection.write_paused  # type: ignore[attr-defined]
        assert echoes(client) == [PAYLOAD] * 3
