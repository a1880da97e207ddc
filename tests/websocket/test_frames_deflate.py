"""Messages that the client compresses (RFC 7692)."""

from __future__ import annotations

import random

import pytest

from tests.memory import tracer
from tests.websocket.conftest import Engine, Receive, deflate
from tests.websocket.wire import (
    BINARY,
    CONT,
    PONG,
    TEXT,
    Deflater,
    Frame,
    binary,
    close,
    cont,
    frame,
    ping,
    text,
)
from uvicorn_worker.websocket.frames import Closed, FrameConnection

NOISE = random.Random(7692).randbytes(200_000)


class TestMessages:
    def test_text(self, receive: Receive) -> None:
        assert receive(Deflater().message(b"Hello, Hello"), extension=deflate()).message == "Hello, Hello"

    def test_binary(self, receive: Receive) -> None:
        data = Deflater().message(b"\xff\x00" * 50, opcode=BINARY)
        assert receive(data, extension=deflate()).message == b"\xff\x00" * 50

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_empty(self, receive: Receive, opcode: int) -> None:
        # RFC 7692, 7.2.3.6: one byte.
        data = frame(opcode, b"\x00", rsv=4)
        assert receive(data, extension=deflate()).message == ("" if opcode == TEXT else b"")

    @pytest.mark.parametrize("size", [1, 125, 126, 2043, 2044, 4096, 70_000, 200_000])
    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_sizes(self, receive: Receive, size: int, level: int) -> None:
        # Noise does not shrink: its frames are as long as it.
        data = Deflater(level=level).message(NOISE[:size], opcode=BINARY)
        assert receive(data, extension=deflate()).message == NOISE[:size]

    def test_the_examples_of_the_rfc(self, receive: Receive) -> None:
        # 7.2.3.1 and 7.2.3.2: the second message refers to the first.
        data = frame(TEXT, bytes.fromhex("f248cdc9c90700"), rsv=4) + frame(TEXT, bytes.fromhex("f200110000"), rsv=4)
        assert receive(data, extension=deflate(15)).messages == ["Hello", "Hello"]

    def test_a_block_without_compression(self, receive: Receive) -> None:
        # 7.2.3.3
        data = frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), rsv=4)
        assert receive(data, extension=deflate()).message == "Hello"

    def test_two_blocks(self, receive: Receive) -> None:
        # 7.2.3.5
        data = frame(TEXT, bytes.fromhex("f248050000 00ffff cac9c90700".replace(" ", "")), rsv=4)
        assert receive(data, extension=deflate()).message == "Hello"

    def test_a_final_block(self, receive: Receive) -> None:
        # 7.2.3.4
        data = frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4)
        assert receive(data, extension=deflate()).message == "Hello"

    def test_messages_after_a_final_block(self) -> None:
        # 7.2.3.4: a client may end each message so. What comes after it must not be lost in silence.
        final = frame(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4)
        connection = FrameConnection(deflate(), 1000)
        first, *others = connection.receive_data(final * 3)
        assert first == "Hello"
        assert others == ["Hello", "Hello"] or (isinstance(others[0], Closed) and others[0].code != 1000)

    def test_messages_that_are_not_compressed_between(self, receive: Receive) -> None:
        deflater = Deflater()
        data = deflater.message(b"one one one") + text("two") + deflater.message(b"one one one") + binary(b"3")
        assert receive(data, extension=deflate()).messages == ["one one one", "two", "one one one", b"3"]

    def test_fragments_that_are_not_compressed(self, receive: Receive) -> None:
        data = Deflater().message(b"a") + text("b", fin=False) + cont("c") + text("d")
        assert receive(data, extension=deflate()).messages == ["a", "bc", "d"]


class TestFragments:
    def test_of_a_message(self, receive: Receive) -> None:
        data = Deflater().message(b"Hello, ", b"Hello, ", b"Hello")
        assert receive(data, extension=deflate()).message == "Hello, Hello, Hello"

    def test_cut_anywhere(self, receive: Receive) -> None:
        # RFC 7692, 6.1: the message is compressed, and then cut.
        (payload,) = Deflater().pieces(b"Hello, Hello, Hello")
        for at in range(len(payload) + 1):
            data = frame(TEXT, payload[:at], fin=False, rsv=4) + frame(CONT, payload[at:])
            assert receive(data, extension=deflate()).message == "Hello, Hello, Hello"

    def test_a_byte_each(self, receive: Receive) -> None:
        (payload,) = Deflater().pieces(b"Hello, Hello, Hello" * 5)
        data = frame(TEXT, payload[:1], fin=False, rsv=4)
        data += b"".join(frame(CONT, payload[at : at + 1], fin=False) for at in range(1, len(payload)))
        assert receive(data + cont(""), extension=deflate()).message == "Hello, Hello, Hello" * 5

    def test_a_character_cut_by_them(self, receive: Receive) -> None:
        data = Deflater().message("€".encode()[:1], "€".encode()[1:])
        assert receive(data, extension=deflate()).message == "€"

    def test_a_ping_between(self, receive: Receive) -> None:
        first, second = Deflater().pieces(b"Hello, ", b"Hello")
        data = frame(TEXT, first, fin=False, rsv=4) + ping(b"1") + frame(CONT, second)
        outcome = receive(data, extension=deflate())
        assert outcome.messages == ["Hello, Hello"]
        assert outcome.sent == [Frame(PONG, b"1")]

    def test_the_next_message_is_of_its_own(self, receive: Receive) -> None:
        deflater = Deflater()
        data = deflater.message(b"a", b"b") + text("c") + deflater.message(b"ab") + text("d", fin=False) + cont("e")
        assert receive(data, extension=deflate()).messages == ["ab", "c", "ab", "de"]

    def test_the_bit_is_for_the_first_only(self, receive: Receive) -> None:
        # RFC 7692, 6.1
        first, second = Deflater().pieces(b"Hello, ", b"Hello")
        data = frame(TEXT, first, fin=False, rsv=4) + frame(CONT, second, rsv=4)
        assert receive(data, extension=deflate()).failure == 1002

    def test_nor_for_those_of_a_plain_message(self, receive: Receive) -> None:
        assert receive(text("a", fin=False) + frame(CONT, b"\x00", rsv=4), extension=deflate()).failure == 1002


class TestContext:
    MESSAGES = (NOISE[:500], NOISE[200:600], NOISE[:500])

    def test_it_is_taken_over(self, receive: Receive) -> None:
        deflater = Deflater()
        frames = [deflater.message(message, opcode=BINARY) for message in self.MESSAGES]
        assert len(frames[2]) < 50, "the third message does not refer to the first"
        assert receive(b"".join(frames), extension=deflate()).messages == list(self.MESSAGES)

    def test_a_client_that_does_not(self, receive: Receive) -> None:
        deflater = Deflater(no_context_takeover=True)
        data = b"".join(deflater.message(message, opcode=BINARY) for message in self.MESSAGES)
        extension = deflate(client_no_context_takeover=True)
        assert receive(data, extension=extension).messages == list(self.MESSAGES)

    def test_a_client_that_need_not_and_is_not_held_to_it(self, receive: Receive) -> None:
        deflater = Deflater(no_context_takeover=True)
        data = b"".join(deflater.message(message, opcode=BINARY) for message in self.MESSAGES)
        assert receive(data, extension=deflate()).messages == list(self.MESSAGES)

    def test_one_that_promised_not_to_and_does_fails(self, receive: Receive) -> None:
        deflater = Deflater()
        data = b"".join(deflater.message(message, opcode=BINARY) for message in self.MESSAGES)
        outcome = receive(data, extension=deflate(client_no_context_takeover=True))
        assert outcome.failure == 1002
        assert outcome.messages == [self.MESSAGES[0]]

    @pytest.mark.parametrize("bits", [9, 10, 12, 15])
    def test_windows(self, receive: Receive, bits: int) -> None:
        deflater = Deflater(bits)
        data = deflater.message(NOISE[:70_000], opcode=BINARY) + deflater.message(NOISE[69_800:70_000], opcode=BINARY)
        assert receive(data, extension=deflate(bits)).messages == [NOISE[:70_000], NOISE[69_800:70_000]]


class TestFaults:
    @pytest.mark.parametrize("payload", [b"\xff", b"\x07", b"\x00\x05\x00\x00\x00Hello"])
    def test_what_is_not_deflate_fails(self, receive: Receive, payload: bytes) -> None:
        outcome = receive(text("before") + frame(TEXT, payload, rsv=4), extension=deflate())
        assert outcome.failure == 1002
        assert outcome.messages == ["before"]

    @pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"x" * 5000 + b"\x80"], ids=range(4))
    def test_text_that_is_not_utf_8_fails(self, receive: Receive, data: bytes) -> None:
        assert receive(Deflater().message(data), extension=deflate()).failure == 1007

    def test_so_it_does_across_fragments(self, receive: Receive) -> None:
        assert receive(Deflater().message(b"a\xe2", b"\x82", b"b"), extension=deflate()).failure == 1007

    def test_binary_is_just_bytes(self, receive: Receive) -> None:
        assert receive(Deflater().message(b"\xff\xed", opcode=BINARY), extension=deflate()).message == b"\xff\xed"

    def test_without_agreement_it_fails(self, receive: Receive) -> None:
        assert receive(Deflater().message(b"Hello")).failure == 1002

    def test_a_close_in_a_compressed_message(self, receive_strictly: Receive) -> None:
        (payload,) = Deflater().pieces(b"Hello")
        outcome = receive_strictly(frame(TEXT, payload[:3], fin=False, rsv=4) + close(1001), extension=deflate())
        assert outcome.code == 1001
        assert outcome.messages == []


LIMITS = [100, 4096, 65536]


class TestSize:
    """The largest size is that of the message when it is decompressed."""

    @pytest.mark.parametrize("limit", LIMITS)
    def test_the_limit_itself(self, receive: Receive, limit: int) -> None:
        data = Deflater().message(b"x" * limit)
        assert receive(data, extension=deflate(), max_size=limit).message == "x" * limit

    @pytest.mark.parametrize("limit", LIMITS)
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_above_it(self, receive: Receive, limit: int, opcode: int) -> None:
        data = text("before") + Deflater().message(b"x" * (limit + 1), opcode=opcode)
        outcome = receive(data, extension=deflate(), max_size=limit)
        assert outcome.failure == 1009
        assert outcome.messages == ["before"]

    @pytest.mark.parametrize("limit", LIMITS)
    def test_far_above_it(self, receive: Receive, limit: int) -> None:
        assert receive(Deflater().message(b"x" * 50 * limit), extension=deflate(), max_size=limit).failure == 1009

    @pytest.mark.parametrize("limit", LIMITS)
    def test_fragments_up_to_it(self, receive_strictly: Receive, limit: int) -> None:
        data = Deflater().message(b"x" * (limit - 60), b"y" * 59, b"z")
        message = receive_strictly(data, extension=deflate(), max_size=limit).message
        assert message == "x" * (limit - 60) + "y" * 59 + "z"

    @pytest.mark.parametrize("limit", LIMITS)
    @pytest.mark.parametrize("more", [1, 2, 10_000])
    def test_fragments_above_it(self, receive: Receive, limit: int, more: int) -> None:
        data = Deflater().message(b"x" * (limit - 60), b"y" * 60, b"z" * more)
        assert receive(data, extension=deflate(), max_size=limit).failure == 1009

    def test_each_message_begins_anew(self, receive: Receive) -> None:
        deflater = Deflater()
        data = b"".join(deflater.message(b"x" * 50, b"y" * 50) + deflater.message(b"x" * 100) for _ in range(3))
        assert len(receive(data, extension=deflate(), max_size=100).messages) == 6

    def test_many_small_fragments_of_a_small_message(self, receive_strictly: Receive) -> None:
        # Each is longer on the wire than what it holds; it is the message that has a limit.
        data = Deflater().message(*[NOISE[at : at + 1] for at in range(50)], opcode=BINARY)
        outcome = receive_strictly(data, extension=deflate(), max_size=100)
        assert outcome.message == NOISE[:50]

    def test_a_frame_above_it_is_seen_in_its_head(self, engine: Engine) -> None:
        connection = engine(deflate(), 100)
        (event,) = connection.receive_data(frame(BINARY, b"", rsv=4, length=1000))
        assert isinstance(event, Closed)
        assert event.code == 1009


class TestBombs:
    """Little that becomes much: it must not take the memory of what it would be."""

    LIMIT = 1_000_000

    @staticmethod
    def peak(engine: Engine, data: bytes, *, limit: int) -> tuple[list[str | bytes | Closed], int]:
        tracemalloc = tracer()
        connection = engine(deflate(), limit)
        tracemalloc.start()
        try:
            events = connection.receive_data(data)
            return events, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_in_one_frame(self, engine: Engine, opcode: int) -> None:
        data = Deflater().message(bytes(100_000_000), opcode=opcode)
        assert len(data) < self.LIMIT / 2
        (event,), peak = self.peak(engine, data, limit=self.LIMIT)
        assert isinstance(event, Closed)
        assert event.code == 1009
        assert peak < 5 * self.LIMIT

    def test_in_fragments(self, engine: Engine) -> None:
        data = Deflater().message(*[bytes(900_000)] * 50)
        (event,), peak = self.peak(engine, data, limit=self.LIMIT)
        assert isinstance(event, Closed)
        assert event.code == 1009
        assert peak < 5 * self.LIMIT
