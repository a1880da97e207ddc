"""HTTP/2 (RFC 9113) over one transport: the door is `Http2Protocol`."""

from uvicorn_worker.http2.cycle import StreamCycle
from uvicorn_worker.http2.engine.codes import PREFACE, ErrorCode
from uvicorn_worker.http2.engine.events import RequestHead
from uvicorn_worker.http2.engine.request_heads import Malformed, request_head
from uvicorn_worker.http2.protocol import Http2Protocol
from uvicorn_worker.http2.shared import Shared, engine_class

__all__ = [
    "PREFACE",
    "ErrorCode",
    "Http2Protocol",
    "Malformed",
    "RequestHead",
    "Shared",
    "StreamCycle",
    "engine_class",
    "request_head",
]
