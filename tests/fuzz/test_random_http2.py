"""HTTP/2 at random, held to a model: nothing is lost or doubled, and the windows of both sides agree in the end.

The client keeps its own account of all windows, as RFC 9113, 6.9 has it. It sends in pieces, opens its windows by
little, changes them, resets streams and stops reading, and the application does what an `Exchange` says. In the end
the client lets all go on that can: then each stream has ended, and the connection is as it was in the beginning.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.exchanges import Exchange, Stage, log_lines
from tests.http2.conftest import ENGINES
from tests.http2.harness import Http2Harness
from tests.http2.wire import Client, Stream
from uvicorn_worker.http2.engine.codes import ACK, FrameType, Setting

ROUNDS = [range(60), pytest.param(range(60, 1000), marks=pytest.mark.long)]

MOST_STEPS = 300
PLENTY = 400_000
PRIORITIES = [b"u=0", b"u=1", b"u=5, i", b"i"]


class Windows:
    """The windows of one direction: of the connection, and of each stream, whose beginning may change."""

    def __init__(self, initial: int) -> None:
        self.connection = 65_535
        self.initial = initial
        self._opened: dict[int, int] = {}

    def of(self, stream_id: int) -> int:
        return self.initial + self._opened.get(stream_id, 0)

    def room(self, stream_id: int) -> int:
        return min(self.connection, self.of(stream_id))

    def open(self, stream_id: int, size: int) -> None:
        if stream_id:
            self._opened[stream_id] = self._opened.get(stream_id, 0) + size
        else:
            self.connection += size

    def use(self, stream_id: int, size: int) -> None:
        self.open(0, -size)
        self.open(stream_id, -size)


class Conversation:
    """A connection, and the exchanges on it."""

    def __init__(self, seed: int, engine: str) -> None:
        self.rng = rng = random.Random(seed)
        self.exchanges = [Exchange(rng, number) for number in range(rng.randint(1, 8))]
        self.stage = Stage(self.exchanges)
        self.harness = Http2Harness(self.stage, http2="on", http2_engine=engine)
        self.connection = self.harness.connect()
        self.transport = self.connection.transport
        self.wire = Client()
        # What we take, and what the server takes.
        self.ours = Windows(rng.choice([0, 1, 100, 1000, 65_535, 65_535, 1_000_000]))
        self.theirs = Windows(0)
        # Values of SETTINGS_INITIAL_WINDOW_SIZE that the server has not acknowledged.
        self.due = [self.ours.initial]
        self.to_come = list(self.exchanges)
        # Streams that were begun, how much of each body was sent (None: all of it), and those that we have reset.
        self.ids: dict[int, Exchange] = {}
        self.sent: dict[int, int | None] = {}
        self.reset: set[int] = set()
        self.read_in_pieces = rng.random() < 0.5
        self.push(self.wire.preface({Setting.INITIAL_WINDOW_SIZE: self.ours.initial}))
        self.harness.settle()
        self.pull()

    # What the client does ----------------------------------------------------------------------------

    def push(self, data: bytes) -> None:
        """Let `data` arrive, maybe in two reads, and let a turn of the loop pass."""
        at = self.rng.randrange(len(data)) if self.read_in_pieces else 0
        for piece in filter(None, (data[:at], data[at:])):
            self.connection.push(piece)

    def pull(self) -> None:
        """Read what the server has written, and hold it to our windows."""
        for one in self.wire.receive(self.connection.take()):
            if one.kind == FrameType.SETTINGS and one.flags & ACK:
                self.ours.initial = self.due.pop(0)
            elif one.kind == FrameType.SETTINGS:
                self.theirs.initial = one.settings[Setting.INITIAL_WINDOW_SIZE]
            elif one.kind == FrameType.WINDOW_UPDATE:
                self.theirs.open(one.stream_id, one.number)
            elif one.kind == FrameType.DATA:
                assert len(one.payload) <= max(0, self.ours.room(one.stream_id)), "more than our windows let"
                self.ours.use(one.stream_id, len(one.payload))
            assert one.kind != FrameType.GOAWAY, one.debug

    def stream(self, stream_id: int) -> Stream:
        return self.wire.streams.setdefault(stream_id, Stream())

    @property
    def open_streams(self) -> list[int]:
        """Those whose response has not ended."""
        return [each for each in self.ids if not (self.stream(each).ended or self.is_reset(each))]

    def is_reset(self, stream_id: int) -> bool:
        return stream_id in self.reset or self.stream(stream_id).reset is not None

    @property
    def uploads(self) -> list[int]:
        """Those whose request has not ended."""
        return [each for each, sent in self.sent.items() if sent is not None and not self.is_reset(each)]

    def ask(self) -> None:
        """Begin the next exchange."""
        rng, exchange = self.rng, self.to_come.pop(0)
        stream_id = self.wire.next_id
        fields = [(b"priority", rng.choice(PRIORITIES))] if rng.random() < 0.3 else []
        has_body = exchange.method in ("POST", "PUT")
        if has_body and rng.random() < 0.5:
            fields.append((b"content-length", b"%d" % len(exchange.body)))
        self.ids[stream_id] = exchange
        self.sent[stream_id] = 0 if has_body else None
        method = exchange.method.encode()
        self.push(self.wire.request(b"/%d" % exchange.number, *fields, method=method, end=not has_body))

    def upload(self, stream_id: int, most: int) -> bool:
        """Send up to `most` bytes more of a body, with some padding; whether there was room."""
        rng, sent, content = self.rng, self.sent[stream_id] or 0, self.ids[stream_id].body
        room = min(max(0, self.theirs.room(stream_id)), 16_384)
        piece = content[sent : sent + min(room, most)]
        end = sent + len(piece) == len(content)
        if not piece and not end:
            return False
        padding = rng.choice([None, None, 0, 5])
        size = len(piece) + (0 if padding is None else padding + 1)
        if size > room:
            padding, size = None, len(piece)
        self.theirs.use(stream_id, size)
        self.sent[stream_id] = None if end else sent + len(piece)
        if end and rng.random() < 0.15:
            trailers = self.wire.headers(stream_id, [(b"x-trailer", b"1")])
            self.push(self.wire.data(stream_id, piece, padding=padding) + trailers)
        else:
            self.push(self.wire.data(stream_id, piece, end=end, padding=padding))
        return True

    def open_window(self, stream_id: int, size: int) -> None:
        self.ours.open(stream_id, size)
        self.push(self.wire.window(size, stream_id))

    def step(self) -> None:
        rng, wire, what = self.rng, self.wire, self.rng.random()
        answers, uploads = self.open_streams, self.uploads
        if what < 0.2 and self.to_come:
            self.ask()
        elif what < 0.45 and uploads:
            self.upload(rng.choice(uploads), rng.choice([1, 100, 16_384, 16_384]))
        elif what < 0.55 and self.stage.gates:
            self.harness.inside(self.stage.open_gate, rng)
        elif what < 0.6:
            self.transport.stall()
        elif what < 0.7:
            self.harness.inside(self.transport.drain)
        elif what < 0.78 and answers:
            self.open_window(rng.choice(answers), rng.choice([1, 100, 5000, 70_000]))
        elif what < 0.84:
            self.open_window(0, rng.choice([1, 1000, 70_000]))
        elif what < 0.87:
            self.due.append(rng.choice([0, 1, 100, 65_535, 300_000]))
            self.push(wire.settings({Setting.INITIAL_WINDOW_SIZE: self.due[-1]}))
        elif what < 0.89 and answers:
            stream_id = rng.choice(answers)
            self.reset.add(stream_id)
            self.push(wire.reset(stream_id))
        elif what < 0.9:
            self.push(wire.ping())
        elif what < 0.92 and answers:
            self.push(wire.priority_update(rng.choice(answers), rng.choice(PRIORITIES)))
        elif what < 0.94:
            self.harness.tick(0.5)
        else:
            self.harness.turn()
        if rng.random() < 0.4:
            self.harness.settle()
        self.pull()

    def let_go(self) -> bool:
        """Let everything go on that can; whether there was anything."""
        self.harness.settle()
        self.pull()
        if self.stage.gates:
            self.harness.inside(self.stage.open_gate, self.rng)
            return True
        self.harness.inside(self.transport.drain)
        if self.to_come:
            self.ask()
            return True
        if any(self.upload(each, 16_384) for each in self.uploads):
            return True
        narrow = [each for each in self.open_streams if self.ours.of(each) < PLENTY]
        for each in narrow:
            self.open_window(each, PLENTY)
        if self.open_streams and self.ours.connection < PLENTY:
            self.open_window(0, PLENTY)
            return True
        return bool(narrow)

    # What has become of it ---------------------------------------------------------------------------

    def play(self) -> None:
        for _ in range(MOST_STEPS):
            if not self.to_come and not self.open_streams:
                break
            self.step()
        while self.let_go():
            pass
        with_answer = [each for each in self.ids if each not in self.reset]
        for stream_id in with_answer:
            self.check_answer(self.ids[stream_id], self.stream(stream_id))
        for exchange in self.exchanges:
            exchange.check()
        self.check_rest()

    def check_answer(self, exchange: Exchange, stream: Stream) -> None:
        assert exchange.begun
        if exchange.fails and (stream.reset is not None or stream.status in (500, 503)):
            return
        assert stream.whole
        assert (stream.status, stream.get(b"x-number")) == (exchange.status, b"%d" % exchange.number)
        assert stream.body == exchange.content
        if not exchange.fails:
            assert stream.trailers == ([(b"x-trailer", b"1")] if exchange.trailers else None)

    def check_rest(self) -> None:
        """Nothing is left of any stream, and we may send as much as in the beginning."""
        runtime = self.harness.runtime
        (protocol,) = runtime.connections
        state: Any = protocol
        assert not runtime.cycles
        assert (state.streams, state.scheduler.count, state.waiting) == ({}, 0, [])
        assert self.theirs.connection > 500_000
        credit = getattr(state.engine, "_credit", None)
        if credit is not None:
            # Of the native engine it is known to the byte.
            assert credit.window == self.theirs.connection == credit.most - credit.taken
            assert state.engine.connection_window() == self.ours.connection
        self.harness.tick(10)
        assert self.connection.closed
        self.connection.leave()
        assert (runtime.connections, runtime.held, runtime.writing) == (set(), [], [])
        assert not asyncio.all_tasks(self.harness.loop)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    with log_lines() as found:
        yield found


@pytest.mark.parametrize("seeds", ROUNDS, ids=str)
@pytest.mark.parametrize("engine", ENGINES)
def test_conversations(seeds: range, engine: str, lines: list[str]) -> None:
    for seed in seeds:
        conversation = Conversation(seed, engine)
        try:
            conversation.play()
            assert lines == []
        except BaseException as exc:
            raise AssertionError(f"seed {seed}") from exc
        finally:
            conversation.harness.close()
