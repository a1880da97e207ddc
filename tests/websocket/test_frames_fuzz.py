"""Random frames, whole and cut anywhere, over both engines: the same messages, the same pongs, the same code.

Each example is made from its own seed, which the test's name has: `pytest -k "frames_fuzz and 7"` runs it again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.websocket.conftest import Connection, Engine, StraightConnection, deflate
from tests.websocket.reference import ReferenceConnection
from tests.websocket.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Deflater, Frame, close, frame, parse_frames
from uvicorn_worker.websocket.frames import Closed

# The first of them with each run, the others with the long tests.
SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 20))]
EXAMPLES = 30
"""For each seed; together they take a few seconds."""

LIMIT = 3000
CODES = [1000, 1001, 1007, 1011, 1012, 3000, 4999, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000]


class Script:
    """Makes the frames of a client that mostly keeps to the rules, and in the end may break one of them."""

    def __init__(self, rng: random.Random, *, compressed: bool) -> None:
        self.rng = rng
        self.deflater = Deflater() if compressed else None

    def mask(self) -> bytes:
        return self.rng.randbytes(4)

    def size(self) -> int:
        return self.rng.choice([0, 1, 2, 3, 5, 30, 124, 125, 126, 127, 200, 500, 1400])

    def string(self) -> bytes:
        letters = self.rng.choice(["abc ", "éßñ", "€中文", "𝄞😀", "a€𝄞é"])
        return "".join(self.rng.choices(letters, k=self.size() // 4)).encode()

    def control(self) -> bytes:
        return frame(self.rng.choice([PING, PONG]), self.rng.randbytes(self.rng.choice([0, 4, 125])), mask=self.mask())

    def message(self) -> bytes:
        """The frames of one message, with control frames between them."""
        rng = self.rng
        opcode = rng.choice([TEXT, BINARY])
        payload = self.string() if opcode == TEXT else rng.randbytes(self.size())
        cuts = sorted(rng.randint(0, len(payload)) for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])))
        pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)])]  # noqa: B905
        rsv = 0
        if self.deflater is not None and rng.random() < 0.7:
            pieces = self.deflater.pieces(*pieces)
            rsv = 4
        frames = []
        for at, piece in enumerate(pieces):
            first, last = at == 0, at == len(pieces) - 1
            frames.append(frame(opcode if first else CONT, piece, fin=last, rsv=rsv if first else 0, mask=self.mask()))
            if rng.random() < 0.2:
                frames.append(self.control())
        return b"".join(frames)

    def fault(self) -> bytes:
        """What breaks a rule, at any place between messages; after it, nothing counts."""
        rng = self.rng
        whole = (
            lambda: frame(rng.choice([3, 4, 5, 6, 7, 11, 15]), mask=self.mask()),
            lambda: frame(rng.choice([TEXT, BINARY, PING, CLOSE]), b"", mask=None),
            lambda: frame(rng.choice([TEXT, BINARY, PING]), b"ab", rsv=rng.choice([1, 2, 3]), mask=self.mask()),
            lambda: frame(CONT, b"ab", mask=self.mask()),
            lambda: frame(TEXT, b"a", fin=False) + frame(rng.choice([TEXT, BINARY]), b"b", mask=self.mask()),
            lambda: frame(PING, b"", fin=False, mask=self.mask()),
            lambda: frame(PING, bytes(126), mask=self.mask()),
            lambda: frame(CLOSE, b"x", mask=self.mask()),
            lambda: frame(TEXT, self.string() + b"\xff" + self.string(), mask=self.mask()),
            lambda: frame(TEXT, b"a", fin=False) + frame(CONT, self.string() + b"\xc3", mask=self.mask()),
            lambda: frame(BINARY, bytes(LIMIT + rng.choice([1, 100, 2000])), mask=self.mask()),
            lambda: frame(BINARY, bytes(LIMIT - 10), fin=False) + frame(CONT, bytes(11), mask=self.mask()),
            lambda: close(rng.choice(CODES), rng.choice([b"", b"bye", b"\xff"])),
        )
        if self.deflater is not None and rng.random() < 0.2:
            return frame(TEXT, b"\xff\xff\xff", rsv=4) + self.deflater.message(bytes(LIMIT * 100))
        return rng.choice(whole)()

    def bytes(self) -> bytes:
        data = [self.message() if self.rng.random() < 0.8 else self.control() for _ in range(self.rng.randint(0, 8))]
        ending = self.rng.random()
        if ending < 0.4:
            data.append(self.fault())
        elif ending < 0.7:
            data.append(close(self.rng.choice(CODES), self.rng.choice(["", "bye"])))
        return b"".join(data) + self.rng.choice([b"", b"", self.message()])


def cut(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """The reads in which the bytes arrive."""
    most = rng.choice([1, 2, 7, 50, 300, 100_000])
    at = 0
    while at < len(data):
        size = rng.randint(1, most)
        yield data[at : at + size]
        at += size


Result = tuple[list["str | bytes"], list[Frame], "int | None", "bytes | None"]


def run(engine: Engine, reads: list[bytes], *, compressed: bool) -> Result:
    connection: Connection = engine(deflate() if compressed else None, LIMIT)
    messages: list[str | bytes] = []
    code: int | None = None
    sent: list[Frame] = []
    for data in reads:
        for event in connection.receive_data(data):
            assert code is None, "an event after the end"
            if isinstance(event, Closed):
                code = event.code
            else:
                messages.append(event)
        sent += parse_frames(connection.data_to_send())
    assert connection.finished == (code is not None)
    assert connection.open == (code is None)
    # The library's words for what is wrong are others.
    sent = [Frame(item.opcode, item.payload[:2]) if item.opcode == CLOSE else item for item in sent]
    return messages, sent, code, connection.pong


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_both_engines_agree(seed: int, compressed: bool) -> None:
    rng = random.Random(seed * 2 + compressed)
    for _ in range(EXAMPLES):
        data = Script(rng, compressed=compressed).bytes()
        # Byte by byte, since the reference looks at text when it has answered the pings behind it in the same read.
        expected = run(ReferenceConnection, [data[at : at + 1] for at in range(len(data))], compressed=compressed)
        assert run(StraightConnection, [data], compressed=compressed) == expected, data
        reads = list(cut(rng, data))
        assert run(StraightConnection, reads, compressed=compressed) == expected, reads


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_changed_bytes(seed: int, compressed: bool) -> None:
    """Any byte may be wrong: no crash, no message that the reference does not give, a code that stands for a fault.

    A frame may now have several faults, so that the code is that of another; and `FrameConnection` may find one
    that the reference still waits to see.
    """
    rng = random.Random(1000 + seed * 2 + compressed)
    for _ in range(EXAMPLES):
        data = bytearray(Script(rng, compressed=compressed).bytes())
        for _ in range(rng.randint(1, 4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        messages, _, code, _ = run(StraightConnection, list(cut(rng, bytes(data))), compressed=compressed)
        whole_messages, _, whole_code, _ = run(StraightConnection, [bytes(data)], compressed=compressed)
        assert (messages, code) == (whole_messages, whole_code), bytes(data)
        expected, _, expected_code, _ = run(ReferenceConnection, [bytes(data)], compressed=compressed)
        assert messages == expected, bytes(data)
        if code != expected_code:
            assert (code, expected_code) in {(1002, 1009), (1009, 1002), (1007, 1002), (1007, 1009)} or (
                expected_code is None and code in {1002, 1007, 1009}
            ), bytes(data)
