"""Threads for what blocks, and the way back from them to the event loop."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

__all__ = ["Mailbox", "Receiver", "ThreadPool", "threads_at_work"]

Job = tuple[Callable[[Any], object], Any]


class ThreadPool:
    """Up to `size` threads, started as they are needed; ended when the pool is garbage.

    They are daemons, unlike those of `concurrent.futures`, which the interpreter joins when it exits: a call
    that never returns must not keep a server from stopping.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # How many jobs wait or run: one item each, since a deque needs no lock.
        self._pending: deque[None] = deque()
        self._threads = 0
        _pools.add(self)
        # The threads hold the queue, not the pool, so that they don't keep it alive.
        weakref.finalize(self, _end, self._jobs, size)

    @property
    def at_work(self) -> tuple[int, int]:
        """How many threads have something to do, and how many there may be."""
        return min(len(self._pending), self._size), self._size

    def submit(self, function: Callable[[Any], object], argument: Any) -> None:
        """Call `function(argument)`, which must not raise, as soon as a thread is free. Called in one thread only."""
        self._pending.append(None)
        if self._threads < self._size and len(self._pending) > self._threads:
            self._start_thread()
        self._jobs.put((function, argument))

    def _start_thread(self) -> None:
        arguments = (self._jobs, self._pending)
        thread = threading.Thread(target=_work, args=arguments, name=f"{self._name}_{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system has no room for another one: those that there are do the work.
            if not self._threads:
                self._pending.pop()
                raise
        else:
            self._threads += 1


# Those of this process.
_pools: weakref.WeakSet[ThreadPool] = weakref.WeakSet()


def threads_at_work() -> tuple[int, int]:
    """How many threads of all pools have something to do, and how many there may be."""
    found = [pool.at_work for pool in list(_pools)]
    return sum(busy for busy, _ in found), sum(size for _, size in found)


def _work(jobs: SimpleQueue[Job | None], pending: deque[None]) -> None:
    while (job := jobs.get()) is not None:
        function, argument = job
        function(argument)
        # Nothing of a request is kept alive until the next one comes.
        del job, function, argument
        pending.pop()


def _end(jobs: SimpleQueue[Job | None], size: int) -> None:
    for _ in range(size):
        jobs.put(None)


class Receiver(Protocol):
    """Whose attention is asked for in the loop."""

    def wake(self) -> None:
        """Called in the loop."""

    def lose(self) -> None:
        """Called in any thread, instead: the loop is closed."""


class Mailbox:
    """Wakes receivers in the event loop, for other threads.

    One wake-up of the loop is for all that were posted until then. `lock` is held for a few steps only, never while
    anything is called or waited for.
    """

    __slots__ = ("_posted", "lock", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lock = threading.Lock()
        # Where there is one, the loop is about to look, or whoever posted it is about to tell the loop.
        self._posted: list[Receiver] = []

    def post(self, receiver: Receiver) -> None:
        """Have `receiver` woken in the loop; from any thread."""
        with self.lock:
            self._posted.append(receiver)
            if len(self._posted) > 1:
                return
        try:
            self.loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            # Closed: those that others have posted meanwhile learn it too.
            for each in self._take():
                each.lose()

    def _take(self) -> list[Receiver]:
        with self.lock:
            posted, self._posted = self._posted, []
        return posted

    def _deliver(self) -> None:
        for each in self._take():
            each.wake()
