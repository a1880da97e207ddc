"""The application's lifespan (ASGI lifespan 2.0): startup, state, shutdown.

start() ─► lifespan.startup ─► startup.complete ─► serving ─► lifespan.shutdown ─► shutdown.complete
                │
                ├─ startup.failed             the boot fails, always
                ├─ raised before receive()    auto: the application has no lifespan, and that is fine
                ├─ raised after receive(),    auto: served, but the log shows what was raised
                │  or sys.exit() at any time
                └─ returned without a word    served, as uvicorn does; on: with a warning
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Send
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import ApplicationError, LifespanError, ends_process
from uvicorn_worker.core.log import OwnLog
from uvicorn_worker.core.response_fields import missing

__all__ = ["Lifespan", "ends_within"]

# How long what was cancelled may take to end.
_CANCEL_SECONDS = 1.0


async def ends_within(work: Awaitable[Any], seconds: float | None) -> bool:
    """Whether it ends within so many seconds, None for any; it is cancelled otherwise. Raises what it raises.

    In the place of `wait_for()`: where a tool has loaded asyncio for a second time, what comes out of that is a
    CancelledError in place of a TimeoutError.
    """
    future = asyncio.ensure_future(work)
    try:
        await asyncio.wait([future], timeout=seconds)
        in_time = future.done()
    finally:
        if future.cancel():
            await asyncio.wait([future], timeout=_CANCEL_SECONDS)
    if in_time:
        await future
    return in_time


class Lifespan:
    """Runs the application once with the lifespan scope, from startup to shutdown.

    That the two have begun and ended well is said at the given levels.
    """

    def __init__(
        self, config: Config, app: ASGIApp, startup_level: int = logging.INFO, shutdown_level: int = logging.INFO
    ) -> None:
        self._startup_level, self._shutdown_level = startup_level, shutdown_level
        self._mode = config.lifespan
        self._startup_timeout = config.timeout_lifespan_startup
        self._shutdown_timeout = config.timeout_lifespan_shutdown
        self._app = app
        self._log = OwnLog()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.started, self.stopped = asyncio.Event(), asyncio.Event()
        """Set when the startup, and the shutdown, have ended, however that was."""
        self.shown: Any = None
        """What shows this one to others, as `server.lifespan` does: it gets uvicorn's words for what has failed."""
        self._received = self._ran = self._by_hand = False
        self._asked_to_stop = False
        self._abandoned = False
        self._failure: LifespanError | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gave_up = False
        self.state: dict[str, Any] = {}
        self.context = contextvars.copy_context()
        """The context of the lifespan as it was when startup was complete; requests get copies of it by option."""

    @property
    def failed(self) -> bool:
        """Whether the startup or the shutdown has failed."""
        return self._failure is not None

    def show_on(self, shown: Any) -> None:
        """Be what this one shows: its queue, events and state are used, and the application gets its methods."""
        self.shown, self.state, self._events = shown, shown.state, shown.receive_queue
        self.started, self.stopped = shown.startup_event, shown.shutdown_event

    def _show(self, *names: str) -> None:
        if self.shown is not None:
            for name in names:
                setattr(self.shown, name, True)

    def say_on(self, logger: Any) -> None:
        """Write on another logger than uvicorn.error."""
        self._log.logger = logger

    async def startup(self) -> None:
        """Run the startup; raises `LifespanError` when the server must not serve."""
        if self._mode == "off":
            return
        self._loop = asyncio.get_running_loop()
        run = self.run(self.receive, self.send) if self.shown is None else self.shown.main()
        self._task = self._loop.create_task(run)
        self._events.put_nowait({"type": "lifespan.startup"})
        try:
            in_time = await ends_within(self.started.wait(), self._startup_timeout)
        except asyncio.CancelledError:
            await self._cancel()
            raise
        if not in_time:
            await self._cancel()
            self._show("startup_failed", "should_exit")
            raise LifespanError(f"the lifespan startup took longer than {self._startup_timeout} seconds")
        if self._failure is None and self._others_failed():
            self._show("startup_failed", "should_exit")
            self._failure = LifespanError("the lifespan startup of the application failed")
        if self._failure is not None:
            # Not logged here: under Gunicorn one worker reports for all of them.
            raise self._failure
        # Of every application that has one or may have one: deployments wait for this line.
        self._log.log(self._startup_level, "Application startup complete.")

    def _others_failed(self) -> bool:
        """Whether a `send()` or a `main()` that somebody has written anew says so."""
        shown = self.shown
        if shown is None:
            return False
        return bool(shown.startup_failed or (shown.error_occurred and not self._ran and self._mode == "on"))

    async def shutdown(self, timeout: float | None) -> None:
        """Run the shutdown; gives up after `timeout` seconds or the option's, whichever is less."""
        task = self._task
        if task is None or task.done():
            return
        bounds = [bound for bound in (timeout, self._shutdown_timeout) if bound is not None]
        if not self._asked_to_stop:
            # A second time where the first one was cancelled.
            self._asked_to_stop = True
            self._log.log(self._shutdown_level, "Waiting for application shutdown.")
            self._events.put_nowait({"type": "lifespan.shutdown"})
        try:
            in_time = await ends_within(self.stopped.wait(), min(bounds, default=None))
        except asyncio.CancelledError:
            if self._failure is not None:
                # Of a start that has failed: nobody comes back to it.
                self.give_up()
            raise
        if not in_time:
            self._log.error("Application shutdown did not complete in time.")
        else:
            if self._failure is None:
                self._log.log(self._shutdown_level, "Application shutdown complete.")
            # What comes after shutdown.complete is the application's own clean-up: let it end by itself.
            await asyncio.wait([task], timeout=_CANCEL_SECONDS)
        await self._cancel()

    def abandon(self) -> None:
        """The process is ended, and the application with it: how it takes that is nobody's concern."""
        self._abandoned = True

    def give_up(self) -> None:
        """Cancel what still runs: nobody waits for it any more."""
        if self._task is not None and not self._task.done():
            self._gave_up = True
            self._task.cancel()

    async def _cancel(self) -> None:
        self.give_up()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_CANCEL_SECONDS)

    async def run(self, receive: Receive, send: Send) -> None:
        """Call the application, with these; `startup()` has a task do it, or somebody who has written that anew."""
        self._ran = True
        if self._task is None:
            self._task, self._loop, self._by_hand = asyncio.current_task(), asyncio.get_running_loop(), True
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, receive, send)
        except BaseException as exc:
            # Whatever the application raises, the mode decides what it means.
            if ends_process(exc) or self._is_cancelled(exc):
                raise
            if self._loop is None or not self._loop.is_closed():
                # Else the program has left the server as it was, and what is left of it ends with the process.
                self._raised(exc)
        else:
            if not self.started.is_set() and self._mode == "on":
                self._log.warning(
                    "The application returned without completing its lifespan startup; it is served without lifespan"
                )
        finally:
            self.started.set()
            self.stopped.set()

    def _is_cancelled(self, exc: BaseException) -> bool:
        """Whether the task is being cancelled or closed, and has not let out what it has waited for."""
        if isinstance(exc, GeneratorExit):
            return asyncio.current_task(self._loop) is not self._task
        task: Any = self._task
        if not isinstance(exc, asyncio.CancelledError) or not hasattr(task, "cancelling"):
            # Python 3.10 does not say whether it was cancelled.
            return isinstance(exc, asyncio.CancelledError) and (self._gave_up or self.started.is_set())
        return bool(task.cancelling())

    def _raised(self, exc: BaseException) -> None:
        self._show("error_occurred")
        if self._failure is not None or self._abandoned:
            # It said startup.failed (or shutdown.failed) and then raised, as Starlette does: it is known already.
            self._log.debug("The lifespan raised after it had failed", exc_info=exc)
        elif self.stopped.is_set():
            self._log.error("The lifespan raised after its shutdown was complete", exc_info=exc)
        elif self.started.is_set():
            self._log.error("The lifespan of the application ended with an exception", exc_info=exc)
        elif self._mode == "on":
            self._show("startup_failed", "should_exit")
            self._failed(LifespanError("the application raised in its lifespan startup"), exc)
        elif self._received or isinstance(exc, (SystemExit, KeyboardInterrupt)):
            # ASGI lifespan, "Lifespan Protocol": the server must continue. Who calls sys.exit() is told of that.
            self._log.warning(
                "The application raised in its lifespan startup; it is served without lifespan", exc_info=exc
            )
        else:
            self._log.debug("The application has no lifespan", exc_info=exc)

    def _failed(self, failure: LifespanError, cause: BaseException | None = None) -> None:
        failure.__cause__ = cause
        self._failure = failure
        if self._by_hand:
            # Else who has called `startup()` is told.
            self._log.error("The application can't be started: %s", failure, exc_info=cause)

    async def receive(self) -> Event:
        """The next event for the application."""
        event = await self._events.get()
        if not self._received and not self._by_hand:
            # Not earlier: an application without lifespan starts without a word.
            self._log.log(self._startup_level, "Waiting for application startup.")
        self._received = True
        return event

    async def send(self, message: Event) -> None:
        """Take what the application says of it."""
        try:
            kind = message["type"]
        except (KeyError, TypeError):
            raise missing(message, "type") from None
        starting = not self.started.is_set()
        if kind == "lifespan.startup.complete" and starting:
            self.context = contextvars.copy_context()
            self.started.set()
        elif kind == "lifespan.startup.failed" and starting:
            self._failed(_failed("startup", message))
            self._show("startup_failed", "should_exit")
            self.started.set()
        elif kind == "lifespan.shutdown.complete" and not starting and not self.stopped.is_set():
            self.stopped.set()
        elif kind == "lifespan.shutdown.failed" and not starting and not self.stopped.is_set():
            self._failure = _failed("shutdown", message)
            self._show("shutdown_failed", "should_exit")
            if not self._abandoned:
                self._log.error("%s", self._failure)
            self.stopped.set()
        else:
            expected = "lifespan.startup.complete or .failed" if starting else "lifespan.shutdown.complete or .failed"
            raise ApplicationError(f"got the ASGI message {kind!r} where the server expects {expected}")


def _failed(phase: str, message: Event) -> LifespanError:
    """What the application says of its failure; Starlette's message is a whole traceback."""
    text = message.get("message", "")
    return LifespanError(f"the lifespan {phase} of the application failed" + (f": {text}" if text else ""))
