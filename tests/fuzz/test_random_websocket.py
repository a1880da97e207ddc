"""WebSocket at random, over HTTP/1.1 and HTTP/2, held to a model: messages arrive whole, in order and once, and both
sides learn how it has ended.

The client offers compression in all its forms, sends messages in frames with pings between, in reads of any size, reads
late, and closes or leaves at any moment; the application accepts or denies, receives and sends in any order, closes,
raises or returns. In the end all goes on that can.
"""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.exchanges import log_lines
from tests.http2.wire import Client as Http2Wire
from tests.scripted import READ_SIZE, Harness, parse_responses
from tests.websocket import wire
from uvicorn_worker.core.asgi import Event, Receive, Scope, Send
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.http2.engine.codes import FrameType, Setting

ROUNDS = [range(80), pytest.param(range(80, 2000), marks=pytest.mark.long)]
MOST_STEPS = 150
LARGE = 3000

OFFERS = [
    "",
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=15",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
    "permessage-deflate; server_max_window_bits=8, permessage-deflate",
    "x-other, permessage-deflate; server_no_context_takeover",
]
SIZES = [0, 1, 10, 125, 126, 1000, 5000, 70_000]
CODES = [1000, 1001, 1008, 3000, 4999]
# What the application makes of the handshake.
ANSWERS = ["accept"] * 9 + ["close", "respond", "raise", "return"]

Message = str | bytes


def message_of(rng: random.Random, name: str) -> Message:
    size = rng.choice(SIZES)
    if rng.random() < 0.5:
        return (name + "äöü€😀0123456789" * (size // 10))[:size]
    return (name.encode() + rng.randbytes(10) * (size // 10 + 1))[:size]


class Plan:
    """What a WebSocket's application does, and what it has seen."""

    def __init__(self, rng: random.Random) -> None:
        self.answer = rng.choice(ANSWERS)
        self.steps: list[tuple[Any, ...]] = []
        for number in range(rng.choice([0, 2, 5, 20])):
            kind = rng.choice(["receive", "receive", "send", "send", "send", "turn", "gate"])
            self.steps.append((kind, message_of(rng, f"server {number} ")) if kind == "send" else (kind,))
        self.ending = rng.choice(["all", "all", "all", "return", "close", "raise"])
        self.code, self.reason = rng.choice(CODES), rng.choice(["", "bye", "ä" * 80])
        self.seen: list[Message] = []
        self.sent: list[Message] = []
        self.begun = self.ended = 0
        # How it was told of the end, and whether it has come to its own.
        self.told: tuple[int, str] | None = None
        self.closed = self.refused = self.cancelled = False
        self.problem = ""


class Play:
    """The application; `gates` hold it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.gates: list[asyncio.Future[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plan = self.plan
        plan.begun += 1
        try:
            if (await receive())["type"] != "websocket.connect":
                plan.problem = "no websocket.connect"
            if await self._answer(send):
                try:
                    await self._talk(receive, send)
                except OSError:
                    plan.refused = True
                    await self._behind(receive, send)
                    raise
        except asyncio.CancelledError:
            plan.cancelled = True
            raise
        finally:
            plan.ended += 1

    async def _answer(self, send: Send) -> bool:
        how = self.plan.answer
        if how == "accept":
            await send({"type": "websocket.accept", "headers": [(b"x-own", b"1")]})
        elif how == "close":
            await send({"type": "websocket.close"})
        elif how == "respond":
            await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-own", b"1")]})
            await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"you"})
        elif how == "raise":
            raise ValueError("as it was planned")
        return how == "accept"

    async def _talk(self, receive: Receive, send: Send) -> None:
        plan = self.plan
        for step in plan.steps:
            if step[0] == "receive":
                self._take(await receive())
            elif step[0] == "send":
                plan.sent.append(step[1])
                await send({"type": "websocket.send", "text" if isinstance(step[1], str) else "bytes": step[1]})
            elif step[0] == "turn":
                await asyncio.sleep(0)
            else:
                await self._gate()
        if plan.ending == "all":
            while plan.told is None:
                self._take(await receive())
            await self._behind(receive, send)
        elif plan.ending == "close":
            plan.closed = True
            await send({"type": "websocket.close", "code": plan.code, "reason": plan.reason})
            while plan.told is None:
                self._take(await receive())
            await self._behind(receive, send)
        elif plan.ending == "raise":
            raise ValueError("as it was planned")

    async def _behind(self, receive: Receive, send: Send) -> None:
        """Behind the end there is nothing to be sent, and the end is said again."""
        while (event := await receive())["type"] != "websocket.disconnect":
            self._take(event)
        if self.plan.told not in (None, (event["code"], event["reason"])):
            self.plan.problem = "another end than before"
        self._take(event)
        try:
            await send({"type": "websocket.send", "text": "once more"})
        except OSError:
            return
        self.plan.problem = "something is sent behind the end"

    async def _gate(self) -> None:
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate

    def open_gate(self) -> None:
        gate = self.gates.pop()
        if not gate.done():
            gate.set_result(None)

    def _take(self, event: Event) -> None:
        plan = self.plan
        if event["type"] == "websocket.disconnect":
            plan.told = (event["code"], event["reason"])
        elif plan.told is not None:
            plan.problem = f"behind the end: {event}"
        else:
            plan.seen.append(event["text"] if event.get("text") is not None else event["bytes"])


class Http1Link:
    """The WebSocket's way over HTTP/1.1."""

    def __init__(self, harness: Harness, offer: str) -> None:
        self.harness = harness
        self.client = harness.connect()
        fields = [f"Sec-WebSocket-Extensions: {offer}"] if offer else []
        self.opening = wire.handshake("/", *fields)
        self.pushed = False

    def push(self, data: bytes) -> int:
        """Send what there is room for; gives how much it was."""
        self.client.push(data[:READ_SIZE])
        return min(len(data), READ_SIZE)

    def open(self) -> None:
        self.push(self.opening)

    def read(self) -> tuple[int, dict[str, str], bytes]:
        """The status and the fields of the answer, and what came behind it; 0 before it has come."""
        head, end, rest = self.client.transport.output.partition(b"\r\n\r\n")
        if not end:
            return 0, {}, b""
        if not head.startswith(b"HTTP/1.1 101"):
            (answer,) = parse_responses(self.client.transport.output, ended=True)
            return answer.status, {name.lower(): value for name, value in answer.fields}, answer.body
        lines = head.decode().split("\r\n")[1:]
        return 200, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, rest

    @property
    def closed(self) -> bool:
        return self.client.closed or self.client.transport.is_closing()

    def end(self, how: str) -> None:
        if how == "end":
            self.client.push(None)
        else:
            self.harness.inside(self.client.transport.leave, ConnectionResetError() if how == "reset" else None)

    def leave(self) -> None:
        self.client.leave()


class Http2Link(Http1Link):
    """Its way over a stream of HTTP/2 (RFC 8441), with the windows of both sides."""

    def __init__(self, harness: Harness, offer: str) -> None:
        super().__init__(harness, offer)
        self.wire = Http2Wire()
        self.ours = harness.config.http2_initial_window_size
        self.theirs = {0: 65_535, 1: 0}
        self.taken = {0: 0, 1: 0}
        self.offer = offer

    def open(self) -> None:
        self.client.push(self.wire.preface({Setting.INITIAL_WINDOW_SIZE: 65_535}))
        self.harness.settle()
        fields = [(b"sec-websocket-extensions", self.offer.encode())] if self.offer else []
        pseudo = self.wire.request_fields(b"/", (b"sec-websocket-version", b"13"), *fields, method=b"CONNECT")
        self.client.push(self.wire.headers(1, [(b":protocol", b"websocket"), *pseudo], end=False))

    def push(self, data: bytes) -> int:
        self.read()
        size = min(len(data), 16_384, *(max(0, each) for each in self.theirs.values()))
        if size:
            for each in self.theirs:
                self.theirs[each] -= size
            self.client.push(self.wire.data(1, data[:size]))
        return size

    def read(self) -> tuple[int, dict[str, str], bytes]:
        for one in self.wire.receive(self.client.take()):
            if one.kind == FrameType.WINDOW_UPDATE:
                self.theirs[one.stream_id] += one.number
            elif one.kind == FrameType.SETTINGS and Setting.INITIAL_WINDOW_SIZE in one.settings:
                self.theirs[1] += one.settings[Setting.INITIAL_WINDOW_SIZE]
            elif one.kind == FrameType.DATA:
                for each in self.taken:
                    self.taken[each] += len(one.payload)
        if 1 not in self.wire.streams or not self.wire.streams[1].heads:
            return 0, {}, b""
        stream = self.wire.streams[1]
        return stream.status, {name.decode(): value.decode() for name, value in stream.fields}, stream.body

    def grant(self) -> bool:
        """Open the windows for as much as was taken; whether that was anything."""
        self.read()
        moved = False
        for stream_id, size in self.taken.items():
            if size and not self.closed:
                self.taken[stream_id] = 0
                self.client.push(self.wire.window(size, stream_id))
                moved = True
        return moved

    @property
    def closed(self) -> bool:
        stream = self.wire.streams.get(1)
        return super().closed or (stream is not None and (stream.ended or stream.reset is not None))

    def end(self, how: str) -> None:
        if how == "end":
            self.client.push(self.wire.data(1, b"", end=True))
        elif how == "reset":
            self.client.push(self.wire.reset(1))
        else:
            super().end(how)


LINKS = {"http1": Http1Link, "http2": Http2Link}


def whole_frames(data: bytes) -> tuple[list[wire.Frame], int]:
    """The whole frames in `data`, and where they end."""
    at = 0
    while len(data) >= at + 2:
        size, head = data[at + 1] & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if len(data) < at + head + size:
            break
        at += head + size
    return wire.parse_frames(data[:at]), at


class Conversation:
    """A WebSocket, from both sides."""

    def __init__(self, seed: int, carrier: str, folder: str = "") -> None:
        self.rng = rng = random.Random(seed)
        self.steps: list[tuple[Any, ...]] = []
        self.plan = Plan(rng)
        self.play_app = Play(self.plan)
        self.options: dict[str, Any] = {"ws_ping_interval": None, "http2": "on" if carrier == "http2" else "off"}
        self.pings = rng.random() < 0.15
        if self.pings:
            self.options |= {"ws_ping_interval": 1, "ws_ping_timeout": 1}
        self.options["ws_max_queue"] = rng.choice([1, 3, 32])
        self.options["ws_close_timeout"] = 2
        if rng.random() < 0.1:
            self.options["ws_max_size"] = LARGE
        if rng.random() < 0.1:
            self.options["ws_per_message_deflate"] = False
        self.harness = Harness(self.play_app, **self.options)
        self.harness.runtime.access = self.access
        self.lines: list[tuple[int, str]] = []
        self.cycles: list[weakref.ref[Any]] = []
        self.offer = rng.choice(OFFERS)
        self.link = LINKS[carrier](self.harness, self.offer)
        self.read_at = 0
        self.status = 0
        self.fields: dict[str, str] = {}
        self.deflater: wire.Deflater | None = None
        self.inflater: wire.Inflater | None = None
        self.messages = [message_of(rng, f"client {number} ") for number in range(rng.choice([0, 1, 5, 40]))]
        self.sent: list[Message] = []
        self.outgoing = b""
        self.pinged: list[bytes] = []
        self.ponged: list[bytes] = []
        self.got: list[Message] = []
        self.ending = rng.choice(["close", "close", "close", "leave", "reset", "end"])
        self.code = rng.choice([None, *CODES])
        self.stays_silent = rng.random() < 0.1
        self.answers_pings = rng.random() < 0.5
        self.sizes = rng.choice([[1, 3, 7], [1, 100, 3000], [300_000]])
        self.may_end = rng.random() < 0.4
        self.drains = rng.random() < 0.1
        self.close_sent = self.left = self.draining = False
        self.close_got: wire.Frame | None = None

    def note(self, *what: Any) -> None:
        self.steps.append(what)

    def access(self, cycle: CycleView) -> None:
        self.lines.append((cycle.status, cycle.target.decode()))
        self.cycles.append(weakref.ref(cycle))

    # The client --------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self.left or self.link.closed

    def read(self) -> None:
        """Read what has come: the answer, and whole frames."""
        status, fields, data = self.link.read()
        if not self.status and status:
            self.status, self.fields = status, fields
            self._agree(fields.get("sec-websocket-extensions"))
        if self.status != 200:
            return
        frames, size = whole_frames(data[self.read_at :])
        self.read_at += size
        for each in frames:
            self._take(each)

    def _agree(self, extensions: str | None) -> None:
        if extensions is None:
            return
        assert self.offer
        name, *params = [part.strip() for part in extensions.split(";")]
        assert name == "permessage-deflate"
        values = {param.partition("=")[0]: param.partition("=")[2] for param in params}
        assert set(values) <= {
            "client_max_window_bits",
            "server_max_window_bits",
            "client_no_context_takeover",
            "server_no_context_takeover",
        }
        bits = int(values.get("client_max_window_bits") or 15)
        self.deflater = wire.Deflater(
            max(bits, 9), no_context_takeover="client_no_context_takeover" in values or self.rng.random() < 0.1
        )
        forgets = "server_no_context_takeover" in values
        self.inflater = wire.Inflater(int(values.get("server_max_window_bits") or 15), no_context_takeover=forgets)

    def _take(self, each: wire.Frame) -> None:
        # RFC 6455, 5.5.2: pings are answered until the close frame of their sender has come.
        assert self.close_got is None or each.opcode == wire.PONG, "a frame behind the close frame"
        if each.opcode in (wire.TEXT, wire.BINARY):
            assert each.fin
            if each.rsv:
                assert self.inflater is not None
                payload = self.inflater.message(each)
            else:
                payload = each.payload
            self.got.append(payload.decode() if each.opcode == wire.TEXT else payload)
        elif each.opcode == wire.PING:
            if self.answers_pings and not self.close_sent:
                self.outgoing += wire.pong(each.payload)
        elif each.opcode == wire.PONG:
            self.ponged.append(each.payload)
        else:
            assert each.opcode == wire.CLOSE
            self.close_got = each
            if not self.close_sent and not self.stays_silent:
                self.close_sent = True
                self.outgoing += wire.close(each.code)

    def speak(self) -> bool:
        """Begin the next message, with pings between its frames; whether there was one."""
        rng = self.rng
        if not self.messages or self.outgoing or self.close_sent or self.over or self.status != 200:
            return False
        message = self.messages.pop(0)
        self.note("says", len(message))
        self.sent.append(message)
        payload = message.encode() if isinstance(message, str) else message
        pieces = [payload]
        for _ in range(rng.choice([0, 0, 0, 1, 3])):
            at = rng.randrange(len(pieces[-1]) + 1)
            pieces[-1:] = [pieces[-1][:at], pieces[-1][at:]]
        compressed = self.deflater is not None and rng.random() < 0.7
        if compressed:
            assert self.deflater is not None
            pieces = self.deflater.pieces(*pieces)
        for at, piece in enumerate(pieces):
            if rng.random() < 0.1:
                self.ping()
            opcode = wire.CONT if at else wire.TEXT if isinstance(message, str) else wire.BINARY
            last = at == len(pieces) - 1
            self.outgoing += wire.frame(opcode, piece, fin=last, rsv=4 if compressed and not at else 0)
        return True

    def ping(self) -> None:
        self.pinged.append(b"%d" % len(self.pinged))
        self.outgoing += wire.ping(self.pinged[-1])

    def send(self, size: int) -> bool:
        if not self.outgoing or self.over:
            return False
        done = self.link.push(self.outgoing[:size])
        self.outgoing = self.outgoing[done:]
        return bool(done)

    def end(self) -> None:
        if self.over or self.close_sent or self.status != 200 or self.outgoing:
            return
        self.note(self.ending)
        if self.ending == "close":
            self.close_sent = True
            self.outgoing += wire.close(self.code, "" if self.code is None else "enough")
        else:
            self.left = True
            self.link.end(self.ending)

    def step(self) -> None:
        rng, what = self.rng, self.rng.random()
        transport = self.link.client.transport
        if what < 0.2:
            self.speak()
        elif what < 0.5:
            self.send(rng.choice(self.sizes))
        elif what < 0.55 and not self.close_sent and self.status == 200 and not self.outgoing:
            self.ping()
        elif what < 0.6:
            transport.stall()
        elif what < 0.65:
            self.harness.inside(transport.sip)
        elif what < 0.73:
            self.harness.inside(transport.drain)
        elif what < 0.83 and self.play_app.gates:
            self.harness.inside(self.play_app.open_gate)
        elif what < 0.86 and self.may_end:
            self.end()
        elif what < 0.9 and (self.pings or self.harness.passed < 1):
            self.note("tick")
            self.harness.tick(0.5)
        elif what < 0.91 and self.drains and not self.draining:
            self.drain()
        elif isinstance(self.link, Http2Link):
            self.link.grant()
        if rng.random() < 0.4:
            self.harness.settle()
        self.read()

    def drain(self) -> None:
        self.note("drains")
        self.draining = self.harness.runtime.draining = True
        for connection in list(self.harness.runtime.connections):
            self.harness.inside(connection.drain)
        for cycle in list(self.harness.runtime.cycles):
            self.harness.inside(cycle.drain)

    def let_go(self) -> bool:
        harness = self.harness
        harness.settle()
        self.read()
        if self.play_app.gates:
            harness.inside(self.play_app.open_gate)
            return True
        harness.inside(self.link.client.transport.drain)
        harness.settle()
        if isinstance(self.link, Http2Link) and self.link.grant():
            return True
        self.read()
        return self.send(1_000_000) or self.speak() or bool(self.play_app.gates)

    # Playing -----------------------------------------------------------------------------------------

    def play(self) -> None:
        self.link.open()
        for _ in range(self.rng.choice([MOST_STEPS, 20])):
            if self.over:
                break
            self.step()
        while self.let_go():
            pass
        if not self.over and not self.close_sent:
            self.check_quiet()
        self.end()
        while self.let_go():
            pass
        self.harness.tick(5)
        while self.let_go():
            pass
        self.check()

    def check_quiet(self) -> None:
        """Nothing is on its way, and nobody has ended anything."""
        plan = self.plan
        if self.status != 200 or self.close_got is not None or self.pings:
            return
        assert self.got == plan.sent
        assert self.ponged[-1:] == self.pinged[-1:]
        if plan.ending == "all" and plan.begun > plan.ended:
            assert plan.seen == self.sent

    def check(self) -> None:
        plan, link = self.plan, self.link
        assert plan.problem == ""
        expected = {"accept": 200, "close": 403, "respond": 401, "raise": 500, "return": 500}[plan.answer]
        assert self.status == expected or (self.draining and self.status in (0, 503)), "the answer to the handshake"
        opened = 200 if isinstance(link, Http2Link) else 101
        assert [status for status, _ in self.lines] == [opened if self.status == 200 else self.status], "access lines"
        if plan.answer == "accept":
            self.check_messages()
            self.check_end()
        self.check_rest()

    def check_messages(self) -> None:
        plan = self.plan
        assert self.got == plan.sent[: len(self.got)]
        assert plan.seen == self.sent[: len(plan.seen)]
        ponged = iter(self.pinged)
        assert all(each in ponged for each in self.ponged), "a pong for no ping"
        if self.close_got is not None and not self.left and not plan.refused:
            assert self.got == plan.sent, "messages that are lost before the close frame"

    def check_end(self) -> None:
        plan, got = self.plan, self.close_got
        too_large = any(len(as_bytes(each)) > self.options.get("ws_max_size", 1 << 24) for each in self.sent)
        codes = {1012} if self.draining else set()
        if too_large:
            codes.add(1009)
        if self.pings:
            codes.add(1011)
        if plan.ending == "close" and plan.closed:
            codes.add(plan.code)
        if plan.ending == "return":
            codes.add(1000)
        if plan.ending == "raise":
            codes.add(1011)
        if got is not None:
            replied = {self.code} if self.close_sent and self.ending == "close" else set()
            assert got.code in codes | replied, f"closed with {got.code}"
        elif not self.left:
            assert self.draining, "no close frame"
        if plan.told is not None:
            told = {1006} if self.left or self.stays_silent else set()
            if self.close_sent:
                told |= {1005 if self.code is None else self.code, *codes}
            assert plan.told[0] in codes | told, f"told {plan.told}"

    def check_rest(self) -> None:
        """Nothing is left."""
        runtime, plan = self.harness.runtime, self.plan
        transport = self.link.client.transport
        if self.status == 200 and not isinstance(self.link, Http2Link):
            assert transport.lost or transport.eof_written
        if not transport.lost:
            self.link.leave()
        assert plan.begun == plan.ended == 1
        assert not runtime.cycles
        assert (runtime.connections, runtime.held, runtime.writing) == (set(), [], [])
        assert not asyncio.all_tasks(self.harness.loop)
        transport.set_protocol(None)  # type: ignore[arg-type]
        protocol = weakref.ref(self.link.client.protocol)
        del self.link.client, transport
        refs = (*self.cycles, protocol)
        # At a stop a timer has it for a moment.
        assert self.draining or not any(ref() for ref in refs), "only the garbage collector would end it"


def as_bytes(message: Message) -> bytes:
    return message.encode() if isinstance(message, str) else message


@pytest.fixture
def lines() -> Iterator[list[str]]:
    with log_lines() as found:
        yield found


@pytest.mark.parametrize("seeds", ROUNDS, ids=str)
@pytest.mark.parametrize("carrier", LINKS)
def test_conversations(seeds: range, carrier: str, lines: list[str]) -> None:
    for seed in seeds:
        conversation = Conversation(seed, carrier)
        gc.disable()
        try:
            conversation.play()
            assert lines == []
        except BaseException as exc:
            raise AssertionError(f"seed {seed}, {conversation.options}, {conversation.steps}") from exc
        finally:
            gc.enable()
            conversation.harness.close()
