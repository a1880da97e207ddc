"""Requests and responses at random, and what has to become of each: a model that any version of HTTP is held to.

An `Exchange` is a request, what the application does with it step by step, and what was seen of it. The tests that use
it choose in which pieces a client sends, when it reads and what else it does, and when the application goes on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.http1.apps import body, start
from uvicorn_worker.core.asgi import Event, Receive, Scope, Send

__all__ = ["Exchange", "Stage", "log_lines"]

BODIES = [0, 0, 1, 5, 100, 5000, 17_000, 70_000, 300_000]
PIECES = [0, 0, 1, 10, 3000, 20_000, 70_000]
# What the application does with the body of the request: before the response, or before its last piece.
READING = ["none", "some", "all", "all", "all", "given up and all", "two at once", "late"]
# How a piece of the response is given: as what kind of memory, or as a file.
GIVEN = [bytes, bytes, bytearray, bytearray, memoryview, memoryview, "zerocopysend", "pathsend"]

Step = tuple[Any, ...]


class Exchange:
    """A request that is made at random, and what was seen of it; `number` is in its target and in its response."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.number = number
        self.method = rng.choice(["GET", "HEAD", "POST", "POST", "PUT"])
        size = rng.choice(BODIES) if self.method in ("POST", "PUT") else 0
        self.body = (b"%d.0123456789" % number * (size // 12 + 1))[:size]
        self.status = rng.choice([200, 200, 200, 404, 204, 304])
        self.sized = rng.random() < 0.5
        self.trailers = rng.random() < 0.15
        count = rng.choice([1, 1, 1, 2, 3, 5])
        self.pieces = [bytes([65 + number]) * rng.choice(PIECES) for _ in range(count)]
        self.pieces[0] = b"%d:" % number + self.pieces[0]
        # By how much the length that is told is wrong.
        self.wrong = rng.choice([-1, 1]) if self.sized and rng.random() < 0.05 else 0
        self.fails = bool(self.wrong)
        self.steps = self._make_steps(rng)
        # What the application has seen of the body, and whether all of it; whether it was told that the client is gone,
        # and whether it had done all that it does when it was.
        self.seen = b""
        self.whole = self.told = self.told_early = self.answered = self.cancelled = False
        self.begun = self.ended = 0
        self.problem = ""

    def _make_steps(self, rng: random.Random) -> list[Step]:
        reading = rng.choice(READING)
        steps: list[Step] = [("read", reading)]
        if rng.random() < 0.05:
            steps.append(("hint",))
        steps.append(("start",))
        for at, piece in enumerate(self.pieces):
            last = at == len(self.pieces) - 1
            if reading == "late" and last:
                steps.append(("read", "all"))
            steps += [(kind,) for kind in ("gate", "turn") if rng.random() < 0.2]
            given = rng.choice(GIVEN)
            if given == "pathsend" and not last:
                given = "zerocopysend"
            steps.append(("piece", piece, last, given, rng.random() < 0.2))
        if self.trailers:
            steps.append(("trailers",))
        if reading in ("all", "given up and all", "two at once") and rng.random() < 0.15:
            steps.insert(1, ("watch",))
            steps.append(("watched",))
        what = rng.random()
        if what < 0.1:
            # It raises, or returns, before it has done what it should.
            self.fails = True
            at = rng.randrange(len(steps) + 1)
            steps[at:] = [(rng.choice(["raise", "raise", "let out", "cancel"]),)] if what < 0.06 else []
        elif what < 0.3:
            steps.append(("again",) if what < 0.2 else ("gate",))
        if rng.random() < 0.3:
            steps.insert(0, ("gate",))
        return steps

    @property
    def content(self) -> bytes:
        """The body of the response, as its client is to see it."""
        return b"" if self.method == "HEAD" or self.status in (204, 304) else b"".join(self.pieces)

    def take(self, event: Event) -> None:
        """The application has received something."""
        if event["type"] == "http.disconnect":
            self.told = not self.whole
        elif self.told or self.whole:
            self.problem = f"behind the end of the body: {event}"
        else:
            self.seen += event["body"]
            self.whole = not event["more_body"]

    def check(self) -> None:
        """What holds whatever the client does, when all is over."""
        assert self.problem == ""
        assert self.begun == self.ended <= 1
        assert self.body.startswith(self.seen)
        assert not self.whole or self.seen == self.body, "the beginning of a body, given as all of it"


class Stage:
    """The application that plays the exchanges, each by the number in its path; `gates` hold some of them."""

    def __init__(self, exchanges: list[Exchange], folder: str | None = None) -> None:
        self.exchanges = exchanges
        self.folder = folder
        self.gates: list[asyncio.Future[None]] = []
        # Tasks that wait for the end of a client.
        self.watches: dict[Exchange, asyncio.Task[Event]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = self.exchanges[int(scope["path"][1:])]
        exchange.begun += 1
        try:
            for step in exchange.steps:
                await getattr(self, "_" + step[0].replace(" ", "_"))(exchange, receive, send, *step[1:])
        except asyncio.CancelledError:
            exchange.cancelled = True
            raise
        finally:
            exchange.ended += 1
            if (watch := self.watches.pop(exchange, None)) is not None:
                watch.cancel()

    def open_gate(self, rng: random.Random) -> None:
        """Let one of those go on that are held; called inside the loop."""
        gate = self.gates.pop(rng.randrange(len(self.gates)))
        if not gate.done():
            gate.set_result(None)

    # Steps -------------------------------------------------------------------------------------------

    async def _gate(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate

    async def _turn(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)

    async def _read(self, exchange: Exchange, receive: Receive, send: Send, how: str) -> None:
        if how == "given up and all":
            asked = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
            if not asked.cancelled():
                exchange.take(asked.result())
        if how == "two at once":
            tasks = [asyncio.ensure_future(self._read_all(exchange, receive)) for _ in range(2)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        elif how == "some":
            exchange.take(await receive())
        elif how not in ("none", "late"):
            await self._read_all(exchange, receive)

    async def _read_all(self, exchange: Exchange, receive: Receive) -> None:
        while not exchange.whole and not exchange.told:
            exchange.take(await receive())

    async def _hint(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]})

    async def _start(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        headers = [(b"x-number", b"%d" % exchange.number)]
        if exchange.sized:
            headers.append((b"content-length", b"%d" % (sum(map(len, exchange.pieces)) + exchange.wrong)))
        await send({**start(exchange.status, headers), "trailers": exchange.trailers})

    async def _piece(
        self, exchange: Exchange, receive: Receive, send: Send, piece: bytes, last: bool, kind: Any, beside: bool
    ) -> None:
        """Send a piece, maybe from another task; its memory is used for something else afterwards."""
        if kind in ("pathsend", "zerocopysend"):
            with tempfile.NamedTemporaryFile(dir=self.folder) as file:
                file.write(piece)
                file.flush()
                file.seek(0)
                event = {"file": file, "more_body": not last} if kind == "zerocopysend" else {"path": file.name}
                await send({"type": f"http.response.{kind}", **event})
            exchange.answered = last
            return
        memory = bytearray(piece)
        sending = send(body(piece if kind is bytes else kind(memory) if kind is memoryview else memory, not last))
        await (asyncio.ensure_future(sending) if beside else sending)
        exchange.answered = last
        if kind is not memoryview:
            memory += b"?"
        memory[:] = bytes(len(memory))

    async def _trailers(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.trailers", "headers": [(b"x-trailer", b"1")]})

    async def _watch(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Wait for the end of the client beside what follows."""

        async def wait() -> Event:
            event = await receive()
            exchange.told_early = not exchange.answered
            return event

        self.watches[exchange] = asyncio.ensure_future(wait())

    async def _watched(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Behind the response it is told in any case."""
        if exchange.whole and (await self.watches.pop(exchange))["type"] != "http.disconnect":
            exchange.problem = "something is received behind the body"

    async def _let_out(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """A task that was waited for has been cancelled, and nobody has caught that."""
        task = asyncio.ensure_future(asyncio.sleep(0))
        task.cancel()
        await task

    async def _cancel(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        await asyncio.sleep(0)

    async def _raise(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        raise ValueError("as it was planned")

    async def _again(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Behind the response there is nothing to be sent, nor to be received."""
        try:
            await send(body(b"once more"))
        except Exception:  # noqa: BLE001 - there are two, by whether the client has left
            if (await receive())["type"] != "http.disconnect":
                exchange.problem = "something is received behind the response"
        else:
            exchange.problem = "a response that goes on behind its end"


@contextmanager
def log_lines() -> Iterator[list[str]]:
    """Warnings and errors of the server and of asyncio while this lasts, but for those that are planned."""
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = record.getMessage()
            if not line.startswith(("Exception in ASGI application", "ASGI application returned without")):
                lines.append(line)
            # Whoever keeps the record keeps no connection by it.
            record.exc_info = None

    handler = Keeping(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    before = [log.propagate for log in loggers]
    for log in loggers:
        log.addHandler(handler)
        log.propagate = False
    try:
        yield lines
    finally:
        for log, propagate in zip(loggers, before, strict=True):
            log.removeHandler(handler)
            log.propagate = propagate
