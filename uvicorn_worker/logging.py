"""The formatters of log lines, where uvicorn has them."""

from uvicorn_worker.logs.formatters import TRACE_LOG_LEVEL, AccessFormatter, ColourizedFormatter, DefaultFormatter
from uvicorn_worker.logs.json_lines import JsonFormatter

__all__ = ["TRACE_LOG_LEVEL", "AccessFormatter", "ColourizedFormatter", "DefaultFormatter", "JsonFormatter"]
