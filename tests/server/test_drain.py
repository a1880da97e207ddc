"""The phases of a stop; what it waits for, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.http1.apps import Gate, Recorder, answer
from tests.scripted import get
from tests.server.running import App, Running, hanging, until
from tests.sockets import Peer, Run
from tests.websocket.scripted_socket import echo
from tests.websocket.wire import frame as masked_frame
from tests.websocket.wire import handshake, parse_frames
from uvicorn_worker import Config
from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send
from uvicorn_worker.server import drain as module
from uvicorn_worker.server.drain import Schedule

Log = Callable[..., list[str]]


class TestSchedule:
    def test_time_is_kept_back_at_the_end(self) -> None:
        schedule = Schedule(100.0, 30)
        assert (schedule.tell, schedule.cut, schedule.lifespan, schedule.end) == (126.0, 128.0, 129.5, 130.0)

    def test_less_of_a_short_time(self) -> None:
        schedule = Schedule(100.0, 10)
        assert (schedule.tell, schedule.cut, schedule.lifespan, schedule.end) == (98.0 + 10, 109.0, 109.5, 110.0)

    def test_without_a_bound_there_is_no_end(self) -> None:
        schedule = Schedule(100.0, None)
        assert {schedule.tell, schedule.cut, schedule.lifespan, schedule.end} == {math.inf}

    def test_no_time_at_all(self) -> None:
        schedule = Schedule(100.0, 0)
        assert {schedule.tell, schedule.cut, schedule.lifespan, schedule.end} == {100.0}


def term(running: Running) -> None:
    running.server.handle_exit(signal.SIGTERM, None)


class TestDelay:
    def test_connections_are_accepted_for_a_while_after_the_signal(self, run: Run, log: Log) -> None:
        async def main() -> None:
            async with Running(App(), timeout_drain_delay=30) as running:
                before = await running.ask()
                await before.response()
                term(running)
                assert running.server.should_exit
                await asyncio.sleep(0.1)
                response = await (await running.ask()).response()
                # It is not over yet for those who come: a load balancer is only about to leave.
                assert (response.status, response.closes) == (200, False)
                assert not (await before.ask(get())).closes

        run(main())
        assert any(line.startswith("Stopping: accepting for another ") for line in log())

    def test_it_says_how_long_it_goes_on(self, run: Run, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_REPORT_SECONDS", 0.1)

        async def main() -> None:
            async with Running(App(), timeout_drain_delay=0.5) as running:
                term(running)
                assert await running.stopped() >= 0.4

        run(main())
        first, second, *_ = (line for line in log() if line.startswith("Stopping: "))
        assert first != second

    def test_there_is_none_where_the_server_stops_by_itself(self, run: Run) -> None:
        # At max_requests no load balancer is to know, and no health check is to see it.
        async def main() -> None:
            async with Running(App(), timeout_drain_delay=60) as running:
                await running.stop()

        run(main())

    def test_a_quick_stop_ends_it(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), timeout_drain_delay=60) as running:
                term(running)
                await asyncio.sleep(0.05)
                running.server.force_exit = True
                await running.stopped()

        run(main())


class TestIdleConnections:
    def test_each_has_its_time(self, run: Run) -> None:
        gate = Gate()

        async def stream(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"ha", "more_body": True})
            await gate(scope, receive, lambda message: asyncio.sleep(0))
            await send({"type": "http.response.body", "body": b"lf"})

        apps = [stream, answer_hello]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await apps.pop(0)(scope, receive, send)

        async def main() -> None:
            async with Running(App(app), timeout_drain_idle=1) as running:
                peer = await running.ask()
                await peer.reader.readuntil(b"ha")
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                await asyncio.sleep(1.1)
                gate.open()
                # Its head had no Connection: close, so the client is right to go on.
                assert await peer.reader.readexactly(2) == b"lf"
                await asyncio.sleep(0.1)
                response = await peer.ask(get())
                assert (response.status, response.closes) == (200, True)
                await running.stopped()

        run(main())

    def test_half_a_head_counts_as_a_request(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), timeout_drain_idle=0.1) as running:
                peer = await running.ask(get()[:10])
                await until(lambda: running.server.own_runtime.connections)
                running.server.should_exit = True
                await asyncio.sleep(0.4)
                response = await peer.ask(get()[10:])
                assert (response.status, response.closes) == (200, True)
                await running.stopped()

        run(main())

    def test_bytes_that_have_come_are_answered(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(), timeout_drain_idle=0.2) as running:
                peers = [await running.ask() for _ in range(3)]
                for peer in peers:
                    await peer.response()
                running.server.should_exit = True
                await until(lambda: running.server.own_runtime.draining)
                for peer in peers:
                    peer.send(get())
                # The loop stands still until well after the connections were to be closed.
                time.sleep(0.3)  # noqa: ASYNC251 - as an application does that blocks
                for peer in peers:
                    response = await peer.response()
                    assert (response.status, response.closes) == (200, True)
                await running.stopped()

        run(main())

    def test_they_are_closed_before_the_time_is_over(self, run: Run, log: Log) -> None:
        async def main() -> None:
            options = {"timeout_drain_idle": 60, "timeout_graceful_shutdown": 4}
            async with Running(App(), **options) as running:
                peer = await running.ask()
                await peer.response()
                running.server.should_exit = True
                assert await peer.rest() == b""
                await peer.close()
                await running.stopped()

        run(main())
        assert log(logging.WARNING) == []


@pytest.mark.parametrize(
    ("stop", "seconds", "closed"),
    [
        ({}, None, {1.1: 4}),
        ({"by_hand": True}, None, {0.2: 3, 1.1: 1}),
        ({"in_code": True}, None, {0.2: 3, 1.1: 1}),
        ({"in_code": True}, 0.5, {0.6: 4}),
    ],
    ids=["signal", "Ctrl+C", "in code", "in code, with a time given"],
)
def test_clients_on_this_machine_need_less_time_where_nobody_serves_on(
    monkeypatch: pytest.MonkeyPatch, stop: dict[str, bool], seconds: float | None, closed: dict[float, int]
) -> None:
    clients = [("127.0.0.1", 1), ("::1", 1), None, ("192.0.2.1", 1)]
    connections: list[Any] = []

    class Idle:
        idle = True
        rest_until = 0

        def __init__(self, client: Any) -> None:
            self.client = client

        def close_if_idle(self) -> None:
            connections.remove(self)

    connections += map(Idle, clients)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.0))
    config = Config(app=echo, timeout_drain_idle=seconds)
    runtime = cast("Any", SimpleNamespace(config=config, connections=connections))
    acceptor = cast("Any", SimpleNamespace(handshakes=()))
    drain = module.Drain(runtime, acceptor, Schedule(0.0, 30), asyncio.Event(), bool, **stop)
    seen = {}
    for now in (0.0, 0.05, 0.2, 0.4, 0.6, 0.9, 1.1):
        before = len(connections)
        round_ = drain._close_idle(now)
        with contextlib.suppress(StopIteration):
            while True:
                round_.send(None)
        if len(connections) < before:
            seen[now] = before - len(connections)
    assert seen == closed


@pytest.mark.parametrize("how", ["in code", "TERM", "Ctrl+C", "a limit"])
def test_who_asks_for_a_stop(run: Run, how: str) -> None:
    """Of a program's own end, and of Ctrl+C, clients on this machine learn at once."""

    async def main() -> None:
        options = {"timeout_drain_idle": None, "limit_max_requests": 1 if how == "a limit" else None}
        async with Running(App(), **options) as running:
            await (await running.ask()).response()
            if how == "in code":
                running.server.should_exit = True
            elif how != "a limit":
                running.server.handle_exit(signal.SIGTERM if how == "TERM" else signal.SIGINT, None)
            await until(lambda: running.server.should_exit)
            drain = running.server._own_drain_of(Schedule(time.monotonic(), 30))
            soon = drain._near_patience < drain._patience
            assert soon == (how in ("in code", "Ctrl+C"))
            await until(lambda: running.server.own_runtime.draining)
            assert running.server.own_runtime.hurries == soon

    run(main())


def test_a_round_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where closing takes long, the rest of the idle connections have their turn in the next round."""
    now = 0.0
    connections: list[Any] = []

    class Idle:
        idle = True
        rest_until = 0

        def close_if_idle(self) -> None:
            nonlocal now
            now += 0.05
            connections.remove(self)

    async def sleep(seconds: float) -> None:
        """The turn of nobody else."""

    connections += [Idle() for _ in range(200)]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=sleep))
    runtime = cast("Any", SimpleNamespace(config=Config(app=echo, timeout_drain_idle=0.1), connections=connections))
    acceptor = cast("Any", SimpleNamespace(handshakes=()))
    drain = module.Drain(runtime, acceptor, Schedule(0.0, 30), asyncio.Event(), bool)
    left = []
    now = 0.2
    # One round in which they are seen, and more.
    for _ in range(5):
        with pytest.raises(StopIteration):
            drain._close_idle(now).send(None)
        left.append(len(connections))
        now += 0.2
    assert left == [200, 136, 72, 8, 0]


def test_each_handshake_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has begun late, too: where the sockets are read until the end, clients come all the time."""

    class Handshake:
        begun = False
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    early, late, begun = Handshake(), Handshake(), Handshake()
    begun.begun = True
    handshakes = {early, begun}
    runtime = cast("Any", SimpleNamespace(config=Config(app=echo, timeout_drain_idle=0), connections=()))
    acceptor = cast("Any", SimpleNamespace(handshakes=handshakes))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 0.0))
    drain = module.Drain(runtime, acceptor, Schedule(0.0, 30), asyncio.Event(), bool)
    seen = []
    for now in (0.0, 0.9, 1.0, 1.8, 2.0):
        if now == 0.9:
            handshakes.add(late)
        with contextlib.suppress(StopIteration):
            drain._close_idle(now).send(None)
        seen.append((early.cancelled, late.cancelled))
    assert seen == [(False, False), (False, False), (True, False), (True, False), (True, True)]
    assert not begun.cancelled
    with contextlib.suppress(StopIteration):
        drain._close_idle(5.0).send(None)
    assert begun.cancelled


class Crowd:
    """WebSockets of a drain whose clock is not the machine's: to tell one takes `cost` seconds of it.

    `stall` is the number of one of them, and for how many seconds the process does not run before it; `late` is how
    much later than it should each sleep ends.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        count: int,
        *,
        cost: float = 0.0,
        stall: tuple[int, float] = (-1, 0.0),
        late: float = 0.0,
    ) -> None:
        self.count = count
        self.cost = cost
        self.stall = stall
        self.late = late
        self.now = self.turn = 0.0
        # When each was told, and in which turn of the loop.
        self.told: list[float] = []
        self.turns: list[float] = []
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=self.sleep))

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + (self.late if seconds else 0)
        self.turn += 1

    def in_one_turn(self) -> list[int]:
        return [self.turns.count(turn) for turn in set(self.turns)]

    def drain(self) -> None:
        """All of them, as at a stop that has thirty seconds."""
        runtime = cast("Any", SimpleNamespace(config=Config(app=echo, timeout_graceful_shutdown=30)))
        drain = module.Drain(runtime, cast("Any", None), Schedule(0.0, 30), asyncio.Event(), bool)
        one = cast("Any", SimpleNamespace(drain=self.tell))
        with pytest.raises(StopIteration):
            drain._drain_websockets([one] * self.count).send(None)

    def tell(self) -> None:
        if len(self.told) == self.stall[0]:
            self.now += self.stall[1]
            self.stall = (-1, 0.0)
        self.told.append(self.now)
        self.turns.append(self.turn)
        self.now += self.cost


class TestWebSockets:
    """Their clients come back at once: they are told one after the other."""

    async def closes(self, running: Running, count: int) -> list[float]:
        """When each of so many was told 1012, in order, from the word to stop on."""
        peers = [await running.ask(handshake()) for _ in range(count)]
        for peer in peers:
            await peer.reader.readuntil(b"\r\n\r\n")
        told: list[float] = []

        async def see(peer: Peer) -> None:
            (frame,) = parse_frames(await peer.reader.readexactly(4))
            assert frame.code == 1012
            told.append(time.monotonic())
            peer.send(masked_frame(8, b"\x03\xf4"))

        watching = [asyncio.ensure_future(see(peer)) for peer in peers]
        # Not from the first one on: a process that gets no time may hear of several at once.
        begun = time.monotonic()
        running.server.should_exit = True
        await asyncio.gather(*watching)
        await running.stopped()
        return [moment - begun for moment in told]

    def test_a_few(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(echo), timeout_drain_spread=0.4) as running:
                # A hundred a second, though there would be time for less; timers may be early by a little.
                assert (await self.closes(running, 11))[-1] >= 0.05

        run(main())

    @pytest.mark.parametrize(("options", "least"), [({"timeout_drain_spread": 0.5}, 0.45), ({}, 0.75)])
    def test_many_in_their_time(self, run: Run, options: dict[str, float], least: float) -> None:
        async def main() -> None:
            # A fifth of the time where nothing is said.
            async with Running(App(echo), timeout_graceful_shutdown=4, **options) as running:
                moments = await self.closes(running, 120)
                assert moments[-1] >= least

        run(main())

    def test_all_at_once(self, run: Run) -> None:
        async def main() -> None:
            async with Running(App(echo), timeout_drain_spread=0) as running:
                await self.closes(running, 50)

        run(main())

    @pytest.mark.parametrize("cost", [0.0, 0.0001, 0.01])
    def test_on_a_machine_without_time(self, monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
        """Where it takes longer to tell one than there is time between two, others have their turns nevertheless."""
        crowd = Crowd(monkeypatch, 1000, cost=cost)
        crowd.drain()
        assert len(crowd.told) == 1000
        assert max(crowd.in_one_turn()) <= 64
        assert crowd.told[-1] == pytest.approx(max(6, 1000 * cost), rel=0.1)

    def test_after_a_moment_in_which_nobody_was_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those who should have been told in four seconds are not told in one moment, and the rest is not late."""
        crowd = Crowd(monkeypatch, 10_000, stall=(1000, 4.0))
        crowd.drain()
        assert len(crowd.told) == 10_000
        begun = crowd.told[1000]
        # A second's worth, and then twice the rate, which is 3333 a second.
        for moment, most in ((begun, 1667), (begun + 0.1, 0), (begun + 0.5, 0), (begun + 2, 0)):
            assert sum(moment <= at < moment + 0.1 for at in crowd.told) <= most + 350
        assert crowd.told[-1] == pytest.approx(begun + (9000 - 1667) * 0.0003, rel=0.05)

    def test_held_up_at_every_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that hardly gets to run is through in time."""
        crowd = Crowd(monkeypatch, 10_000, late=0.5)
        crowd.drain()
        assert crowd.told[-1] <= 6.5

    def test_after_a_short_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was missed is made up for: all are told when they were to be."""
        crowd = Crowd(monkeypatch, 10_000, stall=(1000, 0.9))
        crowd.drain()
        assert crowd.told[-1] == pytest.approx(6, abs=0.05)

    def test_rounds_are_short(self, run: Run) -> None:
        """However many WebSockets are open, looking for idle connections takes no turns for them."""

        async def main() -> None:
            async with Running(App(echo)) as running:
                peers = [await running.ask(handshake()) for _ in range(200)]
                for peer in peers:
                    await peer.reader.readuntil(b"\r\n\r\n")
                runtime = running.server.own_runtime
                drain = module.Drain(runtime, running.server.own_acceptor, Schedule(0.0, 30), asyncio.Event(), bool)
                drain._begun = 0.0
                turns = 0

                async def count_turns() -> None:
                    nonlocal turns
                    while True:
                        turns += 1
                        await asyncio.sleep(0)

                counting = asyncio.ensure_future(count_turns())
                await drain._close_idle(0.9)
                counting.cancel()
                assert turns <= 1
                for peer in peers:
                    await peer.close()

        run(main())

    def test_without_an_end(self) -> None:
        assert module._spread(Config(app=echo)) == 6.0
        assert module._spread(Config(app=echo, timeout_graceful_shutdown=30)) == 6.0


class TestLongPolls:
    """Requests that wait for an event, and heed http.disconnect, do not hold up the stop."""

    @staticmethod
    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    @staticmethod
    async def asks(scope: Scope, receive: Receive, send: Send) -> None:
        """As with `Request.is_disconnected()` of Starlette."""
        await receive()
        while True:
            asking = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            if asking.done():
                return
            asking.cancel()
            await asyncio.sleep(0.05)

    @pytest.mark.parametrize("app", [waits, asks])
    def test_it_is_told_and_its_client_too(self, run: Run, log: Log, app: ASGIApp) -> None:
        recorder = Recorder(app)

        async def main() -> None:
            async with Running(App(recorder), timeout_graceful_shutdown=60, timeout_drain_idle=0.1) as running:
                peers = [await running.ask() for _ in range(5)]
                await until(lambda: len(recorder.received) >= 5)
                await asyncio.sleep(0.05)
                await running.stop()
                for peer in peers:
                    response = await peer.response()
                    assert (response.status, response.get("retry-after"), response.closes) == (503, "1", True)

        run(main())
        assert log(logging.WARNING) == []

    def test_many_are_told_one_after_the_other(self, run: Run) -> None:
        recorder = Recorder(self.waits)

        async def main() -> None:
            async with Running(App(recorder), timeout_graceful_shutdown=60, timeout_drain_spread=0.4) as running:
                for _ in range(40):
                    await running.ask()
                await until(lambda: len(recorder.received) == 40)
                # Ten in each tenth of a second.
                assert await running.stop() >= 0.25

        run(main())

    def test_a_request_at_work_is_not_told(self, run: Run) -> None:
        """Frameworks that wait for the client's end beside each request do so in a task of their own."""
        gate, recorder = Gate(), Recorder()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            watching = asyncio.ensure_future(receive())
            await gate(scope, receive, send)
            assert not watching.done()
            watching.cancel()

        recorder.app = app

        async def main() -> None:
            async with Running(App(recorder), timeout_graceful_shutdown=20) as running:
                peer = await running.ask()
                await until(lambda: gate.waiting)
                running.server.should_exit = True
                await asyncio.sleep(0.4)
                gate.open()
                assert (await peer.response()).status == 200
                await running.stopped()

        run(main())
        assert recorder.raised == []


async def answer_hello(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


class TestReports:
    @pytest.fixture(autouse=True)
    def _often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_REPORT_SECONDS", 0.1)

    def test_progress(self, run: Run, log: Log) -> None:
        gate = Gate()

        async def main() -> None:
            async with Running(App(gate), timeout_graceful_shutdown=20) as running:
                await running.ask()
                await until(lambda: gate.waiting)
                running.server.should_exit = True
                await until(lambda: len([line for line in log() if line.startswith("Still draining")]) >= 2)
                gate.open()
                await running.stopped()

        run(main())
        first, *still, last = (line for line in log() if "rain" in line)
        assert first.startswith("Draining: 1 request, 0 WebSockets, 0 streams, 0 idle connections; ")
        assert first.endswith(" s left.")
        assert all(line.startswith("Still draining: 1 request, ") for line in still[:2])
        assert last.startswith("Drained in ")

    def test_what_is_cut_is_named(self, run: Run, log: Log) -> None:
        recorder = Recorder(hanging)

        async def main() -> None:
            async with Running(App(recorder), timeout_graceful_shutdown=0.3) as running:
                for number in range(22):
                    await running.ask(get(f"/number/{number}"))
                await until(lambda: len(recorder.scopes) == 22)
                await running.stop()

        run(main())
        (line,) = log(logging.ERROR)
        head, *named = line.split("\n")
        assert "22 requests, 0 WebSockets" in head
        assert len(named) == 21
        assert named[0].startswith("  GET /number/")
        assert named[-1] == "  and 2 more requests"

    def test_a_quick_stop_names_it_too(self, run: Run, log: Log) -> None:
        recorder = Recorder(hanging)

        async def main() -> None:
            async with Running(App(recorder)) as running:
                await running.ask(get("/slow"))
                await until(lambda: recorder.scopes)
                running.server.force_exit = True
                await running.stopped()

        run(main())
        (line,) = log(logging.WARNING)
        assert "\n  GET /slow for 0." in line
