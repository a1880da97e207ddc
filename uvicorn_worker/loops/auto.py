"""Loops of uvloop where it is installed, and of asyncio where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn_worker.core.config import Config
from uvicorn_worker.server.loading import loop_factory, set_loop_policy

__all__ = ["auto_loop_factory", "auto_loop_setup"]


def auto_loop_factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes one, as the option `loop = "auto"` says."""
    return loop_factory(Config(app="none"))


def auto_loop_setup(use_subprocess: bool = False) -> None:
    """Let `asyncio.run()` make them, as with uvicorn before 0.36."""
    set_loop_policy(Config(app="none"))
