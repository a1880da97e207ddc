"""`server.lifespan` by uvicorn's names, for code that starts a server step by step; and one that such code brings.

config.load()
server.lifespan = config.lifespan_class(config)      LifespanOn: the server runs its own, which this one shows
await server.startup()                               any other: the server calls its startup() and shutdown()

LifespanOn.startup()     has a task call main(), puts the event into receive_queue, waits for startup_event
LifespanOn.main()        calls the application with receive() and send() of this one

`start_lifespan()` and `stop_lifespan()` are what a server does with whichever it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
import sys
import time
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import LifespanError
from uvicorn_worker.core.tables import LIFESPAN
from uvicorn_worker.server.lifespan import Lifespan, ends_within

__all__ = [
    "QUICK_SECONDS", "BroughtLifespan", "LifespanOff", "LifespanOn", "brought_by", "class_in_its_place", "lifespan_of",
    "start_lifespan", "stop_lifespan",
]  # fmt: skip

# What a shutdown has at least, even where no time is left.
_LEAST_SECONDS = 0.1
# How long one that was given up may take to end.
_CANCEL_SECONDS = 0.5
# And what it has at most in a quick stop.
QUICK_SECONDS = 2.0


class LifespanOn:
    """The lifespan of a Config's application: that of a server, or one that its caller runs.

    `startup()` and `shutdown()` raise nothing: `should_exit` says whether they have failed, and `logger` why. That is
    uvicorn.error until the caller puts another one there. Whoever runs it, `startup_event` and `shutdown_event` are set
    when they have ended.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        self.logger = logging.getLogger("uvicorn.error")
        self._own_begin()

    def _own_begin(self) -> None:
        self.state: dict[str, Any] = {}
        self.receive_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.startup_event, self.shutdown_event = asyncio.Event(), asyncio.Event()
        self.should_exit = self.startup_failed = self.shutdown_failed = self.error_occurred = False
        self._own_lifespan: Lifespan | None = None

    def _own_leave(self) -> None:
        """Another one follows, of a server that serves again; what was put into `state` before the first is kept."""
        if self._own_lifespan is not None:
            self._own_begin()

    def _own_show(self, lifespan: Lifespan) -> None:
        """This one is run: `state` is that of its requests."""
        self._own_leave()
        self._own_lifespan = lifespan
        lifespan.show_on(self)

    def _own_shown(self) -> Lifespan:
        """What is run: the lifespan of the Config's application, where no server has said so."""
        if self._own_lifespan is not None:
            return self._own_lifespan
        if not self.config.loaded:
            self.config.load()
        lifespan = Lifespan(self.config, self.config.loaded_app)
        lifespan.say_on(self.logger)
        self._own_show(lifespan)
        return lifespan

    async def main(self) -> None:
        """Call the application."""
        await self._own_shown().run(self.receive, self.send)

    async def receive(self) -> Any:
        """The application's `receive`."""
        return await self._own_shown().receive()

    async def send(self, message: Any) -> None:
        """The application's `send`."""
        await self._own_shown().send(message)

    async def startup(self) -> None:
        """Run the startup."""
        lifespan = self._own_shown()
        lifespan.say_on(self.logger)
        try:
            await lifespan.startup()
        except LifespanError as exc:
            self.logger.error("The application can't be started: %s", exc, exc_info=exc.__cause__)

    async def shutdown(self) -> None:
        """Run the shutdown."""
        if self._own_lifespan is not None:
            await self._own_lifespan.shutdown(None)


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
        if not await ends_within(self._brought.shutdown(), timeout):
            logging.getLogger("uvicorn.error").error("Application shutdown did not complete in time.")

    def give_up(self) -> None:
        """Its `shutdown()` is cancelled, and that is all of it."""

    def abandon(self) -> None:
        """How it takes the end is its own concern."""


def class_in_its_place() -> Any:
    """What stands where uvicorn has `LifespanOn`: a program may put another there."""
    place, _, name = LIFESPAN["on"].partition(":")
    return getattr(sys.modules.get(place), name, LifespanOn)


def brought_by(config: Any) -> Any:
    """The lifespan of a class that the configuration names for it; None where it names none of its own."""
    kind = getattr(config, "lifespan_class", None) or (LifespanOn if config.lifespan == "off" else class_in_its_place())
    return None if kind is LifespanOn else kind(config)


def lifespan_of(
    config: Config, app: ASGIApp, shown: Any, startup_level: int, shutdown_level: int
) -> Lifespan | BroughtLifespan:
    """What a server runs for the application, where `shown` is its `lifespan`."""
    if type(shown) is not LifespanOn:
        return BroughtLifespan(shown)
    if (LifespanOn.startup, LifespanOn.shutdown) != _OWN and config.lifespan != "off":
        shown._own_leave()
        return BroughtLifespan(shown)
    lifespan = Lifespan(config, app, startup_level, shutdown_level)
    shown._own_show(lifespan)
    return lifespan


async def start_lifespan(lifespan: Lifespan | BroughtLifespan, exit_asked: asyncio.Event) -> None:
    """The startup, which an exit that is asked for meanwhile cancels."""
    startup = asyncio.ensure_future(lifespan.startup())
    exiting = asyncio.ensure_future(exit_asked.wait())
    try:
        await asyncio.wait([startup, exiting], return_when=asyncio.FIRST_COMPLETED)
        if not startup.done():
            startup.cancel()
            with contextlib.suppress(asyncio.CancelledError, LifespanError):
                await startup
            return
        await startup
    finally:
        exiting.cancel()
        # Where this start itself was cancelled, nobody asks what that has raised in the same moment.
        startup.add_done_callback(lambda future: future.cancelled() or future.exception())
        if not startup.done():
            startup.cancel()
            await asyncio.wait([startup], timeout=_CANCEL_SECONDS)


async def stop_lifespan(
    lifespan: Lifespan | BroughtLifespan, end: float, quick_asked: asyncio.Event, *, is_quick: bool
) -> None:
    """The shutdown, until `end` by the monotonic clock, or until a quick stop is asked for, or asked for again."""
    left = end - time.monotonic()
    bound = None if left == math.inf else max(left, _LEAST_SECONDS)
    if is_quick:
        quick_asked.clear()
        bound = QUICK_SECONDS if bound is None else min(bound, QUICK_SECONDS)
    work = asyncio.ensure_future(lifespan.shutdown(bound))
    quick = asyncio.ensure_future(quick_asked.wait())
    # What does not heed being cancelled must not hold up the end.
    timeout = None if bound is None else bound + _CANCEL_SECONDS
    try:
        await asyncio.wait([work, quick], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if quick.done():
            lifespan.give_up()
    finally:
        for future in (work, quick):
            future.cancel()
        await asyncio.wait([work, quick], timeout=_LEAST_SECONDS)
