"""An event loop for one coroutine, from its beginning to its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_in"]

_T = TypeVar("_T")


def run_in(
    factory: Callable[[], asyncio.AbstractEventLoop] | None,
    main: Coroutine[Any, Any, _T],
    debug: bool | None = None,
) -> _T:
    """`asyncio.run()` on a loop that `factory` makes, or asyncio; SIGINT is a KeyboardInterrupt after the clean-up."""
    if sys.version_info >= (3, 11):
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            return runner.run(main)
    loop = asyncio.new_event_loop() if factory is None else factory()
    try:
        asyncio.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return loop.run_until_complete(main)
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """What `asyncio.Runner` does at its end, for Python 3.10, which has none."""
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
