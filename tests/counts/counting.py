"""Counts what a request costs: Python calls, C calls and writes, which do not depend on the machine.

The application's own frames are left out, and so are the test's, among them the scripted transport and an event loop
that does nothing but call what is due: as with uvloop, whose own work is no Python call either.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

from tests.scripted import Client, Harness
from uvicorn_worker.core.asgi import ASGIApp

__all__ = ["BareLoop", "Counts", "count", "count_connection", "count_one"]

T = TypeVar("T")


class BareLoop(asyncio.AbstractEventLoop):
    """What a task needs of a loop."""

    def __init__(self) -> None:
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...], Context | None]] = deque()
        self._running = False

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        self._ready.append((callback, args, context))

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coroutine: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        return asyncio.Task(coroutine, loop=self, **kwargs)

    def get_task_factory(self) -> None:
        """There is none."""

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def set_exception_handler(self, handler: Any) -> None:
        """Nothing is reported."""

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        self._ready.clear()

    def run_forever(self) -> None:
        self._running = True
        asyncio._set_running_loop(self)
        try:
            while self._running:
                callback, args, context = self._ready.popleft()
                if context is None:
                    callback(*args)
                else:
                    context.run(callback, *args)
        finally:
            asyncio._set_running_loop(None)

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function` from within the loop, as a transport does with what it has read."""
        self.call_soon(function, *args)
        self.call_soon(self.stop)
        self.run_forever()


@dataclass
class Counts:
    """What was called between the read of a request and its response, and how often the transport was written to."""

    python: Counter[str] = field(default_factory=Counter)
    c: Counter[str] = field(default_factory=Counter)
    writes: int = 0

    @property
    def python_calls(self) -> int:
        return sum(self.python.values())

    @property
    def c_calls(self) -> int:
        return sum(self.c.values())

    def __str__(self) -> str:
        """The table that a failing gate shows."""
        lines = [f"{self.python_calls} Python calls, {self.c_calls} C calls, {self.writes} writes"]
        for kind in (self.python, self.c):
            lines += [f"{number:5} {name}" for name, number in kind.most_common()]
        return "\n".join(lines)


def is_the_tests(frame: FrameType) -> bool:
    return "tests" in frame.f_globals.get("__name__", "").split(".")


def count(app: ASGIApp, *requests: bytes, parser: str, peer: Any = ("192.0.2.7", 50123), **options: Any) -> Counts:
    """Serve `requests` on one connection from `peer`, and count what the last of them costs.

    Those before it warm up what is made once, and are what the server may remember.
    """
    loop = BareLoop()  # type: ignore[abstract]  # it has what is called
    harness = Harness(app, parser=parser, loop=loop, **options)
    client = harness.connect(peername=peer)
    for request in requests[:-1]:
        loop.call(client.protocol.data_received, request)
        harness.settle()
    client.take()
    counts = count_one(loop, client, requests[-1])
    harness.close()
    return counts


def count_connection(app: ASGIApp, request: bytes, parser: str) -> Counts:
    """Serve `request` on some connections, one on each, and count what the last of them costs from its beginning on."""
    loop = BareLoop()  # type: ignore[abstract]  # it has what is called
    harness = Harness(app, parser=parser, loop=loop)

    def connect() -> Client:
        client = harness.connect()
        loop.call(client.protocol.data_received, request)
        harness.settle()
        return client

    for _ in range(5):
        connect()
    counts, client = counted(connect)
    counts.writes = len(client.transport.writes)
    harness.close()
    return counts


def count_one(loop: BareLoop, client: Client, request: bytes) -> Counts:
    data_received = client.protocol.data_received

    def receive() -> None:
        loop.call(data_received, request)
        client.harness.settle()

    counts, _ = counted(receive)
    counts.writes = len(client.transport.writes)
    return counts


def counted(function: Callable[[], T]) -> tuple[Counts, T]:
    """What is called within a function, and what it gives."""
    counts = Counts()

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        if is_the_tests(frame):
            return
        code = frame.f_code
        if event == "call":
            counts.python[f"{code.co_filename.rpartition('/')[2]}:{code.co_name}"] += 1
        elif event == "c_call":
            counts.c[f"{code.co_name} -> {getattr(arg, '__qualname__', arg)}"] += 1

    # What earlier tests have left is not to be collected, and counted, here.
    gc.disable()
    sys.setprofile(profile)
    try:
        return counts, function()
    finally:
        sys.setprofile(None)
        gc.enable()
