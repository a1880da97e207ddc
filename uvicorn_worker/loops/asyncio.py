"""Loops of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["asyncio_loop_factory", "asyncio_setup"]


def asyncio_loop_factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes one, as the option `loop = "asyncio"` says."""
    return asyncio.new_event_loop


def asyncio_setup(use_subprocess: bool = False) -> None:
    """Nothing: `asyncio.run()` makes them."""
