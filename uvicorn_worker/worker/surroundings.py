"""What a worker is to the server that runs in it, also to one that a subclass has made of `self.config`."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.config import Config
from uvicorn_worker.core.runtime import AccessHook
from uvicorn_worker.server.loading import adapt
from uvicorn_worker.server.surroundings import Handler, Stoppable, Surroundings
from uvicorn_worker.worker.access_hook import access_hook
from uvicorn_worker.worker.config import loaded_by
from uvicorn_worker.worker.hooks import with_hooks
from uvicorn_worker.worker.offenders import Offenders, refusing

__all__ = ["WorkerSurroundings"]

# How long running requests may hold up a reload.
_RELOAD_SECONDS = 1.0


class WorkerSurroundings(Surroundings):
    """The worker's application, hooks, access log and signals."""

    # Gunicorn says it.
    says_where = says_process = False
    # It is the worker's.
    stops_in_code = False

    def __init__(self, worker: Any) -> None:
        # Not by its class, which knows this one.
        self._worker = worker
        self._adapted: Any = None
        self._loaded: Any = None

    def adapt(self, app: Any, config: Config) -> ASGIApp:
        """The application that Gunicorn has loaded, as ASGI 3."""
        self._adapted = adapt(app, config, multiprocess=self._worker.cfg.workers > 1)
        return self._adapted  # type: ignore[no-any-return]

    def divide(self, sockets: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """With reuse_port each worker has sockets of its own beside those of the master."""
        shared, own = self._worker.own_divide(sockets)
        return shared, own

    @property
    def stop_within(self) -> float | None:  # type: ignore[override]
        """A reload does not wait for long."""
        return _RELOAD_SECONDS if self._worker.own_reloading else None

    def set_up_logging(self, config: Config) -> None:
        """The worker has done that, before it loaded the application."""

    def signal_handlers(self, server: Stoppable) -> dict[signal.Signals, Handler]:
        """TERM is the server's, so that libraries find it by its handler; Gunicorn's INT is a quick stop."""
        return {signal.SIGINT: self._worker.handle_quit, signal.SIGTERM: server.handle_exit}

    def raise_again(self, sig: int) -> None:
        """Only for a handler of the application: the worker ends on Gunicorn's normal path."""
        handler = signal.getsignal(sig)
        is_ours = handler is signal.default_int_handler or self._worker._own_signals.are_ours(handler)
        if callable(handler) and not is_ours:
            signal.raise_signal(sig)

    def made(self, server: Stoppable) -> None:
        """The newest is the worker's: signals, heartbeat and limits are its."""
        self._worker.own_adopt(server)

    def begins(self, server: Stoppable) -> None:
        """The heartbeat begins with the loop, if it does not run already."""
        self._worker.own_adopt(server)
        self._worker.config.own_settled()
        self._worker.own_begin()

    def load(self, config: Config) -> ASGIApp:
        """What `self.config.app` says, or else `self.wsgi`, with Gunicorn's request hooks around it."""
        worker = self._worker
        app: Any = config.app or worker.wsgi
        if self._adapted is None:
            # It is a factory, which may begin tasks in this loop, or a subclass has loaded it by itself.
            loaded = self._loaded = app
            worker.own_make_application(lambda: loaded)
        if app is self._loaded:
            app = worker.wsgi
        if (replacement := getattr(config, "own_replacement", None)) is not None:
            app = loaded_by(replacement, app)
        if (seconds := config.block_repeat_offenders) is not None:
            app = refusing(app, Offenders.of_master(), seconds, worker.log.warning)
        return with_hooks(app, worker)

    def access(self, config: Config) -> AccessHook | None:
        """Gunicorn's access log, uvicorn.access and statsd."""
        return access_hook(self._worker.log, self._worker.cfg, config)

    def started(self, server: Stoppable) -> None:
        """The start is over."""
        self._worker.own_on_started()

    def on_tick(self, config: Config) -> None:
        """The heartbeat calls callback_notify."""

    def failed(self, exc: BaseException) -> BaseException:
        """One worker reports for all of them."""
        return exc

    def stops(self, server: Stoppable) -> None:
        """The server accepts from duplicates: as long as ours were open, clients would queue up in vain."""
        self._worker.own_on_stop()
