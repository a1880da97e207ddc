"""Threads for what blocks, and the way back from them to the event loop."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

__all__ = ["Mailbox", "ThreadPool", "threads_at_work"]

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


class Mailbox:
    """Calls that other threads want to be made in the event loop.

    One wake-up of the loop delivers all calls that were posted until then.
    """

    __slots__ = ("_calls", "_ringing", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._ringing = False

    def post(self, call: Callable[[], None]) -> None:
        """Have `call()` made in the loop; from any thread. Raises RuntimeError when the loop is closed."""
        self._calls.append(call)
        # Two threads that both find it silent ring twice, which does no harm.
        if not self._ringing:
            self._ringing = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._ringing = False
                raise

    def _deliver(self) -> None:
        # In this order: what is posted from here on either is seen below, or rings again.
        self._ringing = False
        calls = self._calls
        while calls:
            calls.popleft()()
