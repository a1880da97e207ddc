"""Frames to the client."""

from __future__ import annotations

import random

import pytest

from tests.websocket.conftest import Engine, deflate
from tests.websocket.test_frames import INVALID_CODES, SIZES, VALID_CODES
from tests.websocket.wire import BINARY, CLOSE, PING, TEXT, Frame, Inflater, close, parse_frames, pong, text
from uvicorn_worker.websocket.errors import ProtocolError
from uvicorn_worker.websocket.frames import FrameConnection

NOISE = random.Random(6455).randbytes(70_000)


@pytest.mark.parametrize("size", SIZES)
class TestPlain:
    """One frame a message, not masked, its length in the shortest form (`parse_frames` looks at that)."""

    def test_text(self, engine: Engine, size: int) -> None:
        sent = engine(None, 1000).text("x" * size)
        assert parse_frames(sent) == [Frame(TEXT, b"x" * size)]

    def test_binary(self, engine: Engine, size: int) -> None:
        sent = engine(None, 1000).binary(NOISE[:size])
        assert parse_frames(sent) == [Frame(BINARY, NOISE[:size])]


@pytest.mark.parametrize("count", [62, 63, 32767, 32768])
def test_the_length_is_that_of_the_bytes(engine: Engine, count: int) -> None:
    assert parse_frames(engine(None, 1000).text("é" * count)) == [Frame(TEXT, "é".encode() * count)]


def test_what_is_sent_has_no_largest_size(engine: Engine) -> None:
    assert len(engine(None, 10).binary(bytes(1000))) == 1004


def test_text_that_has_no_utf_8_is_an_error(engine: Engine) -> None:
    connection = engine(None, 1000)
    with pytest.raises(UnicodeEncodeError):
        connection.text("\ud800")
    assert parse_frames(connection.text("a")) == [Frame(TEXT, b"a")]


class TestLarge:
    """The head and the payload of a large message, which is not copied."""

    @pytest.mark.parametrize("size", [126, 16385, 65535, 65536, 70_000])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_plain(self, size: int, opcode: int) -> None:
        payload = NOISE[:size]
        head, rest = FrameConnection(None, 1000).large(opcode, payload)
        assert rest is payload
        assert parse_frames(head + rest) == [Frame(opcode, payload)]

    def test_compressed(self) -> None:
        connection, inflater = FrameConnection(deflate(), 1000), Inflater()
        for _ in range(2):
            (item,) = parse_frames(b"".join(connection.large(BINARY, NOISE)))
            assert item.opcode == BINARY
            assert inflater.message(item) == NOISE


class TestCompressed:
    @pytest.mark.parametrize("size", [0, 1, 5, 125, 126, 300, 65535, 70_000])
    def test_text(self, engine: Engine, size: int) -> None:
        (item,) = parse_frames(engine(deflate(), 1000).text("x" * size))
        assert item.opcode == TEXT
        assert Inflater().message(item) == b"x" * size
        assert size < 100 or len(item.payload) < size / 5

    @pytest.mark.parametrize("size", [0, 1, 120, 126, 300, 65520, 65535, 70_000])
    def test_binary(self, engine: Engine, size: int) -> None:
        # Noise does not shrink, so that this goes through all forms of the length.
        (item,) = parse_frames(engine(deflate(), 1000).binary(NOISE[:size]))
        assert item.opcode == BINARY
        assert Inflater().message(item) == NOISE[:size]

    def test_the_context_is_taken_over(self, engine: Engine) -> None:
        connection, inflater = engine(deflate(), 1000), Inflater()
        frames = [parse_frames(connection.binary(NOISE[:500]))[0] for _ in range(3)]
        assert [inflater.message(item) for item in frames] == [NOISE[:500]] * 3
        assert len(frames[0].payload) > 500
        assert len(frames[1].payload) < 50

    def test_it_is_not_where_the_client_asked_so(self, engine: Engine) -> None:
        connection = engine(deflate(server_no_context_takeover=True), 1000)
        for _ in range(3):
            (item,) = parse_frames(connection.binary(NOISE[:500]))
            assert Inflater(no_context_takeover=True).message(item) == NOISE[:500]
            assert len(item.payload) > 500

    @pytest.mark.parametrize("bits", [9, 12, 15])
    def test_it_keeps_to_the_window(self, engine: Engine, bits: int) -> None:
        connection, inflater = engine(deflate(bits), 1000), Inflater(bits)
        for message in (NOISE, NOISE[30_000:], NOISE[-300:], NOISE[-5000:]):
            (item,) = parse_frames(connection.binary(message))
            assert inflater.message(item) == message

    def test_control_frames_are_not_compressed(self, engine: Engine) -> None:
        connection = engine(deflate(), 1000)
        connection.ping(b"x" * 100)
        connection.close(1000, "x" * 100)
        assert [item.rsv for item in parse_frames(connection.data_to_send())] == [0, 0]


class TestPing:
    @pytest.mark.parametrize("payload", [b"", b"1234", b"x" * 125])
    def test_it_is_sent(self, engine: Engine, payload: bytes) -> None:
        connection = engine(None, 1000)
        connection.ping(payload)
        assert parse_frames(connection.data_to_send()) == [Frame(PING, payload)]
        assert connection.data_to_send() == b""

    def test_its_pong(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        assert connection.pong is None
        connection.ping(b"1234")
        connection.receive_data(pong(b"1234"))
        assert connection.pong == b"1234"

    def test_none_after_a_close(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.close(1000, "")
        connection.data_to_send()
        connection.ping(b"1234")
        assert connection.data_to_send() == b""


class TestClose:
    @pytest.mark.parametrize("code", VALID_CODES)
    def test_a_code(self, engine: Engine, code: int) -> None:
        connection = engine(None, 1000)
        connection.close(code, "going home")
        (item,) = parse_frames(connection.data_to_send())
        assert (item.opcode, item.code, item.reason) == (CLOSE, code, "going home")
        assert not connection.open
        # The client's close frame is waited for.
        assert not connection.finished

    @pytest.mark.parametrize("code", INVALID_CODES)
    def test_a_code_that_is_not_for_the_wire_is_an_error(self, engine: Engine, code: int) -> None:
        connection = engine(None, 1000)
        with pytest.raises(ProtocolError):
            connection.close(code, "")
        assert connection.data_to_send() == b""
        assert connection.open

    def test_a_second_one_is_not_sent(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.close(1000, "")
        connection.close(1001, "")
        assert [item.code for item in parse_frames(connection.data_to_send())] == [1000]

    def test_none_after_the_clients(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.receive_data(close(3000))
        connection.close(1000, "")
        assert [item.code for item in parse_frames(connection.data_to_send())] == [3000]

    def test_the_clients_close_ends_it(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.close(1000, "")
        connection.receive_data(close(1000))
        assert connection.finished


class TestFail:
    def test_it_is_told_and_nothing_is_waited_for(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.fail(1011, "keepalive ping timeout")
        (item,) = parse_frames(connection.data_to_send())
        assert (item.code, item.reason) == (1011, "keepalive ping timeout")
        assert connection.finished
        assert not connection.open

    def test_after_a_close_there_is_no_second(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.close(1000, "")
        connection.fail(1011, "")
        assert [item.code for item in parse_frames(connection.data_to_send())] == [1000]
        assert connection.finished

    def test_after_the_end_nothing_is_sent(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.receive_data(close(1000))
        connection.data_to_send()
        connection.fail(1011, "")
        assert connection.data_to_send() == b""

    def test_nothing_is_read_any_more(self) -> None:
        connection = FrameConnection(None, 1000)
        connection.fail(1011, "")
        assert connection.receive_data(text("a")) == []
