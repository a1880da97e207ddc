"""`Config` and the names beside it, where uvicorn has them."""

from uvicorn_worker.logs.formatters import LOG_LEVELS, LOGGING_CONFIG, TRACE_LOG_LEVEL
from uvicorn_worker.server.config import Config

__all__ = ["LOGGING_CONFIG", "LOG_LEVELS", "TRACE_LOG_LEVEL", "Config"]
