"""What a task waits for that asks for the next message.

A future of asyncio lets the task go on in the loop's next turn: that takes a handle, and the answer another one.
Here the task goes on within the call that brings the message, as if the application were called back, and what it
sends can leave when that call is over.

    idle ─► armed ─► idle          a task waits; it was let go on
              └────► woken ─► idle    it goes on in the loop's next turn: woken from elsewhere, or cancelled
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any

from uvicorn_worker.core.runtime import end_loop

__all__ = ["Waiter"]


class Waiter:
    """Future-like, as `asyncio.isfuture()` has it, for one task at a time and any number of times."""

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_loop", "_message", "busy", "wakeup")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Looked up by asyncio's tasks, as `_asyncio_future_blocking` is: they only wait for what is of their own loop.
        self._loop = loop
        self._asyncio_future_blocking = False
        # How the waiting task is made to go on; None unless it is armed.
        self.wakeup: Callable[[Waiter], object] | None = None
        self._context: Context
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

    def add_done_callback(self, wakeup: Callable[[Waiter], object], *, context: Context) -> None:
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
            self._context.run(wakeup, self)
        except RuntimeError:
            # Raised before the task goes on; what the application raises is kept by the task.
            self.wakeup = wakeup
            self._message = None
            return False
        except (SystemExit, KeyboardInterrupt) as exc:
            end_loop(self._loop, exc)
        return True
