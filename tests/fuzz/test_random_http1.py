"""HTTP/1.1 at random, held to a model: each request has its answer, in its place, and a connection ends where it may.

Several connections share a server. Their clients send ahead, in pieces, wait for 100 Continue or don't, read late, end
their side or the connection in the midst. The application does what an `Exchange` says, limits and time-outs are low in
some, the server is stopped in others. In the end all goes on that can: then every request that came whole on a
connection that was not to end has its answer, each answer has one access line, and nothing is left of any of them.
"""

from __future__ import annotations

import asyncio
import gc
import random
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.exchanges import Exchange, Stage, log_lines
from tests.scripted import PARSERS, READ_SIZE, Client, Harness, Response, get, parse_responses
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.http1.protocol import DISCARD_LIMIT

ROUNDS = [range(60), pytest.param(range(60, 1000), marks=pytest.mark.long)]

MOST_STEPS = 200
# Fields that are often the same, as those of real clients: what was read before is read in other ways.
FIELDS = [[], [], ["Accept: */*"], ["User-Agent: fuzz", "Accept-Encoding: gzip"], ["X-Long: " + "y" * 5000]]
ODD_FIELDS = ["Upgrade: h2c", "Upgrade: foo", "X-Empty:", "Cookie: a=b; c=d"]
EXTENSIONS = ["", "", "", ";a", ";a=b", ' ; a="b;c"']
BODY_LIMIT = 4000


class Noted(Exchange):
    """An exchange that also tells how things stood when its answer began."""

    def __init__(self, rng: random.Random, number: int) -> None:
        super().__init__(rng, number)
        self.read_before = self.started_before_drain = False


class Ask:
    """A request on the wire: its head, its body as it is framed, and what its client does about both."""

    def __init__(self, rng: random.Random, exchange: Noted, fields: list[str]) -> None:
        self.exchange = exchange
        self.version = "1.0" if rng.random() < 0.15 else "1.1"
        self.has_body = exchange.method in ("POST", "PUT")
        self.chunked = self.has_body and self.version == "1.1" and rng.random() < 0.4
        self.expects = self.has_body and self.version == "1.1" and bool(exchange.body) and rng.random() < 0.25
        self.persists = self.version == "1.1"
        self.takes_trailers = self.version == "1.1" and rng.random() < 0.5
        self.late = rng.random() < 0.2
        lines = [*fields, "TE: trailers"] if self.takes_trailers else [*fields]
        if self.has_body:
            lines.append("Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {len(exchange.body)}")
        if self.expects:
            lines.append("Expect: 100-continue")
        if rng.random() < 0.1:
            lines.append(rng.choice(ODD_FIELDS))
        if rng.random() < 0.1:
            self.persists = False
            lines.append("Connection: close")
        elif self.version == "1.0" and rng.random() < 0.6:
            self.persists = True
            lines.append("Connection: keep-alive")
        elif lines and lines[-1].startswith("Upgrade"):
            lines.append("Connection: upgrade")
        self.head = get(f"/{exchange.number}", *lines, method=exchange.method, version=self.version)
        self.body = self._chunks(rng) if self.chunked else exchange.body

    def _chunks(self, rng: random.Random) -> bytes:
        pieces, rest = [], self.exchange.body
        most = rng.choice([1000, 20_000, 100_000]) if len(rest) > 1000 else 50
        while rest:
            size = rng.randint(1, most)
            piece, rest = rest[:size], rest[size:]
            number = f"{len(piece):X}" if rng.random() < 0.5 else f"{len(piece):04x}"
            pieces.append(f"{number}{rng.choice(EXTENSIONS)}\r\n".encode() + piece + b"\r\n")
        trailers = rng.choice([b"", b"", b"X-Trailer: 1\r\n", b"X-A: 1\r\nX-B: 2\r\n"])
        return b"".join(pieces) + b"0\r\n" + trailers + b"\r\n"


class Side:
    """A client's side of one connection."""

    def __init__(self, conversation: Conversation, exchanges: list[Noted]) -> None:
        self.conversation = conversation
        self.rng = rng = conversation.rng
        self.client: Client = conversation.harness.connect()
        self.transport = self.client.transport
        self.protocol = weakref.ref(self.client.protocol)
        usual = rng.choice(FIELDS)
        self.to_come = [Ask(rng, each, usual if rng.random() < 0.8 else rng.choice(FIELDS)) for each in exchanges]
        self.asked: list[Ask] = []
        # How many of those that were asked have been sent wholly, and how many were when the server began to drain.
        self.whole = self.whole_at_drain = 0
        # What is to be sent next, as pieces; those that wait for 100 Continue.
        self.outgoing: list[bytes] = []
        self.awaits: Ask | None = None
        self.depth = rng.choice([1, 1, 2, 3, 10])
        self.sizes = rng.choice([[1, 2, 30], [10, 100, 1000], [100, 5000, 100_000, 300_000], [300_000]])
        self.ending = rng.choice(["stay", "stay", "stay", "end", "end early", "leave", "reset"])
        self.ended = self.left = False
        self.read_at = 0
        self.answers: list[Response] = []

    # What the client does ----------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether nothing more is sent: the client has ended, or has seen the end."""
        return self.ended or self.left or self.client.closed or self.transport.is_closing()

    @property
    def was_late(self) -> bool:
        """Whether the client has been cut since it has not read, or not sent, in time."""
        options = self.conversation.options
        return self.conversation.harness.passed > 1 and (
            "timeout_write" in options or "timeout_request_body" in options
        )

    @staticmethod
    def waits_for_body(ask: Ask) -> bool:
        """Whether the application waits for a body that the client does not send."""
        return ask.expects and not ask.exchange.whole and ask.exchange.begun > ask.exchange.ended

    @property
    def has_failed(self) -> bool:
        """Whether the application has failed in its last answer, which may look complete, or behind it."""
        at = len(self.finals)
        return any(each.exchange.fails or each.exchange.cancelled for each in self.asked[max(0, at - 1) : at + 1])

    @property
    def methods(self) -> list[str]:
        return [each.exchange.method for each in self.asked]

    def read(self) -> None:
        """Read all answers that have come so far."""
        data = self.transport.output
        if len(data) != self.read_at:
            self.read_at = len(data)
            self.answers = parse_responses(data, self.methods, ended=True)

    @property
    def finals(self) -> list[Response]:
        return [each for each in self.answers if each.status >= 200]

    def ask(self) -> bool:
        """Begin the next request, if the client sends so far ahead; whether it did."""
        if not self.to_come or self.outgoing or self.awaits or self.over:
            return False
        self.read()
        if len(self.asked) - len(self.finals) >= self.depth or any(each.closes for each in self.finals):
            return False
        count = self.rng.randint(1, self.depth)
        for _ in range(min(count, len(self.to_come))):
            ask = self.to_come.pop(0)
            self.asked.append(ask)
            self.outgoing.append(ask.head)
            if ask.expects and not ask.late:
                self.awaits = ask
                break
            self.outgoing.append(ask.body)
        self.conversation.note("asks for", [each.exchange.number for each in self.asked[-count:]])
        return True

    def send(self, size: int) -> bool:
        """Send up to `size` bytes of what is to be sent; whether there were any."""
        if self.over:
            return False
        if self.awaits is not None and not self.outgoing:
            return self._go_on()
        data = b"".join(self.outgoing)
        if not data:
            self.outgoing = []
            self._count_whole()
            return False
        size = min(size, READ_SIZE)
        piece, rest = data[:size], data[size:]
        self.outgoing = [rest] if rest else []
        self.conversation.note("sends", len(piece), "of", len(data))
        self.client.push(piece)
        self._count_whole()
        return True

    def _count_whole(self) -> None:
        if not self.outgoing:
            self.whole = len(self.asked) - (self.awaits is not None)

    def _go_on(self, *, patient: bool = True) -> bool:
        """Send the body of which the server has been told, where it has asked for it, or the client waits no more."""
        self.read()
        ask, at = self.awaits, len(self.asked) - 1
        assert ask is not None
        continued = [each.status for each in self.answers].count(100) > self._continues_before(at)
        if len(self.finals) > at and not continued:
            # It is answered, and must not expect the body any more.
            assert self.finals[at].closes, "a body that was not asked for is still waited for"
            self.awaits = None
            return False
        if patient and not continued:
            return False
        self.awaits = None
        self.outgoing.append(ask.body)
        return True

    def _continues_before(self, at: int) -> int:
        """How many 100 belong to the requests before the one with this number."""
        seen = finals = 0
        for each in self.answers:
            finals += each.status >= 200
            seen += each.status == 100 and finals < at
        return seen

    def end(self, how: str) -> None:
        """End the client's side, or the connection."""
        if self.over:
            return
        self.conversation.note(how)
        if how.startswith("end"):
            self.ended = True
            self.client.push(None)
        else:
            self.left = True
            reset = ConnectionResetError("as it was planned") if how == "reset" else None
            self.conversation.harness.inside(self.transport.leave, reset)

    def step(self) -> None:
        rng, what = self.rng, self.rng.random()
        if what < 0.25:
            self.ask()
        elif what < 0.65:
            self.send(rng.choice(self.sizes))
        elif what < 0.7:
            self.conversation.note("stalls")
            self.transport.stall()
        elif what < 0.75:
            self.conversation.harness.inside(self.transport.sip)
        elif what < 0.85:
            self.conversation.harness.inside(self.transport.drain)
        elif what < 0.87 and self.ending in ("end early", "leave", "reset"):
            self.end(self.ending)
        elif what < 0.88 and self.awaits is not None and not self.outgoing and not self.over:
            self._go_on(patient=False)
        else:
            self.conversation.harness.turn()

    def let_go(self) -> bool:
        """Do what can be done; whether there was anything."""
        self.conversation.harness.inside(self.transport.drain)
        if self.over:
            return False
        if self.send(1_000_000) or self.ask():
            return True
        if self.awaits is not None:
            at = len(self.asked) - 1
            if len(self.finals) < at:
                return False
            assert not self._reads(self.awaits.exchange), "no 100 Continue for a body that is waited for"
            return self._go_on(patient=False)
        if self.ending == "end" and not self.to_come:
            self.end("end")
            return True
        return False

    def _reads(self, exchange: Exchange) -> bool:
        return exchange.begun > exchange.ended and not self.conversation.stage.gates

    # What has come of it -----------------------------------------------------------------------------

    def check(self) -> None:
        data, closed = self.transport.output, self.client.closed
        self.answers = parse_responses(data, self.methods, ended=closed)
        finals = self.finals
        assert len(finals) <= len(self.asked)
        for number, (ask, answer) in enumerate(zip(self.asked, finals, strict=False)):
            self.check_answer(ask, answer, last=number == len(finals) - 1)
        ends = bool(finals) and (finals[-1].closes or not finals[-1].complete or finals[-1].framing == "close")
        if finals and self.waits_for_body(self.asked[len(finals) - 1]):
            # Its client has not sent it, since the answer has begun without asking for it.
            assert finals[-1].closes
        elif ends:
            # Where a body comes that nobody wants, the server waits for it.
            assert closed or self.asked[len(finals) - 1].has_body, "an answer that ends a connection that does not end"
        elif not self.left and not self.conversation.over and not self.was_late and not self.has_failed:
            assert len(finals) >= self.whole, "a request without an answer"
        if self.conversation.draining and not self.left and not self.conversation.over and self.ending != "end early":
            keep_alive = self.conversation.keep_alive
            assert len(finals) >= self.whole_at_drain or ends_early(self.asked, finals, keep_alive), (
                "a request lost to a drain"
            )

    def check_answer(self, ask: Ask, answer: Response, *, last: bool) -> None:
        conversation, exchange = self.conversation, ask.exchange
        broken = exchange.fails or exchange.cancelled or self.left or conversation.over or self.was_late
        broken = broken or self.waits_for_body(ask) or (self.ended and not exchange.whole)
        # It is longer than may be, which turns out when the answer has begun.
        broken = broken or (ask.chunked and 413 in conversation.statuses(self, ask))
        assert answer.complete or (last and broken), "an answer that is cut"
        if answer.get("x-number") is None:
            assert last or not answer.closes
            if answer.status:
                assert answer.status in conversation.statuses(self, ask), "an answer of the server's own"
            return
        assert exchange.begun
        assert (answer.status, answer.get("x-number")) == (exchange.status, str(exchange.number))
        content = exchange.content
        assert content.startswith(answer.body)
        if answer.framing == "close" and broken and answer.body != content:
            assert self.left or self.transport.was_reset, "an end that looks like that of the body"
        elif answer.complete and not exchange.wrong:
            assert answer.body == content
        self.check_framing(ask, answer)
        if answer.closes:
            assert last
            assert not self.is_to_persist(ask, answer), "a connection that ends for no reason"
        else:
            assert ask.persists or answer.framing == "close"
            assert not conversation.draining or not last or broken or exchange.started_before_drain

    def check_framing(self, ask: Ask, answer: Response) -> None:
        exchange = ask.exchange
        if exchange.method == "HEAD" or exchange.status in (204, 304):
            assert answer.framing == "none"
            if exchange.status == 204:
                assert answer.get("content-length") is None
        elif exchange.trailers and ask.takes_trailers:
            assert answer.framing == "chunked"
            # One that returns before its trailers has ended with its body.
            are_sent = answer.complete and ("trailers",) in exchange.steps
            assert answer.trailers == ((("x-trailer", "1"),) if are_sent else ())
        elif exchange.sized:
            assert answer.framing == "length"
        elif len(exchange.pieces) == 1:
            assert answer.framing in ("length", "chunked" if ask.version == "1.1" else "close")
        else:
            assert answer.framing == ("chunked" if ask.version == "1.1" else "close")
        if ask.version == "1.0":
            assert answer.get("connection") == ("close" if answer.closes else "keep-alive")

    def is_to_persist(self, ask: Ask, answer: Response) -> bool:
        """Whether the connection must outlast this answer."""
        exchange, conversation = ask.exchange, self.conversation
        if not ask.persists or conversation.draining or answer.framing == "close" or conversation.keep_alive == 0:
            return False
        if exchange.read_before or not ask.has_body:
            return True
        return not ask.chunked and not ask.expects and len(exchange.body) <= DISCARD_LIMIT


def ends_early(asked: list[Ask], finals: list[Response], keep_alive: float) -> bool:
    """Whether the connection ended with its last answer for another reason than the drain."""
    if not finals:
        return False
    if not keep_alive:
        return True
    ask, answer = asked[len(finals) - 1], finals[-1]
    return (
        not ask.persists
        or not answer.complete
        or answer.framing == "close"
        or answer.get("x-number") is None
        or (ask.has_body and not ask.exchange.read_before)
    )


class Play(Stage):
    """The application, which notes how things stand when an answer begins."""

    conversation: Conversation

    async def _start(self, exchange: Any, *args: Any) -> None:
        exchange.read_before = exchange.whole
        exchange.started_before_drain = not self.conversation.harness.runtime.draining
        await super()._start(exchange, *args)


class Conversation:
    """A server, the connections to it, and the exchanges on them."""

    def __init__(self, seed: int, parser: str, folder: str) -> None:
        self.rng = rng = random.Random(seed)
        self.steps: list[tuple[Any, ...]] = []
        exchanges = [Noted(rng, number) for number in range(rng.randint(1, 10))]
        self.stage = stage = Play(list(exchanges), folder)
        stage.conversation = self
        self.keep_alive = rng.choice([5, 5, 5, 5, 0])
        self.options: dict[str, Any] = {"timeout_keep_alive": self.keep_alive}
        for name, value in (
            ("limit_concurrency", rng.choice([1, 2])),
            ("limit_request_body", BODY_LIMIT),
            ("timeout_request", 2),
            ("timeout_request_body", 1),
            ("timeout_disconnect", 1),
            ("timeout_write", 3),
        ):
            if rng.random() < 0.12:
                self.options[name] = value
        self.harness = Harness(stage, parser=parser, http2=rng.choice(["off", "on"]), **self.options)
        runtime = self.harness.runtime
        runtime.access = self.access
        self.lines: list[tuple[str, int, int]] = []
        self.cycles: list[weakref.ref[Any]] = []
        count = rng.choice([1, 1, 2, 3])
        self.sides = [Side(self, exchanges[at::count]) for at in range(count) if exchanges[at::count]]
        self.stops = rng.random() < 0.2
        self.cuts = self.stops and rng.random() < 0.3
        self.draining = self.over = False

    def note(self, *what: Any) -> None:
        self.steps.append(what)

    def access(self, cycle: CycleView) -> None:
        self.lines.append((cycle.target.decode(), cycle.status, cycle.body_sent))
        self.cycles.append(weakref.ref(cycle))

    def statuses(self, side: Side, ask: Ask) -> set[int]:
        """Which answers of the server's own this request may have."""
        options, exchange, found = self.options, ask.exchange, set()
        if exchange.fails:
            found |= {500, 503}
        if "limit_concurrency" in options or self.draining:
            found.add(503)
        if ask.has_body and len(exchange.body) > BODY_LIMIT and "limit_request_body" in options:
            found.add(413)
        if "timeout_request" in options and self.harness.passed > 1.5:
            found.add(504)
        if "timeout_request_body" in options and self.harness.passed > 0.5 and ask.has_body:
            found.add(408)
        if "timeout_disconnect" in options and (side.ended or self.draining):
            found.add(503)
        return found

    # Stopping ----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """As the server does it, but for the time."""
        self.note("drains")
        self.draining = self.harness.runtime.draining = True
        for side in self.sides:
            side.whole_at_drain = side.whole
        for connection in list(self.harness.runtime.connections):
            self.harness.inside(connection.drain)

    def close_idle(self) -> None:
        for connection in list(self.harness.runtime.connections):
            self.harness.inside(connection.close_if_idle)

    def tell(self) -> None:
        self.note("tells")
        for cycle in list(self.harness.runtime.cycles):
            self.harness.inside(cycle.disconnect)

    def cut(self) -> None:
        self.note("cuts")
        self.over = True
        runtime = self.harness.runtime
        cycles = list(runtime.cycles)
        for cycle in cycles:
            self.harness.inside(cycle.cancel)
        self.harness.settle()
        for cycle in cycles:
            self.harness.inside(cycle.abandon)
        for connection in list(runtime.connections):
            self.harness.inside(connection.abort)
        self.harness.settle()

    # Playing -----------------------------------------------------------------------------------------

    def play(self) -> None:
        for _ in range(self.rng.choice([MOST_STEPS, MOST_STEPS, 30])):
            if all(side.over or not (side.to_come or side.outgoing or side.awaits) for side in self.sides):
                break
            self.step()
        if self.cuts:
            self.drain()
            self.tell()
            self.harness.settle()
            self.cut()
        while self.let_go():
            pass
        self.check()

    def step(self) -> None:
        rng, what = self.rng, self.rng.random()
        if what < 0.75:
            rng.choice(self.sides).step()
        elif what < 0.9 and self.stage.gates:
            self.note("gate")
            self.harness.inside(self.stage.open_gate, rng)
        elif what < 0.92 and self.harness.passed < 4:
            self.note("tick")
            self.harness.tick(0.5)
        elif what < 0.93 and self.stops and not self.draining:
            self.drain()
        elif what < 0.95 and self.draining:
            self.close_idle()
        if rng.random() < 0.4:
            self.harness.settle()

    def let_go(self) -> bool:
        self.harness.settle()
        if self.stage.gates:
            self.harness.inside(self.stage.open_gate, self.rng)
            return True
        moved = False
        for side in self.sides:
            moved |= side.let_go()
        self.harness.settle()
        return moved or bool(self.stage.gates)

    def check(self) -> None:
        self.harness.settle()
        if self.draining:
            self.close_idle()
        for side in self.sides:
            side.check()
        self.check_lines()
        self.check_rest()

    def check_lines(self) -> None:
        """One for each answer that was begun."""
        lines = self.lines.copy()
        for side in self.sides:
            for ask, answer in zip(side.asked, side.finals, strict=False):
                if not answer.status or ask.exchange.begun > ask.exchange.ended:
                    continue
                found = [line for line in lines if line[:2] == (f"/{ask.exchange.number}", answer.status)]
                assert len(found) == 1, f"{found} for an answer"
                lines.remove(found[0])
                if answer.complete and not side.transport.was_reset:
                    assert found[0][2] == len(answer.body)
        # Of what has reached nobody, one at the most.
        gone = {
            f"/{ask.exchange.number}"
            for side in self.sides
            for ask in side.asked
            if side.left
            or side.was_late
            or self.over
            or side.has_failed
            or ask.exchange.begun > ask.exchange.ended
            or (side.ended and not ask.exchange.whole)
        }
        targets = [line[0] for line in lines]
        assert gone.issuperset(targets)
        assert len(targets) == len(set(targets))

    def check_rest(self) -> None:
        """Nothing is left of any request, nor of a connection when its client has gone."""
        runtime = self.harness.runtime
        self.harness.tick(40)
        for side in self.sides:
            if not side.transport.lost:
                waits = any(side.waits_for_body(ask) for ask in side.asked)
                assert waits or side.client.closed or side.transport.is_closing(), "a connection without an end"
                side.client.leave()
        while self.stage.gates:
            self.harness.inside(self.stage.open_gate, self.rng)
            self.harness.settle()
        for exchange in self.stage.exchanges:
            exchange.check()
        assert not runtime.cycles
        assert (runtime.connections, runtime.held, runtime.writing) == (set(), [], [])
        assert not asyncio.all_tasks(self.harness.loop)
        for side in self.sides:
            # As asyncio's transports do.
            side.transport.set_protocol(None)  # type: ignore[arg-type]
            del side.client, side.transport
        refs = (*self.cycles, *(side.protocol for side in self.sides))
        # At a stop a timer has it for a moment.
        assert self.draining or not any(ref() for ref in refs), "only the garbage collector would end it"


# What the log says of clients and requests that break the limits, where they do.
SAID = {
    "limit_request_body": "the request body is longer than",
    "timeout_request": "timeout_request",
    "timeout_request_body": "the request body did not arrive in time",
    "timeout_disconnect": "went on after its client had left",
    "timeout_write": "the connection is cut",
}


def unexpected(lines: list[str], options: dict[str, Any]) -> list[str]:
    """Lines of the log that neither the application nor a limit has made."""
    return [line for line in lines if not any(text in line for name, text in SAID.items() if name in options)]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    with log_lines() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as path:
        yield path


@pytest.mark.parametrize("seeds", ROUNDS, ids=str)
@pytest.mark.parametrize("parser", PARSERS)
def test_conversations(seeds: range, parser: str, lines: list[str], folder: str) -> None:
    for seed in seeds:
        conversation = Conversation(seed, parser, folder)
        gc.disable()
        try:
            conversation.play()
            assert unexpected(lines, conversation.options) == []
            lines.clear()
        except BaseException as exc:
            raise AssertionError(f"seed {seed}, {conversation.options}, {conversation.steps}") from exc
        finally:
            gc.enable()
            conversation.harness.close()
