"""`BaseReload`, where uvicorn has it. A subclass says what has changed (`should_restart()`), or does its own steps."""

import logging

from uvicorn_worker.server import Config
from uvicorn_worker.server.surroundings import HANDLED_SIGNALS
from uvicorn_worker.supervisors.child import get_subprocess
from uvicorn_worker.supervisors.reload import ChangeReload

__all__ = ["HANDLED_SIGNALS", "BaseReload", "Config", "get_subprocess", "logger"]

BaseReload = ChangeReload
logger = logging.getLogger("uvicorn.error")
