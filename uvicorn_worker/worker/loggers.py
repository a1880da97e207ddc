"""uvicorn's logger names under Gunicorn: what the core logs goes where Gunicorn's own lines go."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["share_handlers"]


def share_handlers(log: Any) -> None:
    """Let uvicorn.error write to the handlers of Gunicorn's error log, unless it was given its own."""
    logger = logging.getLogger("uvicorn.error")
    if not logger.handlers:
        logger.handlers = log.error_log.handlers
        logger.propagate = False
        logger.setLevel(log.error_log.level)
