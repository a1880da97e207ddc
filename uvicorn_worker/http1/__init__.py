"""HTTP/1.1 (RFC 9112) over one transport: the door is `Http1Protocol`."""

from uvicorn_worker.http1.parsers import parser_factory
from uvicorn_worker.http1.protocol import Http1Protocol
from uvicorn_worker.http1.shared import Shared

__all__ = ["Http1Protocol", "Shared", "parser_factory"]
