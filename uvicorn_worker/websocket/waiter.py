"""What a task waits for that asks for the next message.

A future of asyncio lets the task go on in the loop's next turn: that takes a handle, and the answer another one.
Here the task goes on within the call that brings the message, as if the application were called back, and what it
sends can leave when that call is over.

    idle ─► armed ─► idle          a task waits; it was let go on
              └────► woken ─► idle    it goes on in the loop's next turn: woken from elsewhere, or cancelled

That rests on names that asyncio does not document. `make_waiter()` tries once whether the tasks of this Python can be
waited for in this way, and takes a plain future where they can't: a turn of the loop dearer, otherwise the same.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any

from uvicorn_worker.core.runtime import end_loop

__all__ = ["PlainWaiter", "Waiter", "is_understood", "make_waiter"]


class _NoLoop:
    """What a future asks of its loop that is never waited for."""

    def get_debug(self) -> bool:
        return False


class _Done(threading.local):
    """A future that is done, for each thread: tasks are told that it is what they have waited for.

    They ask a future of asyncio's own in C what came of it, and any other one by a call.
    """

    def __init__(self) -> None:
        no_loop: Any = _NoLoop()
        self.future: asyncio.Future[None] = asyncio.Future(loop=no_loop)
        self.future.set_result(None)


_done = _Done()

# The trial takes three turns of a loop. Where a task does not go on at all, it is not waited for longer.
TRIAL_SECONDS = 5


class Waiter:
    """Future-like, as `asyncio.isfuture()` has it, for one task at a time and any number of times."""

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_done", "_loop", "_message", "busy", "wakeup")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Looked up by asyncio's tasks, as `_asyncio_future_blocking` is: they only wait for what is of their own loop.
        self._loop = loop
        self._asyncio_future_blocking = False
        # How the waiting task is made to go on; None unless it is armed.
        self.wakeup: Callable[[Any], object] | None = None
        self._context: Context
        self._done = _done.future
        self._cancelled: asyncio.CancelledError | None = None
        self._message: str | bytes | None = None
        # Whether a task is waiting, or was let go on and has not had its turn yet.
        self.busy = False

    # The task's side ---------------------------------------------------------------------------------

    def __await__(self) -> Generator[Waiter, None, str | bytes | None]:
        """Wait; gives the message that was handed over, None where there is only reason to look again."""
        self.busy = self._asyncio_future_blocking = True
        try:
            yield self
        finally:
            self.busy = False
            self.wakeup = None
        message, self._message = self._message, None
        return message

    def add_done_callback(self, wakeup: Callable[[Any], object], *, context: Context) -> None:
        """The task says how it is made to go on."""
        self.wakeup = wakeup
        self._context = context

    def result(self) -> None:
        """The task asks, when it goes on, whether it was cancelled."""
        if self._cancelled is not None:
            cancelled, self._cancelled = self._cancelled, None
            raise cancelled

    def cancel(self, msg: Any = None) -> bool:
        """The task is being cancelled; False where it is about to go on anyway."""
        if self.wakeup is None:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.wake()
        return True

    # The session's side ------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let the task, if one waits, look again in the loop's next turn."""
        if self.wakeup is not None:
            wakeup, self.wakeup = self.wakeup, None
            self._loop.call_soon(wakeup, self, context=self._context)

    def hand_over(self, message: str | bytes | None) -> bool:
        """Let the task that waits go on now, with `message`; returns when it waits again, for whatever.

        False where none waits, or it can't go on now since another task is running: then it still waits.
        """
        wakeup = self.wakeup
        if wakeup is None:
            return False
        self.wakeup = None
        self._message = message
        try:
            self._context.run(wakeup, self._done)
        except RuntimeError:
            # Raised before the task goes on; what the application raises is kept by the task.
            self.wakeup = wakeup
            self._message = None
            return False
        except (SystemExit, KeyboardInterrupt) as exc:
            end_loop(self._loop, exc)
        return True


class PlainWaiter:
    """The same by what asyncio documents: the task goes on in the loop's next turn, and is handed nothing."""

    __slots__ = ("_future", "_loop", "busy")

    # It is never handed a message.
    wakeup: None = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None
        self.busy = False

    def __await__(self) -> Generator[Any, None, str | bytes | None]:
        """Wait; gives None: there is reason to look again."""
        self._future = self._loop.create_future()
        self.busy = True
        try:
            yield from self._future
        finally:
            self.busy = False
            self._future = None
        return None

    def wake(self) -> None:
        """Let the task, if one waits, look again in the loop's next turn."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def hand_over(self, message: str | bytes | None) -> bool:
        """False, always: a task that waits has to be woken."""
        return False


def make_waiter(loop: asyncio.AbstractEventLoop) -> Waiter | PlainWaiter:
    """A waiter for tasks of this loop: of the quick kind, where this Python's tasks take it."""
    return Waiter(loop) if _waiter_is_understood() else PlainWaiter(loop)


@functools.cache
def _waiter_is_understood() -> bool:
    return is_understood(asyncio.Task)


def is_understood(make_task: Callable[..., asyncio.Task[Any]]) -> bool:
    """Whether a task, made as `asyncio.Task` is, goes on when a `Waiter` hands it a message, and is cancelled in one.

    Tried in a thread of its own, where neither a loop runs nor a task.
    """
    passed: list[bool] = []
    thread = threading.Thread(target=lambda: passed.append(_try_out(make_task)), name="waiter-trial")
    try:
        thread.start()
    except RuntimeError:
        # There are as many threads as the system allows.
        return False
    thread.join()
    return passed == [True]


def _try_out(make_task: Callable[..., asyncio.Task[Any]]) -> bool:
    if _is_in_a_loop():
        # gevent has put its greenlets in the place of threads.
        return False
    loop = asyncio.new_event_loop()
    # What the trial's task makes of an unknown kind of future is no news to anyone.
    loop.set_exception_handler(lambda _loop, _context: None)
    waiter = Waiter(loop)
    seen: list[str | bytes | None] = []

    async def wait() -> None:
        while True:
            seen.append(await waiter)

    try:
        task = make_task(wait(), loop=loop)
        went_on: list[bool] = []
        loop.call_soon(lambda: went_on.append(waiter.hand_over("a") and seen == ["a"]))
        loop.call_soon(task.cancel)
        loop.run_until_complete(asyncio.wait_for(asyncio.gather(task, return_exceptions=True), TRIAL_SECONDS))
        return went_on == [True] and task.cancelled()
    except (AttributeError, RuntimeError, TypeError, asyncio.TimeoutError):
        return False
    finally:
        loop.close()


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
