"""Fixtures of the tests of workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.records import kept


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the test's own, which nobody else hears."""
    with kept("tests.worker.trace") as (logger,):
        logger.propagate = False
        yield logger
