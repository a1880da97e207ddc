"""The option callback_notify: what an application wants to be called with each heartbeat, or every so often."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["NotifyCallback"]


class NotifyCallback:
    """Calls the option's function in a running loop, one call at a time; an error of it is logged and no more."""

    def __init__(self, function: Callable[[], Any] | None, log: Any) -> None:
        self._function = function
        self._log = log
        self._running: asyncio.Future[Any] | None = None

    def __call__(self) -> None:
        """Call the function, unless it is still busy with the last heartbeat."""
        if self._function is None or self._running is not None:
            return
        try:
            result = self._function()
        except Exception:  # noqa: BLE001 - whatever it raises is logged, and the heartbeat goes on
            self._log.exception("option callback_notify: the call failed")
            return
        if inspect.isawaitable(result):
            self._running = asyncio.ensure_future(result)
            self._running.add_done_callback(self._done)

    def _done(self, call: asyncio.Future[Any]) -> None:
        self._running = None
        if not call.cancelled() and (error := call.exception()) is not None:
            self._log.error("option callback_notify: the call failed", exc_info=error)
