"""Where a task stands: the chain of what it awaits, and the stack of a thread, in words for the log.

The stack of the thread that runs the event loop says nothing of a request that waits. What says it is the chain of
coroutines from the task down to what is waited for.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from uvicorn_worker.core.log import count

__all__ = ["describe_holder", "describe_task", "describe_thread", "describe_threads"]

# No more of a chain, or of a stack, than this.
_DEEPEST = 40
# Of the stacks of threads, the frames nearest to what they are at.
_NEAREST = 12
# The folder of this package: of its frames only what is waited for in the end tells something.
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
# What runs a loop, and calls us. uvloop has no frames of Python.
_LOOPS = os.path.dirname(asyncio.__file__) + os.sep
_LAUNCHERS = (f"{os.sep}gunicorn{os.sep}", "<frozen ", f"{os.sep}runpy.py")


def describe_task(task: asyncio.Task[Any] | None) -> list[str]:
    """A line for each step from the application to what the task waits for; empty where that can't be seen."""
    if task is None:
        return []
    steps = list(_steps(task))
    own = [step for step in steps if not step[0].startswith(_OURS)]
    # What is waited for in the end may be ours: receive(), or room to send.
    if steps and steps[-1] not in own:
        own.append(steps[-1])
    lines = [f"{_short(path)}:{line} in {name}" for path, line, name in own]
    waited_for = _waited_for(task)
    return [*lines, waited_for] if waited_for else lines


def _steps(task: asyncio.Task[Any]) -> Iterator[tuple[str, int, str]]:
    """File, line and name of each frame, the outermost first."""
    seen = 0
    awaited: Any = task.get_coro()
    while awaited is not None and seen < _DEEPEST:
        seen += 1
        frame, following = _frame_of(awaited)
        if frame is None and following is None:
            return
        if frame is not None:
            yield frame.f_code.co_filename, frame.f_lineno, getattr(awaited, "__qualname__", frame.f_code.co_name)
        awaited = following


def _frame_of(awaited: Any) -> tuple[FrameType | None, Any]:
    """The frame of a coroutine or generator, and what it awaits in its turn."""
    for frame, following in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")):
        if hasattr(awaited, frame):
            return getattr(awaited, frame), getattr(awaited, following)
    # A wrapper around a coroutine, of Cython for instance, or the awaitable of an async generator.
    return None, None


def _waited_for(task: asyncio.Task[Any]) -> str:
    """What is waited for in the end, where it is more than a plain future."""
    waiter = getattr(task, "_fut_waiter", None)
    if isinstance(waiter, asyncio.Task):
        return f"waits for the task {waiter.get_name()}" + "".join(f"\n{line}" for line in describe_task(waiter)[:5])
    children = [child for child in getattr(waiter, "_children", ()) if not child.done()]
    if children:
        return f"waits for {count(len(children), 'task')} that it has gathered"
    return ""


def describe_thread(identity: int | None, deepest: int = _NEAREST) -> list[str]:
    """The stack of a thread, what it is at in the last line."""
    frame = sys._current_frames().get(identity or 0)
    if frame is None:
        return []
    return [
        f"{_short(each.filename)}:{each.lineno} in {each.name}" for each in traceback.extract_stack(frame)[-deepest:]
    ]


def describe_holder(identity: int, deepest: int = _DEEPEST) -> list[str]:
    """The stack of the thread of an event loop, from what the loop has called on: how it came to run is left out.

    Also from a signal handler of this package in that thread, whose own frames are left out too.
    """
    frame = sys._current_frames().get(identity)
    if frame is None:
        return []
    stack = traceback.extract_stack(frame)
    if identity == threading.get_ident():
        while stack and stack[-1].filename.startswith(_OURS):
            stack.pop()
    begin = next((number for number, each in enumerate(stack) if each.filename.startswith((_OURS, _LOOPS))), 0)
    called = itertools.dropwhile(lambda each: _is_way_there(each.filename), stack[begin:])
    # Where it is ours that holds the loop, or the loop itself, this is told.
    shown = list(called)[-deepest:] or stack[-1:]
    return [f"{_short(each.filename)}:{each.lineno} in {each.name}" for each in shown]


def _is_way_there(path: str) -> bool:
    return path.startswith((_OURS, _LOOPS)) or any(part in path for part in _LAUNCHERS)


def describe_threads(but: int | None) -> list[str]:
    """The stacks of the threads that are at work, those of the server and the one with the identity `but` left out."""
    lines = []
    for thread in threading.enumerate():
        if thread.ident != but and not thread.name.startswith("uvicorn-worker"):
            stack = describe_thread(thread.ident)
            if stack and not _is_idle(stack):
                lines += [f"thread {thread.name}", *(f"  {line}" for line in stack)]
    return lines


def _is_idle(stack: list[str]) -> bool:
    """Whether a thread of a pool waits for something to do."""
    return stack[-1].rpartition(" in ")[2] in ("_worker", "_work", "get", "wait") and len(stack) <= 6


def _short(path: str) -> str:
    """A file by the part of its path behind the folder of imports."""
    for folder in sorted(sys.path, key=len, reverse=True):
        if folder and path.startswith(folder + os.sep):
            return path[len(folder) + 1 :]
    return path
