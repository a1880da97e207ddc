"""An event loop for one coroutine, from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["check_no_loop", "run_in"]

_T = TypeVar("_T")


def check_no_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs already, where another may run within it (nest_asyncio, in notebooks); None where none does.

    Raises what `asyncio.run()` raises in any other running loop.
    """
    outer = asyncio._get_running_loop()
    if outer is not None and not hasattr(outer, "_nest_patched"):
        raise RuntimeError(
            "asyncio.run() cannot be called from a running event loop, such as that of a notebook: "
            "await Server(Config(app)).serve() there, or call run() in a thread"
        )
    return outer


def run_in(
    factory: Callable[[], asyncio.AbstractEventLoop] | None,
    main: Coroutine[Any, Any, _T],
    debug: bool | None = None,
) -> _T:
    """`asyncio.run()` on a loop that `factory` makes, or asyncio; SIGINT is a KeyboardInterrupt after the clean-up.

    Within a loop that runs already, and may run within itself, on that one.
    """
    try:
        outer = check_no_loop()
    except RuntimeError:
        main.close()
        raise
    if outer is not None:
        return _run_within(outer, main)
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


def _run_within(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, _T]) -> _T:
    task = loop.create_task(main)
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        elif not task.cancelled():
            # A KeyboardInterrupt came past it.
            task.exception()


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
