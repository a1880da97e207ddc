"""Fixtures of the unit tests of all rooms."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """The lines of the error log: `log()`, or `log(level)` for that level and above."""
    caplog.set_level(logging.DEBUG, "uvicorn.error")

    def lines(level: int = logging.INFO) -> list[str]:
        return [
            record.getMessage()
            for record in caplog.records
            if record.name == "uvicorn.error" and record.levelno >= level
        ]

    return lines
