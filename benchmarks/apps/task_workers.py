"""Our worker with a task factory on uvloop's loop: which tasks start eagerly, on Python 3.12 and newer.

Without one our requests do, and the tasks that the application makes don't.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import uvloop

from uvicorn_worker import UvicornWorker

# Typed as Any, since `eager_start` is not known to every Python. Not asyncio.eager_task_factory: that of Python 3.13.0
# does not take what uvloop passes on.
_Task: Any = asyncio.Task


def lazy() -> asyncio.AbstractEventLoop:
    """No task starts before the next turn of the loop, as on Python 3.11."""
    loop = uvloop.new_event_loop()
    loop.set_task_factory(_lazy_task)
    return loop


def eager() -> asyncio.AbstractEventLoop:
    """All tasks start eagerly, the application's own too."""
    loop = uvloop.new_event_loop()
    loop.set_task_factory(_eager_task)
    return loop


def _lazy_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return _Task(coroutine, loop=loop, **{**options, "eager_start": False})  # type: ignore[no-any-return]


def _eager_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    # Before the loop runs there is nothing that a task could start in.
    return _Task(coroutine, loop=loop, **{**options, "eager_start": loop.is_running()})  # type: ignore[no-any-return]


class LazyWorker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "task_workers:lazy"}


class EagerWorker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "task_workers:eager"}
