"""Exceptions of all kinds that an application may let out of a request."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

__all__ = ["FAILURES", "Panic", "handled_interrupts"]


class Panic(BaseException):
    """As extensions written in Rust raise it: it is no Exception."""


FAILURES: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("a mistake"),
    "a panic": lambda: Panic("index out of bounds"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
}
if sys.version_info >= (3, 11):
    FAILURES["a group"] = lambda: BaseExceptionGroup(  # noqa: F821 - of Python 3.11
        "of a TaskGroup", [Panic("a"), ValueError("b")]
    )


@pytest.fixture
def handled_interrupts() -> Iterator[None]:
    """As in a server: a KeyboardInterrupt does not come from the keyboard, since SIGINT has a handler."""
    before = signal.signal(signal.SIGINT, lambda sig, frame: None)
    yield
    signal.signal(signal.SIGINT, before)
