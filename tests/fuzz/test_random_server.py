"""A server that is stopped at random: at any turn of its start, its service and its stop, nothing of it is left.

Its lifespan starts, fails, hangs or does without; it is told to leave, by a signal or by `should_exit`, told so again,
or its task is cancelled. Whatever comes when: `serve()` ends, the lifespan that has started is shut down once, and
tasks, threads, descriptors and handlers of signals are those of before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scripted import get
from uvicorn_worker import Config, LifespanError, Server
from uvicorn_worker.core.asgi import Receive, Scope, Send

ROUNDS = [range(60), pytest.param(range(60, 2000), marks=pytest.mark.long)]

# What the lifespan does at its start, and at its end.
STARTS = ["complete", "complete", "complete", "slow", "fails", "raises", "hangs", "none", "returns"]
ENDS = ["complete", "complete", "slow", "fails", "raises", "hangs"]
EVENTS = ["cancel", "cancel", "exit", "exit", "force", "INT", "TERM"]
REQUESTS = ["none", "none", "answered", "hangs", "slow"]
PATIENCE = 20.0


class Plan:
    """What happens, and what was seen of it."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.start, self.end, self.request = rng.choice(STARTS), rng.choice(ENDS), rng.choice(REQUESTS)
        self.lifespan = rng.choice(["auto", "auto", "on", "off"])
        turns = rng.choice([3, 10, 40, 150])
        self.events = sorted((rng.randint(1, turns), rng.choice(EVENTS)) for _ in range(rng.choice([1, 1, 2, 3])))
        self.seen: list[str] = []
        self.signals: list[int] = []
        self.faults: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self.request == "hangs":
            await asyncio.Event().wait()
        if self.request == "slow":
            for _ in range(10):
                await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _live(self, receive: Receive, send: Send) -> None:
        if self.start == "none":
            raise NotImplementedError
        try:
            await receive()
            self.seen.append("startup")
            await self._do(self.start, send, "startup")
            if self.start == "returns":
                return
            await receive()
            self.seen.append("shutdown")
            await self._do(self.end, send, "shutdown")
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def _do(self, how: str, send: Send, what: str) -> None:
        if how == "slow":
            for _ in range(10):
                await asyncio.sleep(0)
        elif how == "raises":
            raise ValueError("as it was planned")
        elif how == "hangs":
            await asyncio.Event().wait()
        if how != "returns":
            await send({"type": f"lifespan.{what}.{'failed' if how == 'fails' else 'complete'}"})
            self.seen.append(f"{what} {'failed' if how == 'fails' else 'complete'}")

    # Playing -----------------------------------------------------------------------------------------

    async def play(self) -> BaseException | None:
        """Run the server, and let happen what is to happen; gives how it has ended."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        config = Config(
            self,
            host="127.0.0.1",
            port=0,
            lifespan=self.lifespan,
            log_config=None,
            timeout_graceful_shutdown=0.2,
            timeout_lifespan_shutdown=0.1,
            timeout_drain_idle=0,
        )
        server = Server(config)
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(self._serve(server))
        client: socket.socket | None = None
        turn = 0
        for at, event in self.events:
            while turn < at and not task.done():
                turn += 1
                await asyncio.sleep(0)
                if client is None and self.request != "none" and server.started and server.servers:
                    client = socket.create_connection(server.servers[0].sockets[0].getsockname())
                    client.sendall(get())
            self._happen(event, server, task)
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        if client is not None:
            client.close()
        assert done, "serve() does not end"
        for _ in range(3):
            await asyncio.sleep(0)
        # A lifespan that is not waited for, since the end was asked for again, is left to the loop's.
        given_up = "startup" in self.seen and len(self.events) > 1
        assert given_up or asyncio.all_tasks() == before, "tasks are left"
        return None if task.cancelled() else task.result()

    @staticmethod
    async def _serve(server: Server) -> BaseException | None:
        try:
            await server.serve()
        except SystemExit as exc:
            # It would end the loop.
            return exc
        return None

    @staticmethod
    def _happen(event: str, server: Server, task: asyncio.Task[Any]) -> None:
        if event == "cancel":
            task.cancel()
        elif event == "exit":
            server.should_exit = True
        elif event == "force":
            server.should_exit = server.force_exit = True
        else:
            signal.raise_signal(getattr(signal, f"SIG{event}"))

    def check(self, raised: BaseException | None) -> None:
        assert self.faults == []
        assert self.seen.count("startup") <= 1
        assert self.seen.count("shutdown") <= 1
        if raised is not None:
            assert isinstance(raised, LifespanError)
            assert self.lifespan != "off"
            assert self.start in ("fails", "raises", "none", "returns")
        if "startup complete" in self.seen:
            # An exit that comes in the same moment cancels it.
            assert {"shutdown", "cancelled"} & set(self.seen), "a lifespan that is not shut down"


def descriptors() -> list[str]:
    """What each descriptor is; pipes may be pytest's."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}").partition(":")[0])
    return sorted(each for each in found if each in ("socket", "anon_inode"))


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Those that come back when the server is done with them."""
    came: list[int] = []
    before = [(number, signal.signal(number, lambda number, frame: came.append(number))) for number in (2, 15)]
    yield came
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not tell the descriptors")
@pytest.mark.parametrize("seeds", ROUNDS, ids=str)
def test_nothing_is_left(seeds: range, signals: list[int]) -> None:
    for seed in seeds:
        plan = Plan(seed)
        before = (descriptors(), threading.active_count(), signal.getsignal(2), signal.getsignal(15))
        try:
            plan.check(asyncio.run(plan.play()))
            assert (descriptors(), threading.active_count(), signal.getsignal(2), signal.getsignal(15)) == before
        except BaseException as exc:
            raise AssertionError(f"seed {seed}: {vars(plan)}") from exc
