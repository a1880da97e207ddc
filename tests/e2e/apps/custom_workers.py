"""Worker subclasses as users write them: options of the server core, set in the class."""

from __future__ import annotations

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class AsyncioH11Worker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "asyncio", "http": "h11"}


class LifespanOnWorker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"lifespan": "on"}


class LifespanOffWorker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"lifespan": "off"}
