"""`ASGI2Middleware`, where uvicorn has it: an ASGI 2 application as ASGI 3."""

from uvicorn_worker.interfaces.asgi2 import Asgi2Adapter as ASGI2Middleware

__all__ = ["ASGI2Middleware"]
