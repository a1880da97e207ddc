"""`server.lifespan` by uvicorn's names, for code that starts a server step by step; and one that such code brings.

config.load()
server.lifespan = config.lifespan_class(config)      LifespanOn: the server runs its own, which this one shows
await server.startup()                               any other: the server calls its startup() and shutdown()
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import LifespanError
from uvicorn_worker.server.lifespan import Lifespan

__all__ = ["BroughtLifespan", "LifespanOff", "LifespanOn", "brought_by", "lifespan_of"]


class LifespanOn:
    """The lifespan of a Config's application: that of a server, or one that its caller runs.

    `startup()` and `shutdown()` raise nothing: `should_exit` says whether they have failed, and `logger` why. That is
    uvicorn.error until the caller puts another one there. Whoever runs it, `startup_event` and `shutdown_event` are set
    when they have ended.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        self.logger = logging.getLogger("uvicorn.error")
        self.state: dict[str, Any] = {}
        self.startup_event, self.shutdown_event = asyncio.Event(), asyncio.Event()
        self.should_exit = self.startup_failed = self.shutdown_failed = self.error_occurred = False
        self._lifespan: Lifespan | None = None

    def show(self, lifespan: Lifespan) -> None:
        """This one is run: `state` is that of its requests."""
        self._lifespan, self.state, lifespan.shown = lifespan, lifespan.state, self
        self.startup_event, self.shutdown_event = lifespan.started, lifespan.stopped
        self.should_exit = self.startup_failed = self.shutdown_failed = self.error_occurred = False

    async def startup(self) -> None:
        """Run the startup."""
        if self._lifespan is None:
            if not self.config.loaded:
                self.config.load()
            self.show(Lifespan(self.config, self.config.loaded_app))
        lifespan: Any = self._lifespan
        lifespan.say_on(self.logger)
        try:
            await lifespan.startup()
        except LifespanError as exc:
            self.logger.error("The application can't be started: %s", exc, exc_info=exc.__cause__)

    async def shutdown(self) -> None:
        """Run the shutdown."""
        if self._lifespan is not None:
            await self._lifespan.shutdown(None)


# What they are unless somebody has put others in their place.
_OWN = (LifespanOn.startup, LifespanOn.shutdown)


class LifespanOff:
    """None at all."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.state: dict[str, Any] = {}
        self.should_exit = False

    async def startup(self) -> None:
        """The application is not asked."""

    async def shutdown(self) -> None:
        """Nor is it here."""


class BroughtLifespan:
    """What a caller has made of `server.lifespan`, as the server runs its own."""

    def __init__(self, brought: Any) -> None:
        self._brought = brought
        self.context = contextvars.copy_context()

    @property
    def state(self) -> dict[str, Any]:
        """What requests get, of which it may have none."""
        state: dict[str, Any] = getattr(self._brought, "state", {})
        return state

    async def startup(self) -> None:
        """Raises `LifespanError` where it says that it has failed, and what it raises."""
        await self._brought.startup()
        self.context = contextvars.copy_context()
        if getattr(self._brought, "should_exit", False):
            raise LifespanError("the lifespan that was assigned says that its startup failed")

    async def shutdown(self, timeout: float | None) -> None:
        """Gives up after `timeout` seconds."""
        try:
            await asyncio.wait_for(self._brought.shutdown(), timeout)
        except asyncio.TimeoutError:
            logging.getLogger("uvicorn.error").error("Application shutdown did not complete in time.")

    def abandon(self) -> None:
        """How it takes the end is its own concern."""


def brought_by(config: Any) -> Any:
    """The lifespan of a class that the configuration names for it; None where it names none of its own."""
    kind = getattr(config, "lifespan_class", LifespanOn)
    return None if kind is LifespanOn else kind(config)


def lifespan_of(
    config: Config, app: ASGIApp, shown: Any, startup_level: int, shutdown_level: int
) -> Lifespan | BroughtLifespan:
    """What a server runs for the application, where `shown` is its `lifespan`."""
    if type(shown) is not LifespanOn or (LifespanOn.startup, LifespanOn.shutdown) != _OWN:
        return BroughtLifespan(shown)
    lifespan = Lifespan(config, app, startup_level, shutdown_level)
    shown.show(lifespan)
    return lifespan
