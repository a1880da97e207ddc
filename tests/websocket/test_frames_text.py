"""Text is UTF-8 (RFC 6455, 5.6 and 8.1; RFC 3629)."""

from __future__ import annotations

import sys
from typing import ClassVar

import pytest

from tests.websocket.conftest import Receive
from tests.websocket.wire import TEXT, binary, cont, frame, parse_frames, ping, pong, text
from uvicorn_worker.websocket.frames import Closed, FrameConnection

# First and last characters of each length, and those beside the gaps.
VALID = [
    "\x00",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\ufffe",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "\ufeffa byte order mark is a character",
    "κόσμε",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "𝄞 and 中文",
]

INVALID = {
    "a continuation alone": b"\x80",
    "the last continuation alone": b"\xbf",
    "continuations": b"\x80\xbf\x80",
    "two bytes without the second": b"\xc3 ",
    "three bytes without the third": b"\xe2\x82 ",
    "four bytes without the fourth": b"\xf0\x9d\x84 ",
    "an overlong slash in two": b"\xc0\xaf",
    "an overlong slash in three": b"\xe0\x80\xaf",
    "an overlong slash in four": b"\xf0\x80\x80\xaf",
    "the last overlong of two": b"\xc1\xbf",
    "the last overlong of three": b"\xe0\x9f\xbf",
    "the last overlong of four": b"\xf0\x8f\xbf\xbf",
    "an overlong zero": b"\xc0\x80",
    "the first high surrogate": b"\xed\xa0\x80",
    "the last low surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "above the last character": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "0xfe": b"\xfe",
    "0xff": b"\xff",
}

CUT_SHORT = [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9d", b"\xf0\x9d\x84"]


@pytest.mark.parametrize("message", VALID, ids=ascii)
def test_valid(receive: Receive, message: str) -> None:
    assert receive(text(message)).message == message


@pytest.mark.parametrize("message", VALID, ids=ascii)
def test_valid_in_a_long_message(receive: Receive, message: str) -> None:
    message = "x" * 150 + message + "y" * 150
    assert receive(text(message)).message == message


@pytest.mark.parametrize("message", VALID, ids=ascii)
def test_a_character_may_be_cut_by_fragments(receive: Receive, message: str) -> None:
    data = message.encode()
    for at in range(1, len(data)):
        assert receive(text(data[:at], fin=False) + frame(0, data[at:])).message == message


def test_a_fragment_for_each_byte(receive: Receive) -> None:
    data = "κόσμε 𝄞".encode()
    pieces = b"".join(frame(0, data[at : at + 1], fin=False) for at in range(1, len(data)))
    assert receive(text(data[:1], fin=False) + pieces + cont("")).message == "κόσμε 𝄞"


def test_control_frames_within_a_character(receive: Receive) -> None:
    outcome = receive(text(b"\xf0\x9d", fin=False) + ping(b"\xff") + pong(b"\xc3") + frame(0, b"\x84\x9e"))
    assert outcome.messages == ["𝄞"]
    assert outcome.closed is None


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID.keys())
class TestInvalid:
    """It fails with 1007 wherever it is."""

    def test_alone(self, receive: Receive, data: bytes) -> None:
        outcome = receive(text("before") + text(data))
        assert outcome.failure == 1007
        assert outcome.messages == ["before"]

    def test_in_a_long_message(self, receive: Receive, data: bytes) -> None:
        assert receive(text(b"x" * 150 + data + b"y" * 150)).failure == 1007

    def test_in_the_last_fragment(self, receive: Receive, data: bytes) -> None:
        assert receive(text("valid: κόσμε", fin=False) + frame(0, data)).failure == 1007

    def test_across_fragments(self, receive: Receive, data: bytes) -> None:
        for at in range(1, len(data)):
            assert receive(text(data[:at], fin=False) + frame(0, data[at:])).failure == 1007

    def test_in_binary_it_is_just_bytes(self, receive: Receive, data: bytes) -> None:
        assert receive(binary(data)).message == data
        assert receive(binary(data[:1], fin=False) + frame(0, data[1:])).message == data


@pytest.mark.parametrize("data", CUT_SHORT, ids=ascii)
class TestCutShort:
    """A character that is not complete at the end of the message."""

    def test_alone(self, receive: Receive, data: bytes) -> None:
        assert receive(text(data)).failure == 1007

    def test_after_others(self, receive: Receive, data: bytes) -> None:
        assert receive(text(b"x" * 150 + data)).failure == 1007

    def test_in_the_last_fragment(self, receive: Receive, data: bytes) -> None:
        assert receive(text("κόσμε", fin=False) + frame(0, data)).failure == 1007

    def test_before_an_empty_last_fragment(self, receive: Receive, data: bytes) -> None:
        assert receive(text(data, fin=False) + cont("")).failure == 1007

    def test_the_next_message_does_not_complete_it(self, receive: Receive, data: bytes) -> None:
        rest = "𝄞é€".encode()[len(data) :]
        outcome = receive(text(data) + frame(TEXT, rest))
        assert outcome.failure == 1007
        assert outcome.messages == []


def test_each_message_begins_anew(receive: Receive) -> None:
    messages = ["é" * 100, "€", "𝄞" * 50, "a", "é"]
    data = text(messages[0]) + text("€".encode()[:2], fin=False) + frame(0, "€".encode()[2:])
    data += b"".join(text(message) for message in messages[2:])
    assert receive(data).messages == messages


class TestFailFast:
    """`FrameConnection` fails at the first byte that shows it; the reference, when the message is complete."""

    # Each with the number of bytes that are enough.
    SEEN: ClassVar = [
        (b"\x80", 1),
        (b"\xc0", 1),
        (b"\xf5", 1),
        (b"\xff", 1),
        (b"\xc3 ", 2),
        (b"\xe0\x80", 2),
        (b"\xf0\x80", 2),
        (b"\xf4\x90", 2),
        (b"\xe2\x82 ", 3),
        # The second byte would be enough, as for PyPy's decoder; CPython's looks at the third.
        (b"\xed\xa0\x80", 2 if sys.implementation.name == "pypy" else 3),
        (b"\xf0\x9d\x84 ", 4),
    ]

    @pytest.mark.parametrize(("data", "enough"), SEEN)
    @pytest.mark.parametrize("before", ["", "Hello-µ@ß"])
    def test_within_a_frame(self, data: bytes, enough: int, before: str) -> None:
        connection = FrameConnection(None, 1000)
        rest = b"x" * 500
        head = text(before.encode() + data + rest)[: -len(rest) - len(data)]
        whole = text(before.encode() + data + rest)
        assert connection.receive_data(head) == []
        for at in range(len(head), len(head) + enough - 1):
            assert connection.receive_data(whole[at : at + 1]) == []
        last = len(head) + enough - 1
        (event,) = connection.receive_data(whole[last : last + 1])
        assert isinstance(event, Closed)
        assert event.code == 1007
        assert parse_frames(connection.data_to_send())[-1].code == 1007
        assert connection.finished

    def test_in_a_fragment_that_is_not_the_last(self) -> None:
        connection = FrameConnection(None, 1000)
        (event,) = connection.receive_data(text(b"\xff", fin=False))
        assert isinstance(event, Closed)
        assert event.code == 1007

    def test_across_fragments(self) -> None:
        connection = FrameConnection(None, 1000)
        assert connection.receive_data(text(b"\xf4", fin=False)) == []
        (event,) = connection.receive_data(frame(0, b"\x90", fin=False))
        assert isinstance(event, Closed)
        assert event.code == 1007
