"""What the applications of the grid have in common: when a stream goes on, and how they tell of what happened."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Iterator

from eventlog import event

__all__ = ["Go", "digest", "endless", "event", "gated", "gated_in_thread", "slowly", "slowly_in_thread"]


class Go:
    """`/go` lets the streams go on: the client asks for it when the first piece is there, so that nobody sleeps."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()
        self._threads: set[threading.Event] = set()

    def now(self) -> str:
        for each in (*self._waiting, *self._threads):
            each.set()
        return "gone"

    async def wait(self) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await asyncio.wait_for(event.wait(), 20)
        finally:
            self._waiting.discard(event)

    def wait_in_thread(self) -> None:
        event = threading.Event()
        self._threads.add(event)
        event.wait(20)
        self._threads.discard(event)


async def gated(go: Go, first: str, last: str) -> AsyncIterator[str]:
    """A piece, and another one once the client has the first."""
    yield first
    await go.wait()
    yield last


def gated_in_thread(go: Go, first: str, last: str) -> Iterator[str]:
    yield first
    go.wait_in_thread()
    yield last


async def endless(name: str, pause: float) -> AsyncIterator[str]:
    """Pieces without an end; the event `NAME` when the client's leaving has ended it."""
    try:
        while True:
            yield "data: more\n\n"
            await asyncio.sleep(pause)
    finally:
        event(name)


def digest(body: bytes) -> str:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


async def slowly() -> str:
    """What is under way when the server is told to stop."""
    event("slow")
    await asyncio.sleep(0.5)
    return "slow"


def slowly_in_thread() -> str:
    event("slow")
    time.sleep(0.5)
    return "slow"
