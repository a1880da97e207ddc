"""What `log_level` means: the levels of uvicorn's loggers, and at `trace` a line for each ASGI message."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send
from uvicorn_worker.core.config import Config

__all__ = ["LEVELS", "TRACE", "log_messages", "set_levels"]

TRACE = 5
LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}

# What is told of a message's content: it may be large, and it may be secret.
_SHOWN_AS = {"body": "<{} bytes>", "bytes": "<{} bytes>", "text": "<{} chars>", "headers": "<...>", "state": "<...>"}


def set_levels(config: Config) -> None:
    """Set the level of uvicorn's loggers, where `log_level` was given: else they have those that others give them."""
    if getattr(config, "own_log_level_given", config.log_level != Config.log_level):
        for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
            logging.getLogger(name).setLevel(LEVELS[config.log_level])


def log_messages(app: ASGIApp) -> ASGIApp:
    """The application, with a line on uvicorn.asgi for each message to it and from it."""
    logging.addLevelName(TRACE, "TRACE")
    logger = logging.getLogger("uvicorn.asgi")
    numbers = itertools.count(1)

    async def logged(scope: Scope, receive: Receive, send: Send) -> None:
        number, client = next(numbers), scope.get("client")
        who = "{}:{} - ".format(*client) if client else ""

        async def logged_receive() -> Event:
            message = await receive()
            logger.log(TRACE, "%sASGI [%d] Receive %s", who, number, _without_content(message))
            return message

        async def logged_send(message: Event) -> None:
            logger.log(TRACE, "%sASGI [%d] Send %s", who, number, _without_content(message))
            await send(message)

        logger.log(TRACE, "%sASGI [%d] Started scope=%s", who, number, _without_content(scope))
        try:
            await app(scope, logged_receive, logged_send)
        except BaseException as exc:
            logger.log(TRACE, "%sASGI [%d] Raised %r", who, number, exc)
            raise
        logger.log(TRACE, "%sASGI [%d] Completed", who, number)

    return logged


def _without_content(message: Mapping[str, Any]) -> dict[str, Any]:
    """A copy for the log."""
    shown = dict(message)
    for name, words in _SHOWN_AS.items():
        if shown.get(name) is not None:
            shown[name] = words.format(len(shown[name]))
    return shown
