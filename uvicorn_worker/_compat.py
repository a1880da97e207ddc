"""`asyncio_run`, where uvicorn has it: `asyncio.run()` with a `loop_factory`, on every Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from uvicorn_worker.server.running import run_in

__all__ = ["asyncio_run", "iscoroutinefunction"]

_T = TypeVar("_T")


def asyncio_run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run `main` on a loop that `loop_factory` makes, and give what it returns.

    Not `asyncio.run()` itself, which has one on Python 3.12: debuggers and nest_asyncio put another in its place.
    """
    return run_in(loop_factory or asyncio.new_event_loop, main, debug)
