"""Gunicorn's configuration for access lines of uvicorn's form, and for JSON: FORM says which, TARGET where they go."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any


def post_fork(server: Any, worker: Any) -> None:
    from uvicorn_worker.logs.formatters import LOGGING_CONFIG, AccessFormatter
    from uvicorn_worker.logs.json_lines import JsonFormatter

    target = os.environ["TARGET"]
    handler = logging.StreamHandler(sys.stdout) if target == "-" else logging.FileHandler(target)
    uvicorns = AccessFormatter(LOGGING_CONFIG["formatters"]["access"]["fmt"], use_colors=False)
    handler.setFormatter(uvicorns if os.environ["FORM"] == "uvicorn" else JsonFormatter())
    logger = logging.getLogger("uvicorn.access")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
