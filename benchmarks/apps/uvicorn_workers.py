"""PyPI's uvicorn-worker with the WebSocket implementations that uvicorn does not choose on its own."""

from __future__ import annotations

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class WebSocketsWorker(UvicornWorker):
    """The websockets library's legacy protocol."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": "auto", "ws": "websockets"}


class WsprotoWorker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": "auto", "ws": "wsproto"}
