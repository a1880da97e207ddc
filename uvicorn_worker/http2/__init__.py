"""HTTP/2 (RFC 9113) over one transport: the door is `Http2Protocol`."""

from uvicorn_worker.http2.codes import PREFACE
from uvicorn_worker.http2.head import Shared, engine_class
from uvicorn_worker.http2.protocol import Http2Protocol

__all__ = ["PREFACE", "Http2Protocol", "Shared", "engine_class"]
