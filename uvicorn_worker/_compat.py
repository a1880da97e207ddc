"""`asyncio_run`, where uvicorn has it: `asyncio.run()` with a `loop_factory`, on every Python."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from uvicorn_worker.server.running import run_in

__all__ = ["asyncio_run", "iscoroutinefunction"]

_T = TypeVar("_T")

if sys.version_info >= (3, 12):
    asyncio_run = asyncio.run
else:

    def asyncio_run(
        main: Coroutine[Any, Any, _T],
        *,
        debug: bool | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> _T:
        """Run `main` on a loop that `loop_factory` makes, and give what it returns."""
        return run_in(loop_factory or asyncio.new_event_loop, main, debug)
