"""Frames from the client, RFC 6455 section by section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.memory import held_after
from tests.websocket.conftest import LIMIT, Engine, Receive, deflate
from tests.websocket.wire import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Frame,
    binary,
    close,
    cont,
    frame,
    parse_frames,
    ping,
    pong,
    text,
)
from uvicorn_worker.websocket.frames import Closed, FrameConnection

if TYPE_CHECKING:
    from uvicorn_worker.websocket.deflate import PerMessageDeflate

SIZES = [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537]


def pattern(size: int) -> bytes:
    """Bytes that show a mask which is turned wrong."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class TestData:
    """Data frames (5.6) and their lengths (5.2)."""

    @pytest.mark.parametrize("size", SIZES)
    def test_text(self, receive: Receive, size: int) -> None:
        message = "".join(chr(97 + at % 26) for at in range(size))
        assert receive(text(message)).message == message

    @pytest.mark.parametrize("size", SIZES)
    def test_binary(self, receive: Receive, size: int) -> None:
        assert receive(binary(pattern(size))).message == pattern(size)

    def test_text_is_a_string_and_binary_is_bytes(self, receive: Receive) -> None:
        outcome = receive(text("a") + binary(b"a"))
        assert outcome.messages == ["a", b"a"]
        assert [type(message) for message in outcome.messages] == [str, bytes]

    def test_many_messages(self, receive: Receive) -> None:
        sizes = [0, 5, 125, 126, 300, 1, 70_000, 2, 0, 0]
        outcome = receive(b"".join(binary(pattern(size)) for size in sizes))
        assert outcome.messages == [pattern(size) for size in sizes]

    def test_nothing_is_sent_for_them(self, receive: Receive) -> None:
        assert receive(text("a") * 3).sent == []

    @pytest.mark.parametrize("form", [16, 64])
    @pytest.mark.parametrize("size", [0, 5, 125])
    def test_a_length_in_more_bytes_than_it_needs_is_understood(self, receive: Receive, form: int, size: int) -> None:
        assert receive(frame(BINARY, pattern(size), form=form)).message == pattern(size)


class TestMasks:
    """5.1 and 5.3."""

    @pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"\x80\0\0\0"])
    @pytest.mark.parametrize("size", [1, 7, 125, 126, 65537])
    def test_masks(self, receive: Receive, mask: bytes, size: int) -> None:
        assert receive(frame(BINARY, pattern(size), mask=mask)).message == pattern(size)

    def test_each_frame_has_its_own(self, receive: Receive) -> None:
        masks = [bytes([one, two, three, one ^ 0x55]) for one, two, three in zip(b"abcd", b"EFGH", b"0123")]  # noqa: B905
        data = b"".join(frame(BINARY, pattern(130), mask=mask) for mask in masks)
        assert receive(data).messages == [pattern(130)] * 4

    def test_each_fragment_has_its_own(self, receive: Receive) -> None:
        data = frame(BINARY, b"abcde", fin=False, mask=b"1234") + frame(CONT, b"fghijk", mask=b"5678")
        assert receive(data).message == b"abcdefghijk"

    @pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
    @pytest.mark.parametrize("payload", [b"", b"12345"])
    def test_a_frame_that_is_not_masked_fails(self, receive: Receive, opcode: int, payload: bytes) -> None:
        assert receive(frame(opcode, payload, mask=None)).failure == 1002

    def test_nor_may_a_fragment_be_so(self, receive: Receive) -> None:
        assert receive(text("a", fin=False) + frame(CONT, b"b", mask=None)).failure == 1002


class TestReserved:
    """What 5.2 keeps for later: three bits, ten opcodes, the highest bit of a length."""

    @pytest.mark.parametrize("rsv", range(1, 8))
    @pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
    def test_bits_without_an_extension(self, receive: Receive, rsv: int, opcode: int) -> None:
        outcome = receive(text("before") + frame(opcode, rsv=rsv))
        assert outcome.failure == 1002
        assert outcome.messages == ["before"]

    @pytest.mark.parametrize("rsv", range(1, 8))
    def test_bits_of_a_fragment(self, receive: Receive, rsv: int) -> None:
        assert receive(text("a", fin=False) + cont("b", rsv=rsv)).failure == 1002

    @pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_bits_that_compression_does_not_use(self, receive: Receive, rsv: int, opcode: int) -> None:
        assert receive(frame(opcode, b"\x00", rsv=rsv), extension=deflate()).failure == 1002

    @pytest.mark.parametrize("rsv", range(1, 8))
    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_bits_of_control_frames_with_compression(self, receive: Receive, rsv: int, opcode: int) -> None:
        # RFC 7692, 6.1: control frames are not compressed.
        assert receive(frame(opcode, rsv=rsv), extension=deflate()).failure == 1002

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    @pytest.mark.parametrize("fin", [True, False])
    def test_opcodes(self, receive: Receive, opcode: int, fin: bool) -> None:
        outcome = receive(text("before") + frame(opcode, b"x", fin=fin))
        assert outcome.failure == 1002
        assert outcome.messages == ["before"]

    @pytest.mark.parametrize("length", [2**63, 2**64 - 1])
    def test_the_highest_bit_of_a_length(self, receive_strictly: Receive, length: int) -> None:
        assert receive_strictly(frame(BINARY, length=length)).failure == 1002

    def test_the_longest_length_is_only_too_long(self, receive: Receive) -> None:
        assert receive(frame(BINARY, length=2**63 - 1)).failure == 1009


class TestFragments:
    """5.4."""

    def test_two(self, receive: Receive) -> None:
        assert receive(text("Hel", fin=False) + cont("lo")).message == "Hello"

    def test_many(self, receive: Receive) -> None:
        data = binary(b"0", fin=False) + cont(b"12", fin=False) * 50 + cont(b"3")
        assert receive(data).message == b"0" + b"12" * 50 + b"3"

    def test_large_ones(self, receive: Receive) -> None:
        pieces = [pattern(size) for size in (200, 65535, 65536, 3)]
        data = binary(pieces[0], fin=False) + cont(pieces[1], fin=False) + cont(pieces[2], fin=False) + cont(pieces[3])
        assert receive(data).message == b"".join(pieces)

    @pytest.mark.parametrize("pieces", [("", ""), ("", "a"), ("a", ""), ("", "", ""), ("a", "", "b"), ("", "a", "")])
    def test_empty_ones(self, receive: Receive, pieces: tuple[str, ...]) -> None:
        first, *between, last = pieces
        data = text(first, fin=False) + b"".join(cont(piece, fin=False) for piece in between) + cont(last)
        assert receive(data).message == "".join(pieces)

    def test_the_first_says_what_it_is(self, receive: Receive) -> None:
        outcome = receive(text("a", fin=False) + cont("b") + binary(b"a", fin=False) + cont("b"))
        assert outcome.messages == ["ab", b"ab"]

    def test_whole_messages_around_them(self, receive: Receive) -> None:
        outcome = receive(text("1") + text("2", fin=False) + cont("3") + text("4"))
        assert outcome.messages == ["1", "23", "4"]

    def test_no_message_before_the_last(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        assert connection.receive_data(text("a", fin=False) + cont("b", fin=False)) == []
        assert connection.receive_data(cont("", fin=False)) == []
        assert connection.receive_data(cont("c")) == ["abc"]

    @pytest.mark.parametrize("fin", [True, False])
    def test_a_continuation_of_nothing_fails(self, receive: Receive, fin: bool) -> None:
        assert receive(cont("a", fin=fin)).failure == 1002

    def test_a_continuation_of_a_whole_message_fails(self, receive: Receive) -> None:
        outcome = receive(text("a") + cont("b"))
        assert outcome.failure == 1002
        assert outcome.messages == ["a"]

    def test_a_continuation_of_a_finished_message_fails(self, receive: Receive) -> None:
        outcome = receive(text("a", fin=False) + cont("b") + cont("c"))
        assert outcome.failure == 1002
        assert outcome.messages == ["ab"]

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @pytest.mark.parametrize("fin", [True, False])
    def test_a_message_within_a_message_fails(self, receive: Receive, opcode: int, fin: bool) -> None:
        outcome = receive(text("a", fin=False) + frame(opcode, b"b", fin=fin))
        assert outcome.failure == 1002
        assert outcome.messages == []


class TestControl:
    """5.5."""

    @pytest.mark.parametrize("size", [0, 1, 4, 124, 125])
    def test_a_ping_is_answered_with_its_payload(self, receive: Receive, size: int) -> None:
        outcome = receive(ping(pattern(size)))
        assert outcome.sent == [Frame(PONG, pattern(size))]
        assert outcome.messages == []
        assert outcome.closed is None

    def test_each_ping_is_answered_in_turn(self, receive: Receive) -> None:
        outcome = receive(ping(b"1") + text("a") + ping(b"2") + ping(b"3"))
        assert outcome.sent == [Frame(PONG, b"1"), Frame(PONG, b"2"), Frame(PONG, b"3")]
        assert outcome.messages == ["a"]

    def test_a_ping_between_fragments(self, receive: Receive) -> None:
        outcome = receive(text("a", fin=False) + ping(b"1") + cont("b", fin=False) + ping(b"2") + cont("c"))
        assert outcome.sent == [Frame(PONG, b"1"), Frame(PONG, b"2")]
        assert outcome.messages == ["abc"]

    def test_a_ping_between_fragments_is_answered_before_the_message_is_complete(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.receive_data(text("a", fin=False) + ping(b"1"))
        assert parse_frames(connection.data_to_send()) == [Frame(PONG, b"1")]

    @pytest.mark.parametrize("size", [0, 4, 125])
    def test_a_pong_is_remembered(self, receive: Receive, size: int) -> None:
        outcome = receive(pong(b"first") + pong(pattern(size)))
        assert outcome.connection.pong == pattern(size)
        assert outcome.sent == []
        assert outcome.messages == []

    def test_a_pong_between_fragments(self, receive: Receive) -> None:
        assert receive(text("a", fin=False) + pong(b"1") + cont("b")).message == "ab"

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    @pytest.mark.parametrize("size", [126, 65536])
    def test_more_than_125_bytes_fail(self, receive: Receive, opcode: int, size: int) -> None:
        outcome = receive(frame(opcode, pattern(size)))
        assert outcome.failure == 1002

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_a_fragment_fails(self, receive: Receive, opcode: int) -> None:
        assert receive(frame(opcode, b"", fin=False)).failure == 1002

    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    def test_a_fragment_between_fragments_fails(self, receive: Receive, opcode: int) -> None:
        assert receive(text("a", fin=False) + frame(opcode, b"", fin=False)).failure == 1002


VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


class TestClose:
    """5.5.1 and 7.4."""

    @pytest.mark.parametrize("code", VALID_CODES)
    def test_it_is_answered_with_its_code(self, receive: Receive, code: int) -> None:
        outcome = receive(close(code))
        assert outcome.closed is not None
        assert (outcome.closed.code, outcome.closed.reason) == (code, "")
        assert [(item.opcode, item.code) for item in outcome.sent] == [(CLOSE, code)]
        assert outcome.connection.finished
        assert not outcome.connection.open

    @pytest.mark.parametrize("reason", ["a", "going home", "Käse ✓ 𝄞", "x" * 123, "é" * 61])
    def test_a_reason(self, receive: Receive, reason: str) -> None:
        outcome = receive(close(1001, reason))
        assert outcome.closed is not None
        assert (outcome.closed.code, outcome.closed.reason) == (1001, reason)
        assert outcome.sent[0].code == 1001

    def test_without_a_code(self, receive: Receive) -> None:
        # 7.1.5: no code at all is told as 1005, which is never on the wire.
        outcome = receive(close())
        assert outcome.closed is not None
        assert (outcome.closed.code, outcome.closed.reason) == (1005, "")
        assert outcome.sent == [Frame(CLOSE, b"")]

    def test_messages_before_it(self, receive: Receive) -> None:
        outcome = receive(text("a") + ping() + close(1000))
        assert outcome.messages == ["a"]
        assert outcome.code == 1000
        assert [item.opcode for item in outcome.sent] == [PONG, CLOSE]

    def test_what_comes_after_it_is_not_read(self, receive: Receive) -> None:
        outcome = receive(close(1000) + text("a") + ping() + close(1001) + b"\xff" * 10)
        assert outcome.messages == []
        assert outcome.code == 1000
        assert len(outcome.sent) == 1

    def test_one_byte_is_no_code(self, receive: Receive) -> None:
        assert receive(frame(CLOSE, b"\x03")).failure == 1002

    @pytest.mark.parametrize("code", INVALID_CODES)
    def test_codes_that_are_not_for_the_wire_fail(self, receive: Receive, code: int) -> None:
        assert receive(close(code)).failure == 1002

    @pytest.mark.parametrize("reason", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"x" * 122 + b"\x80"])
    def test_a_reason_that_is_not_utf_8_fails(self, receive: Receive, reason: bytes) -> None:
        assert receive(close(1000, reason)).failure == 1007

    def test_between_fragments(self, receive_strictly: Receive) -> None:
        # 5.4: any control frame may be there.
        outcome = receive_strictly(text("a", fin=False) + close(1001, "away"))
        assert outcome.messages == []
        assert outcome.code == 1001
        assert [item.code for item in outcome.sent] == [1001]
        assert outcome.connection.finished


class TestClosingFirst:
    """7.1.2: we have sent a close frame, and read on until the client's comes."""

    def test_the_answer_is_not_answered(self, receive: Receive) -> None:
        outcome = receive(close(1000, "bye"), close=1000)
        assert outcome.closed is not None
        assert (outcome.closed.code, outcome.closed.reason) == (1000, "bye")
        assert outcome.sent == []
        assert outcome.connection.finished

    def test_closes_that_cross_each_other(self, receive: Receive) -> None:
        outcome = receive(close(3000), close=1012)
        assert outcome.code == 3000
        assert outcome.sent == []
        assert outcome.connection.finished

    def test_messages_that_were_on_their_way(self, receive: Receive) -> None:
        outcome = receive(text("a") + binary(b"b") + close(1000), close=1000)
        assert outcome.messages == ["a", b"b"]
        assert outcome.code == 1000

    def test_pings_are_answered_still(self, receive: Receive) -> None:
        outcome = receive(ping(b"1") + close(1000), close=1000)
        assert outcome.sent == [Frame(PONG, b"1")]

    def test_a_failure_is_not_told_with_a_second_close(self, receive: Receive) -> None:
        outcome = receive(frame(3), close=1000)
        assert outcome.code == 1002
        assert outcome.sent == []
        assert outcome.connection.finished

    def test_nor_is_one_of_a_control_frame(self, receive: Receive) -> None:
        outcome = receive(frame(PING, fin=False), close=1000)
        assert outcome.sent == []
        assert outcome.connection.finished


class TestFailure:
    """7.1.7: after a failure nothing is read any more."""

    def test_what_comes_after_it_is_not_read(self, receive: Receive) -> None:
        outcome = receive(frame(3) + text("a") + ping() + close(1000))
        assert outcome.messages == []
        assert outcome.failure == 1002
        assert len(outcome.sent) == 1

    def test_nor_later(self, engine: Engine) -> None:
        connection = engine(None, 1000)
        connection.receive_data(frame(3))
        connection.data_to_send()
        assert connection.receive_data(text("a") + close(1000)) == []
        assert connection.data_to_send() == b""

    def test_it_has_a_reason(self, receive: Receive) -> None:
        outcome = receive(frame(TEXT, b"a", rsv=2))
        assert outcome.sent[-1].reason == "reserved bits must be 0"


class TestSize:
    """The largest message."""

    @pytest.mark.parametrize("size", [1, 50, 125, 126, 1000])
    def test_the_limit_itself(self, receive: Receive, size: int) -> None:
        assert receive(binary(pattern(size)), max_size=max(size, 8)).message == pattern(size)

    @pytest.mark.parametrize("limit", [8, 124, 125, 126, 1000, 65535, 65536])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_above_it(self, receive: Receive, limit: int, opcode: int) -> None:
        outcome = receive(text("before") + frame(opcode, b"x" * (limit + 1)), max_size=limit)
        assert outcome.failure == 1009
        assert outcome.messages == ["before"]

    def test_fragments_up_to_it(self, receive: Receive) -> None:
        data = binary(pattern(40), fin=False) + cont(pattern(59), fin=False) + cont(b"x")
        assert len(receive(data, max_size=100).message) == 100

    @pytest.mark.parametrize("last", [1, 2, 126])
    def test_fragments_above_it(self, receive: Receive, last: int) -> None:
        data = binary(pattern(40), fin=False) + cont(pattern(60), fin=False) + cont(b"x" * last)
        assert receive(data, max_size=100).failure == 1009

    def test_each_message_begins_anew(self, receive: Receive) -> None:
        data = (binary(pattern(60), fin=False) + cont(pattern(40)) + binary(pattern(100))) * 3
        assert len(receive(data, max_size=100).messages) == 6

    @pytest.mark.parametrize("size", [1, 41, 101, 125])
    def test_control_frames_do_not_count(self, receive_strictly: Receive, size: int) -> None:
        data = binary(pattern(60), fin=False) + ping(b"x" * size) + pong(b"x" * size) + cont(pattern(40))
        outcome = receive_strictly(data + close(1000, "x" * (size - 2) if size > 2 else ""), max_size=100)
        assert outcome.messages == [pattern(60) + pattern(40)]
        assert outcome.code == 1000
        assert outcome.sent[0] == Frame(PONG, b"x" * size)

    def test_the_bytes_of_text_count(self, receive: Receive) -> None:
        assert receive(text("é" * 50), max_size=100).message == "é" * 50
        assert receive(text("é" * 51), max_size=100).failure == 1009

    @pytest.mark.parametrize("form", [7, 16, 64])
    def test_it_is_seen_in_the_head(self, engine: Engine, form: int) -> None:
        connection = engine(None, 10)
        (event,) = connection.receive_data(frame(BINARY, length=100, form=form))
        assert isinstance(event, Closed)
        assert event.code == 1009
        assert event.reason


class TestParts:
    """`receive_part`: the end waits behind messages of the same read, so that they can be answered."""

    def test_a_close_behind_a_message(self) -> None:
        connection = FrameConnection(None, 1000)
        assert connection.receive_part(text("a") + close(1000)) == ["a"]
        assert connection.deferred
        assert connection.open
        (event,) = connection.receive_part(b"")
        assert isinstance(event, Closed)
        assert event.code == 1000
        assert not connection.deferred
        assert connection.finished

    @pytest.mark.parametrize(
        ("data", "code"), [(frame(3), 1002), (frame(PING, fin=False), 1002), (frame(BINARY, length=2000), 1009)]
    )
    def test_an_error_behind_a_message(self, data: bytes, code: int) -> None:
        connection = FrameConnection(None, 1000)
        assert connection.receive_part(text("a") + data) == ["a"]
        assert connection.deferred
        (event,) = connection.receive_part(b"")
        assert isinstance(event, Closed)
        assert event.code == code
        assert not connection.deferred

    def test_nothing_before_it(self) -> None:
        connection = FrameConnection(None, 1000)
        (event,) = connection.receive_part(ping() + close(1000))
        assert isinstance(event, Closed)
        assert not connection.deferred

    def test_more_bytes_behind_it_are_not_read(self) -> None:
        connection = FrameConnection(None, 1000)
        connection.receive_part(text("a") + close(1000))
        (event,) = connection.receive_part(text("b"))
        assert isinstance(event, Closed)
        assert connection.receive_part(text("c")) == []

    def test_a_failure_of_ours_ends_the_wait(self) -> None:
        connection = FrameConnection(None, 1000)
        connection.receive_part(text("a") + close(1000))
        connection.fail(1011, "keepalive ping timeout")
        assert connection.receive_part(b"") == []
        assert not connection.deferred


class TestEarly:
    """What `FrameConnection` finds before the frame is complete; the reference waits for the whole frame."""

    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(b"\x91\x85", id="a reserved bit"),
            pytest.param(b"\xc1\x85", id="compression without agreement"),
            pytest.param(b"\x83\x85", id="an opcode"),
            pytest.param(b"\x8b\x85", id="an opcode of a control frame"),
            pytest.param(b"\x80\x85", id="a continuation of nothing"),
            pytest.param(b"\x81\x05", id="no mask"),
            pytest.param(b"\x89\x05", id="no mask of a control frame"),
            pytest.param(b"\x89\xfe", id="a long control frame"),
            pytest.param(b"\x09\x85", id="a fragment of a control frame"),
        ],
    )
    def test_two_bytes_are_enough(self, head: bytes) -> None:
        connection = FrameConnection(None, 1000)
        (event,) = connection.receive_data(head)
        assert isinstance(event, Closed)
        assert event.code == 1002
        assert parse_frames(connection.data_to_send())[0].code == 1002

    def test_a_message_within_a_message(self) -> None:
        connection = FrameConnection(None, 1000)
        connection.receive_data(text("a", fin=False))
        (event,) = connection.receive_data(b"\x81\x85")
        assert isinstance(event, Closed)
        assert event.code == 1002

    def test_fragments_above_the_largest_size(self) -> None:
        connection = FrameConnection(None, 1000)
        connection.receive_data(binary(b"x" * 999, fin=False))
        (event,) = connection.receive_data(frame(CONT, b"", length=2))
        assert isinstance(event, Closed)
        assert event.code == 1009


class TestMemory:
    """What a message that is not complete holds stays in proportion to its bytes."""

    COUNT = 5_000

    @pytest.mark.parametrize("piece", [b"x", b"ab", "é".encode(), "€".encode(), "𝄞".encode()], ids=ascii)
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_tiny_fragments(self, opcode: int, piece: bytes) -> None:
        connection = FrameConnection(None, LIMIT)
        connection.receive_data(frame(opcode, b"", fin=False))
        data = frame(CONT, piece, fin=False) * self.COUNT
        assert held_after(lambda: connection.receive_data(data)) < 6 * len(piece) * self.COUNT + 65536

    @pytest.mark.parametrize("piece", [b"ab", "é".encode()], ids=ascii)
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_tiny_reads(self, opcode: int, piece: bytes) -> None:
        connection = FrameConnection(None, LIMIT)
        data = frame(opcode, piece * 2 * self.COUNT)
        pieces = [data[at : at + len(piece)] for at in range(0, len(piece) * self.COUNT, len(piece))]
        assert held_after(lambda: feed(connection, pieces)) < 6 * len(piece) * self.COUNT + 65536

    def test_tiny_reads_of_a_compressed_frame(self) -> None:
        connection = FrameConnection(deflate(), LIMIT)
        data = frame(BINARY, bytes(4 * self.COUNT), rsv=4)
        pieces = [data[at : at + 2] for at in range(0, 2 * self.COUNT, 2)]
        assert held_after(lambda: feed(connection, pieces)) < 12 * self.COUNT + 65536

    @pytest.mark.parametrize("extension", [None, deflate()], ids=["plain", "compressed"])
    def test_empty_fragments(self, extension: PerMessageDeflate | None) -> None:
        connection = FrameConnection(extension, LIMIT)
        connection.receive_data(frame(TEXT, b"", fin=False, rsv=0 if extension is None else 4))
        # More: each may hold no more than a few bits.
        data = frame(CONT, b"", fin=False) * 20_000
        assert held_after(lambda: connection.receive_data(data)) < 2 * 65536

    def test_pongs_are_not_kept(self) -> None:
        connection = FrameConnection(None, LIMIT)
        data = pong(b"x" * 125) * 1000
        assert held_after(lambda: connection.receive_data(data)) < 65536


def feed(connection: FrameConnection, pieces: list[bytes]) -> None:
    for piece in pieces:
        assert connection.receive_data(piece) == []
