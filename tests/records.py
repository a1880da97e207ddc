"""What is logged, whatever the loggers' handlers are."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from uvicorn_worker.logs import formatters

__all__ = ["UVICORNS", "Records", "kept", "loggers_left_alone", "records", "records_of"]

UVICORNS = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")


class Records(logging.Handler):
    """Keeps what is logged; pytest's own handlers are only on loggers that propagate, which Gunicorn's do not."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.kept]


@contextlib.contextmanager
def records_of(*names: str) -> Iterator[Records]:
    """What is logged on these loggers, which are put back afterwards as they were."""
    handler = Records()
    with loggers_left_alone(), kept(*names) as loggers:
        for logger in loggers:
            logger.addHandler(handler)
        yield handler


@contextlib.contextmanager
def loggers_left_alone() -> Iterator[None]:
    """A Config that says nothing of log_config leaves uvicorn's loggers as they are.

    Otherwise it gives them handlers of their own, and nothing comes to those that were there, or to the root's.
    """
    with patch.object(formatters, "usual_config", lambda access_log_format: None):
        yield


@contextlib.contextmanager
def kept(*names: str) -> Iterator[list[logging.Logger]]:
    """These loggers, which are put back afterwards as they were; handlers that have come meanwhile are closed."""
    loggers = [logging.getLogger(name) for name in names]
    before = [dict(vars(logger), handlers=list(logger.handlers), filters=list(logger.filters)) for logger in loggers]
    try:
        yield loggers
    finally:
        for logger, attributes in zip(loggers, before, strict=True):
            for each in logger.handlers:
                if each not in attributes["handlers"]:
                    each.close()
            vars(logger).update(attributes)
            logger.setLevel(attributes["level"])  # which forgets what isEnabledFor has kept


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged on `UVICORNS`, whose levels nobody has set; a module that wants it imports it."""
    with records_of(*UVICORNS) as found:
        for name in UVICORNS:
            logging.getLogger(name).setLevel(logging.NOTSET)
        yield found
