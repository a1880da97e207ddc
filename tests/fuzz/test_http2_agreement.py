"""Both engines of HTTP/2 are fed the same bytes, and say and answer the same.

Conversations are made up of what clients send, right and wrong, and of what a server does meanwhile; then frames are
dropped, repeated, swapped and changed, or single bytes are. Each is made from a number, so that one that fails can be
had again. FUZZ_SECONDS makes it go on for longer.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, get_args

from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError

from tests.http2.wire import Client, frame, frames_of, settings_payload
from uvicorn_worker.http2.engine.codes import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY,
    ErrorCode,
    FrameType,
)
from uvicorn_worker.http2.engine.errors import Http2ConnectionError
from uvicorn_worker.http2.engine.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    RequestHead,
    RequestReceived,
    StreamReset,
    TrailersReceived,
)
from uvicorn_worker.http2.engine.h2.engine import H2Engine
from uvicorn_worker.http2.engine.interface import Engine
from uvicorn_worker.http2.engine.limits import Limits
from uvicorn_worker.http2.engine.native.engine import NativeEngine
from uvicorn_worker.http2.engine.native.hpack import HeaderDecoder

CONVERSATIONS = 400
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))

# What the server does beside reading: a name and what it is called with.
Call = tuple[Any, ...]
# What is the protocol's own of a head, and what tells how it was read.
NO_MEANING = frozenset(["derived", "kept", "longest"])
# A read of bytes, or a call.
Step = bytes | Call

# Differences --------------------------------------------------------------------------------------------


@dataclass
class Turn:
    """What one engine has made of a step."""

    events: list[tuple[Any, ...]]
    frames: list[tuple[Any, ...]]
    # Its windows: of the connection, and of streams.
    windows: list[int]

    @property
    def code(self) -> int | None:
        """The code that the connection ended with, if it did."""
        if self.events and self.events[-1][0] == "ConnectionFailed":
            return int(self.events[-1][1])
        return None


def says_a_setting_twice(data: bytes, h2: Turn, native: Turn) -> bool:
    """Whether one of the SETTINGS in what a client has sent names a setting more than once."""
    for kind, payload in split(data):
        keys = [payload[at : at + 2] for at in range(0, len(payload) - 5, 6)]
        if kind == FrameType.SETTINGS and len(set(keys)) < len(keys):
            return True
    return False


def may_fail_twice(data: bytes, h2: Turn, native: Turn) -> bool:
    """Whether both have refused a header block, one for its size and the other for what is wrong behind that."""
    return {h2.code, native.code} == {ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.COMPRESSION_ERROR}


# Differences that are as they should be: why, and whether what the client has sent, and what h2 and native have made
# of the last of it, is such a one. The conversation ends there.
LEGITIMATE: dict[str, Callable[[bytes, Turn, Turn], bool]] = {
    "RFC 9113, 6.5.3: each value counts, in their order; h2 looks at the last one of a setting only": (
        says_a_setting_twice
    ),
    "Of two faults in a header block, either may be found first": may_fail_twice,
}


# Conversations ------------------------------------------------------------------------------------------

NAMES = [b"accept", b"x-a", b"cookie", b"content-length", b"priority", b"te", b"host", b"X-Upper", b"", b":path"]
NAMES += [b"expect", b"connection"]
VALUES = [b"", b"x", b"trailers", b"5", b"u=1, i", b"a" * 90, b"example.org", b" x", b"a\0", b"100-continue"]
VALUES += [b"\xff\xfe"]
# Settings that are allowed, and some that are not.
SETTINGS = [(1, 0), (1, 4096), (1, 65536), (2, 0), (2, 1), (3, 0), (4, 0), (4, 100), (4, 65535), (4, 99_999)]
SETTINGS += [(5, 16384), (5, 2**24 - 1), (6, 100), (8, 1), (9, 1), (99, 7)]
WRONG_SETTINGS = [(2, 2), (4, 2**31 - 1), (4, 2**31), (5, 16383), (8, 2), (9, 2)]
SIZES = [0, 1, 5, 5, 50, 300, 4000, 16384]
LIMITS = [
    {},
    {"max_concurrent_streams": 2},
    {"initial_window_size": 1000, "max_header_list_size": 1024},
    {"initial_window_size": 300_000, "max_frame_size": 20_000},
]


@dataclass
class Script:
    """A conversation: reads and calls in their order."""

    seed: int
    limits: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


class Author:
    """Makes up a conversation."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.client = Client()
        self.script = Script(seed, self.random.choice(LIMITS))
        # Streams that the client has ended.
        self.whole: set[int] = set()
        # How much of it is wrong: one that is wrong in all its parts ends soon, and says little.
        self.wildness = self.random.choice([0.0, 0.01, 0.05, 0.3])

    def wrong(self, most: float = 1.0) -> bool:
        """Whether to do something wrong here."""
        return self.random.random() < self.wildness * most

    def write(self) -> Script:
        random, pick = self.random, self.random.choice
        frames = [self.client.preface(dict(random.sample(SETTINGS, random.randrange(3)))), self.request()]
        makers = [self.request] * 6 + [self.body] * 5 + [self.call] * 6 + [self.control] * 4
        for _ in range(random.randrange(3, 60)):
            made = self.odd() if self.wrong(0.3) else pick(makers)()
            if isinstance(made, bytes):
                frames.append(made)
            else:
                self._flush(frames)
                self.script.steps.append(made)
        self._flush(frames)
        return self.script

    def _flush(self, frames: list[bytes]) -> None:
        """Make reads of the frames that there are, mutated or not."""
        if not frames:
            return
        random = self.random
        if self.wrong():
            frames = mutate_frames(random, frames)
        data = b"".join(frames)
        if self.wrong(0.5):
            data = mutate_bytes(random, data)
        each = random.choice([len(data) or 1, len(data) or 1, 1000, 7])
        if len(data) // each > 400:
            each = len(data)
        self.script.steps += [data[at : at + each] for at in range(0, len(data), each)]
        frames.clear()

    def stream_id(self) -> int:
        """One that is there, mostly; or was, or was skipped, or is still to come, or can't be."""
        random, latest = self.random, self.client.next_id - 2
        if self.wrong(0.5):
            return random.randrange(0, latest + 6)
        return max(1, latest - 2 * random.randrange(0, 4))

    def fields(self) -> list[tuple[bytes, bytes]]:
        random = self.random
        if not self.wrong():
            return [(b"accept", b"*/*")] * random.randrange(2) + [(b"cookie", b"a=b")] * random.randrange(3)
        return [(random.choice(NAMES), random.choice(VALUES)) for _ in range(random.randrange(5))]

    def request(self) -> bytes:
        random = self.random
        fields, end = self.fields(), random.random() < 0.6
        path = random.choice(
            [b"/", b"/", b"/a?b=c", b"*", b"/%d" % random.randrange(99), b"" if self.wrong() else b"/"]
        )
        method = random.choice([b"GET", b"GET", b"POST", b"CONNECT" if self.wrong() else b"PUT"])
        pseudo = self.client.request_fields(path, method=method)
        if self.wrong(0.2):
            random.shuffle(pseudo)
        if self.wrong(0.2):
            pseudo.pop()
        stream_id = self.client.next_id
        self.client.next_id += 4 if self.wrong() else 2
        if end:
            self.whole.add(stream_id)
        return self.head(stream_id, [*pseudo, *fields], end)

    def head(self, stream_id: int, fields: list[tuple[bytes, bytes]], end: bool) -> bytes:
        """HEADERS, perhaps with priority and padding, perhaps with CONTINUATION."""
        random = self.random
        if self.wrong(0.3):
            # A field that is larger than what is decoded, said again and again.
            fields = [*fields, (b"x-large", b"v" * 700)] * 3
        if random.random() < 0.05:
            self.client.encoder.header_table_size = random.choice([0, 100, 4096])
        block = self.client.encoder.encode(fields, huffman=random.random() < 0.8)
        if self.wrong(0.2):
            block = b"\x20" + block
        flags = END_STREAM if end else 0
        padding = random.randrange(0, 30) if random.random() < 0.1 else None
        rest = b""
        if random.random() < 0.1:
            at = random.randrange(0, len(block) + 1)
            rest, block = frame(FrameType.CONTINUATION, END_HEADERS, stream_id, block[at:]), block[:at]
        else:
            flags |= END_HEADERS
        if random.random() < 0.1:
            flags |= PRIORITY
            block = bytes(5) + block
        if padding is not None:
            flags |= PADDED
            block = bytes([padding]) + block + bytes(padding)
        return frame(FrameType.HEADERS, flags, stream_id, block) + rest

    def body(self) -> bytes:
        random = self.random
        if random.random() < 0.1:
            stream_id = self.stream_id()
            if stream_id in self.whole and not self.wrong():
                return self.client.ping()
            self.whole.add(stream_id)
            return self.head(stream_id, self.fields(), not self.wrong())
        padding = random.randrange(0, 255) if random.random() < 0.2 else None
        size = min(random.choice(SIZES), 16384 if padding is None else 16000)
        stream_id, end = self.stream_id(), random.random() < 0.3
        if stream_id in self.whole and not self.wrong():
            return self.client.window(size + 1)
        if end:
            self.whole.add(stream_id)
        return self.client.data(stream_id, bytes(size), end=end, padding=padding)

    def control(self) -> bytes:
        random, client = self.random, self.client
        kind = random.randrange(8)
        if kind == 0:
            increment = random.choice([0, 2**31 - 1] if self.wrong() else [1, 1000, 65535])
            return client.window(increment, random.choice([0, self.stream_id(), self.stream_id()]))
        if kind == 1:
            pairs = list(dict(random.sample(SETTINGS, random.randrange(0, 4))).items())
            if self.wrong():
                pairs.append(random.choice(WRONG_SETTINGS))
                random.shuffle(pairs)
            return frame(FrameType.SETTINGS, 0, 0, b"".join(settings_payload(dict([pair])) for pair in pairs))
        if kind == 2:
            return client.reset(self.stream_id())
        if kind == 3:
            return client.ping(flags=random.randrange(2))
        if kind == 4:
            return frame(FrameType.PRIORITY, 0, self.stream_id() or 1, bytes(5))
        if kind == 5:
            return client.priority_update(self.stream_id() | 1, b"u=%d" % random.randrange(8))
        return client.goaway(code=random.randrange(3)) if random.random() < 0.3 else frame(FrameType.SETTINGS, ACK)

    def odd(self) -> bytes:
        """Any type with any flags on any stream, and a payload of any size."""
        random = self.random
        payload = random.randbytes(random.choice([0, 4, 5, 6, 8, 12]))
        kind, flags = random.choice([*FrameType, FrameType.GOAWAY, 0x42]), random.randrange(256)
        return frame(kind, random.choice([0, 1, 4, 5, flags]), random.choice([0, self.stream_id()]), payload)

    def call(self) -> Call:
        random, stream_id = self.random, self.stream_id()
        kind = random.randrange(12)
        if kind < 4:
            return "respond", stream_id, random.choice([200, 204, 404]), bytes(random.choice([0, 13, 13, 20000]))
        if kind < 6:
            return "begin", stream_id, bytes(random.choice([0, 50, 40000])), random.random() < 0.5
        if kind < 7:
            return "reset", stream_id, random.choice([0, 2, 7, 8])
        if kind < 10:
            return "read", stream_id
        return random.choice([("tick",), ("ping",), ("goaway", random.random() < 0.5), ("trailers", stream_id)])


def mutate_frames(random: Random, frames: list[bytes]) -> list[bytes]:
    """Drop, repeat, swap or change some of the frames."""
    begins = frames[0].startswith(PREFACE)
    joined = b"".join(frames)[len(PREFACE) if begins else 0 :]
    frames = [frame(one.kind, one.flags, one.stream_id, one.payload) for one in frames_of(joined)]
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(frames))
        kind = random.randrange(6)
        if kind == 0 and len(frames) > 1:
            del frames[at]
        elif kind == 1:
            frames.insert(at, frames[at])
        elif kind == 2:
            other = random.randrange(len(frames))
            frames[at], frames[other] = frames[other], frames[at]
        else:
            data = bytearray(frames[at])
            if kind == 3:
                data[3] = random.randrange(12)
            elif kind == 4:
                data[4] ^= 1 << random.randrange(8)
            else:
                data[8] = (data[8] + random.randrange(-4, 5)) & 0xFF
            frames[at] = bytes(data)
    return [PREFACE, *frames] if begins else frames


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """Change, drop or insert some bytes."""
    changed = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(changed))
        kind = random.randrange(4)
        if kind == 0 and len(changed) > 1:
            del changed[at]
        elif kind == 1:
            changed.insert(at, random.randrange(256))
        else:
            changed[at] ^= 1 << random.randrange(8)
    return bytes(changed)


# Playing ------------------------------------------------------------------------------------------------


class Side:
    """One engine, and what it is known to have on its streams."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.start()
        # What was received and not acknowledged, by stream; streams that were answered, in part or whole.
        self.received: dict[int, int] = {}
        # Streams that the client has ended.
        self.whole: set[int] = set()
        self.begun: set[int] = set()
        self.ended: set[int] = set()

    def play(self, step: Step) -> Turn:
        """What comes of a step; but for credit to a stream that the client has ended: h2 gives it, for no use."""
        events: list[Event] = []
        if isinstance(step, bytes):
            events = self.engine.receive_data(step)
        else:
            getattr(self, step[0])(*step[1:])
        for event in events:
            if isinstance(event, DataReceived):
                self.received[event.stream_id] = self.received.get(event.stream_id, 0) + len(event.data)
            if getattr(event, "end_stream", isinstance(event, TrailersReceived)):
                self.whole.add(event.stream_id)  # type: ignore[union-attr]
        pieces = self.engine.data_to_send()
        assert all(pieces), "an empty piece"
        frames = [answer(one) for one in frames_of(b"".join(pieces))]
        latest = self.engine.last_stream_id
        windows = [self.engine.window(number) for number in range(max(1, latest - 10), latest + 1)]
        return Turn(
            [described(event) for event in events],
            [one for one in frames if one[0] != "WINDOW_UPDATE" or one[2] not in self.whole],
            [self.engine.connection_window(), latest, *windows],
        )

    def _is_free(self, stream_id: int) -> bool:
        """Whether the protocol would begin a response there."""
        return stream_id not in self.begun | self.ended and 0 < stream_id <= self.engine.last_stream_id

    def respond(self, stream_id: int, status: int, body: bytes) -> None:
        if self._is_free(stream_id):
            fields = [self.engine.prepare(b"server", b"x"), self.engine.prepare(b"x-own", b"y" * 50)]
            if self.engine.respond(stream_id, status, fields, body):
                self.ended.add(stream_id)

    def begin(self, stream_id: int, body: bytes, end: bool) -> None:
        if self._is_free(stream_id):
            self.begun.add(stream_id)
            self.engine.send_headers(stream_id, 200, [], False)
        if stream_id in self.begun and stream_id not in self.ended:
            room = self.engine.window(stream_id)
            self.engine.send_data(stream_id, memoryview(body)[:room], end)
            if end:
                self.ended.add(stream_id)

    def trailers(self, stream_id: int) -> None:
        if stream_id in self.begun and stream_id not in self.ended:
            self.engine.send_trailers(stream_id, [self.engine.prepare(b"grpc-status", b"0")])
            self.ended.add(stream_id)

    def read(self, stream_id: int) -> None:
        self.engine.acknowledge(stream_id, self.received.pop(stream_id, 0))

    def reset(self, stream_id: int, code: int) -> None:
        self.engine.reset(stream_id, code)

    def tick(self) -> None:
        self.engine.tick()

    def ping(self) -> None:
        self.engine.ping(b"12345678")

    def goaway(self, warning: bool) -> None:
        self.engine.goaway(2**31 - 1 if warning else self.engine.last_stream_id)


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of the frames behind the preface; the last one may be cut off."""
    data = data[len(PREFACE) :]
    while len(data) >= 9:
        end = 9 + int.from_bytes(data[:3], "big")
        yield data[3], data[9:end]
        data = data[end:]


def described(event: Event) -> tuple[Any, ...]:
    """An event as plain values; of a reason, only whether there is one."""
    if isinstance(event, ConnectionFailed):
        return "ConnectionFailed", int(event.code), bool(event.reason)
    if isinstance(event, StreamReset):
        return "StreamReset", event.stream_id, int(event.code), bool(event.reason)
    if isinstance(event, RequestReceived):
        head = tuple(getattr(event.head, name) for name in RequestHead.__slots__ if name not in NO_MEANING)
        return "RequestReceived", event.stream_id, head, event.end_stream
    return type(event).__name__, *(getattr(event, name) for name in sorted(type(event).__slots__))


def answer(one: Any) -> tuple[Any, ...]:
    """A frame as plain values; the text of GOAWAY is each engine's own."""
    payload = one.payload[:8] if one.kind == FrameType.GOAWAY else one.payload
    return FrameType(one.kind).name, one.flags, one.stream_id, payload


def disagreement(script: Script) -> str:
    """Play a conversation on both engines; what they differ in, empty if in nothing that matters."""
    h2, native = (Side(make(Limits(**script.limits))) for make in (H2Engine, NativeEngine))
    sent = b""
    for number, step in enumerate(script.steps):
        sent += step if isinstance(step, bytes) else b""
        turns = h2.play(step), native.play(step)
        if turns[0] != turns[1]:
            if any(may_differ(sent, *turns) for may_differ in LEGITIMATE.values()):
                return ""
            return f"seed {script.seed}, step {number}: {step!r}\nh2:     {turns[0]}\nnative: {turns[1]}"
        if turns[0].code is not None:
            return ""
    return ""


def conversations() -> Iterator[Script]:
    """So many as there is time for."""
    until = time.monotonic() + SECONDS
    number = 0
    while number < CONVERSATIONS or time.monotonic() < until:
        yield Author(number).write()
        number += 1


def test_conversations() -> None:
    for script in conversations():
        found = disagreement(script)
        assert not found, found


def test_conversations_are_worth_it() -> None:
    """They get somewhere, and most of what can happen does."""
    seen: Counter[str] = Counter()
    for seed in range(100):
        script = Author(seed).write()
        side = Side(NativeEngine(Limits(**script.limits)))
        for step in script.steps:
            turn = side.play(step)
            seen.update(event[0] for event in turn.events)
            seen.update(str(one[0]) for one in turn.frames)
    assert seen["RequestReceived"] > 200
    assert {event.__name__ for event in get_args(Event)} <= set(seen)
    assert {"DATA", "HEADERS", "RST_STREAM", "GOAWAY", "WINDOW_UPDATE", "PING", "SETTINGS"} <= set(seen)


class TestHeaderBlocks:
    """The decoder alone, against that of hpack."""

    BOUND = 2000

    def decoded(self, decode: Callable[[bytes], list[tuple[bytes, bytes]]], block: bytes) -> Any:
        try:
            return [(bytes(name), bytes(value)) for name, value in decode(block)]
        except (HPACKError, Http2ConnectionError) as exc:
            code = getattr(exc, "code", 0)
            too_large = isinstance(exc, OversizedHeaderListError) or code == ErrorCode.ENHANCE_YOUR_CALM
            return "too large" if too_large else "wrong"

    def test_blocks(self) -> None:
        for seed in range(CONVERSATIONS):
            random = Random(seed)
            encoder, ours, theirs = Encoder(), HeaderDecoder(self.BOUND), Decoder(self.BOUND)
            for _ in range(random.randrange(1, 30)):
                block = self.block(random, encoder)
                expected = self.decoded(lambda block: list(theirs.decode(block, raw=True)), block)  # noqa: B023 - at once
                assert self.decoded(ours.decode, block) == expected, f"seed {seed}: {block.hex()}"
                if isinstance(expected, str):
                    break

    def block(self, random: Random, encoder: Encoder) -> bytes:
        kind = random.randrange(12)
        if kind == 0:
            return random.randbytes(random.randrange(1, 12))
        if kind == 1:
            encoder.header_table_size = random.choice([0, 50, 300, 4096])
        names = [b"x-%d" % random.randrange(9), b":path", b"cookie", b"\xff\0", b""]
        made = [
            (random.choice(names), random.choice(VALUES) * random.randrange(9), random.random() < 0.2)
            for _ in range(random.randrange(4))
        ]
        block = bytes(encoder.encode(made, huffman=random.random() < 0.7))
        return mutate_bytes(random, block) if block and kind == 2 else block
