"""What a server asks of whoever runs it, and tells them."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.errors import AppLoadError, BindError, LifespanError, as_exit
from uvicorn_worker.core.runtime import AccessHook
from uvicorn_worker.logs.access_log import standalone_access
from uvicorn_worker.logs.levels import set_levels
from uvicorn_worker.logs.piped_handlers import unblock_handlers
from uvicorn_worker.server.loaded_app import bare
from uvicorn_worker.server.loading import NOT_LOADED, load_app
from uvicorn_worker.server.notify_callback import NotifyCallback

__all__ = [
    "HANDLED_SIGNALS",
    "Handler",
    "Stoppable",
    "Surroundings",
    "handled",
    "say_failed_lifespan",
    "set_up_logging",
]

# Where nobody else says what signals do.
HANDLED_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# From one call of callback_notify to the next, in seconds, where timeout_notify says nothing, as with uvicorn.
_NOTIFY_SECONDS = 30.0

Handler = Callable[[int, "FrameType | None"], Any]


class Stoppable(Protocol):
    """What those around a server know of it."""

    should_exit: bool

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The handler of a signal that stops it."""


@contextlib.contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Handle signals so for as long as it lasts; in another thread than the main one, where nobody can, none is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sig: signal.signal(sig, handler) for sig, handler in handlers.items()}
    try:
        yield
    finally:
        for sig, handler in before.items():
            # None: it was not set from Python, and can't be set again.
            signal.signal(sig, signal.SIG_DFL if handler is None else handler)


def set_up_logging(config: Config) -> None:
    """uvicorn's lines where nothing is said of log_config, or those that it says. Raises `ConfigError`."""
    # Gunicorn's workers have loggers already.
    from uvicorn_worker.logs.formatters import usual_config
    from uvicorn_worker.logs.log_config import apply_log_config

    log_config = config.log_config
    if log_config is None and getattr(config, "own_log_config_left", False):
        log_config = usual_config(config.access_log_format)
    apply_log_config(log_config, config.use_colors)
    set_levels(config)
    unblock_handlers()


def say_failed_lifespan(exc: LifespanError) -> None:
    """One line, and what the application has raised."""
    logging.getLogger("uvicorn.error").error("The application can't be started: %s", exc, exc_info=exc.__cause__)


class Surroundings:
    """Those of a server alone; a Gunicorn worker has others, which it hands over with its configuration."""

    says_where = True
    """Whether the log says where sockets listen that the server was given; of those that it binds it says so anyway."""

    says_process = True
    """Whether the log says when this process begins to serve, and when it has ended."""

    stops_in_code = True
    """Whether a stop that no signal has asked for is the wish of the program around it."""

    stop_within: float | None = None
    """Seconds for a stop, where that is less than what the configuration gives."""

    _notify: NotifyCallback | None = None
    _notified = -math.inf

    def divide(self, sockets: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The sockets that other processes have, too, and those that they have not (SO_REUSEPORT).

        What is in the queues of the latter is lost with them.
        """
        return list(sockets), []

    def set_up_logging(self, config: Config) -> None:
        """Logging as the configuration has it; raises `ConfigError`."""
        if getattr(config, "own_logging_is_set_up", False):
            unblock_handlers()
            return
        configure: Callable[[], None] | None = getattr(config, "configure_logging", None)
        if configure is None:
            set_up_logging(config)
        else:
            configure()

    def signal_handlers(self, server: Stoppable) -> dict[signal.Signals, Handler]:
        """What is called at which signal while `serve()` runs."""
        # A program that handles them itself has put others there.
        signals = getattr(sys.modules[__package__], "HANDLED_SIGNALS", HANDLED_SIGNALS)
        return dict.fromkeys(signals, server.handle_exit)

    def raise_again(self, sig: int) -> None:
        """This signal came meanwhile; the handlers from before are back."""
        signal.raise_signal(sig)

    def made(self, server: Stoppable) -> None:
        """A server was made of the configuration."""

    def begins(self, server: Stoppable) -> None:
        """It begins to start, in the running event loop."""

    def says_where_of(self, config: Config) -> bool:
        """Whether it says so of these, which the configuration itself may have bound."""
        return self.says_where and not getattr(config, "own_has_said_where", False)

    def serves(self) -> None:
        """`serve()` begins."""
        if self.says_process:
            logging.getLogger("uvicorn.error").info("Started server process [%d]", os.getpid())

    def served(self) -> None:
        """It has served, and stopped."""
        if self.says_process:
            logging.getLogger("uvicorn.error").info("Finished server process [%d]", os.getpid())

    def load(self, config: Config) -> ASGIApp:
        """The application, as ASGI 3; raises as `load_app()` does."""
        load: Callable[[], None] | None = getattr(config, "load", None)
        if load is None:
            return load_app(config)
        its: Any = config
        if its.loaded_app is None:
            load()
        return bare(its.loaded_app)

    def access(self, config: Config) -> AccessHook | None:
        """What is called for each response; asked for when the application has started."""
        return standalone_access(config)

    def started(self, server: Stoppable) -> None:
        """It accepts connections."""

    def failed(self, exc: BaseException) -> BaseException:
        """Its start has failed by this; gives what `startup()` raises."""
        log = logging.getLogger("uvicorn.error")
        if isinstance(exc, LifespanError):
            say_failed_lifespan(exc)
        elif isinstance(exc, BindError):
            log.error("%s", exc)
        elif isinstance(exc, AppLoadError) and not isinstance(exc, SystemExit):
            # Else `Config.load()` has said it.
            log.error(NOT_LOADED, exc)
        return as_exit(exc)

    def on_tick(self, config: Config) -> None:
        """Twice a second, from its start to its end: callback_notify is called when it is time to."""
        if config.callback_notify is None:
            return
        now = time.monotonic()
        if now >= self._notified + (config.timeout_notify or _NOTIFY_SECONDS):
            self._notified = now
            if self._notify is None:
                self._notify = NotifyCallback(config.callback_notify, logging.getLogger("uvicorn.error"))
            self._notify()

    def stops(self, server: Stoppable) -> None:
        """Its stop begins."""
        logging.getLogger("uvicorn.error").info("Shutting down")
