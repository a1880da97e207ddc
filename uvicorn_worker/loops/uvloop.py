"""Loops of uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn_worker.core.config import Config
from uvicorn_worker.server.loading import loop_factory, set_loop_policy

__all__ = ["uvloop_loop_factory", "uvloop_setup"]


def uvloop_loop_factory(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes one, as the option `loop = "uvloop"` says; raises `ConfigError` where uvloop is not installed."""
    return loop_factory(Config(app="none", loop="uvloop"))


def uvloop_setup(use_subprocess: bool = False) -> None:
    """Let `asyncio.run()` make them, as with uvicorn before 0.36."""
    set_loop_policy(Config(app="none", loop="uvloop"))
