"""The process that serves under `--reload`, until it is told that another one takes its place.

    HUP          another one comes: leave within a second, and let go of streams and WebSockets at once
    TERM, INT    as without --reload
    end of pipe  the watching process is gone: leave, too

It tells the watching process by the pipe when it serves, and waits for "go" before the lifespan startup: the
application of before is not to run beside the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from uvicorn_worker.board.board import Board, Slot
from uvicorn_worker.core.asgi import ASGIApp
from uvicorn_worker.core.errors import AppLoadError, ConfigError, LifespanError, ProcessExit
from uvicorn_worker.core.runtime import CycleView
from uvicorn_worker.logs.in_flight import has_begun, has_length
from uvicorn_worker.logs.line_writer import close_logs
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.alone import report_alone
from uvicorn_worker.server.failures import failure_app, users_traceback
from uvicorn_worker.server.loading import is_made_late
from uvicorn_worker.server.readiness import ready_of
from uvicorn_worker.server.surroundings import Handler, Stoppable, Surroundings

__all__ = ["FAILED", "SERVES", "serve_until_told"]

SERVES, FAILED = b"serves", b"failed"

RELOAD_SIGNAL = getattr(signal, "SIGHUP", signal.SIGTERM)
# How long running requests may hold up the next process, in seconds; and WebSockets and streams that were told. A
# stream is a response that has begun and has not told its length.
STOP_SECONDS = 1.0
STREAM_SECONDS = 0.1
# And connections without a request, but for new ones, which are about to send it (core/output.py).
IDLE_SECONDS = 0.1
# The options that are other ones here, whatever was said of them.
_OWN = {"timeout_drain_idle": IDLE_SECONDS, "timeout_drain_spread": 0}


def serve_until_told(
    config: Config,
    set_up: Callable[[Config], None] | None,
    sockets: list[socket.socket],
    pipe: Connection,
    other_end: Connection | None,
    is_first: bool,
    board: Board | None = None,
    slot: Slot | None = None,
) -> None:
    """What the process does, from its first moment to its last; `set_up` is for a new interpreter.

    `board` is that of the watching process, where this one was forked from it, and `slot` what it may write there.
    """
    try:
        _serve_until_told(config, set_up, sockets, pipe, other_end, is_first, board, slot)
    finally:
        # multiprocessing ends the process without what is registered for that: lines that wait would be lost.
        close_logs()


def _serve_until_told(
    config: Config,
    set_up: Callable[[Config], None] | None,
    sockets: list[socket.socket],
    pipe: Connection,
    other_end: Connection | None,
    is_first: bool,
    board: Board | None,
    slot: Slot | None,
) -> None:
    if slot is not None:
        slot.pid = os.getpid()
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(RELOAD_SIGNAL, _leave)
    if other_end is not None:
        # It came with the fork, and would keep the pipe open when the watching process is gone.
        other_end.close()
    with contextlib.suppress(OSError):
        # multiprocessing has put /dev/null in its place; debuggers ask on it.
        sys.stdin = os.fdopen(0, closefd=False)
    # A cached file is known by its second and its size: the next edit may be of the same. What was not edited is in the
    # cache since the first process.
    sys.dont_write_bytecode = sys.dont_write_bytecode or not is_first
    if set_up is not None:
        set_up(config)
    surroundings = _ReloadSurroundings(pipe)
    _set(config, **_OWN, own_surroundings=surroundings)
    log = logging.getLogger("uvicorn.error")
    surroundings.load_or_show(config, before_loop=True)
    if not is_first and not _may_go(pipe):
        return
    log.info("Started server process [%d]", os.getpid())
    try:
        server = Server(config)
        report_alone(server, board, slot)
        server.run(sockets)
    except LifespanError as exc:
        _show(config, exc.__cause__ or exc, surroundings)
        Server(config).run(sockets)
    except ConfigError as exc:
        log.error("%s", exc)
        sys.exit(1)
    log.info("Finished server process [%d]", os.getpid())
    if slot is not None:
        slot.left = True


def _show(config: Config, exc: BaseException, surroundings: _ReloadSurroundings) -> None:
    """Serve what went wrong until a file changes."""
    _set(config, loaded_app=failure_app(exc), lifespan="off")
    surroundings.word = FAILED


def _set(config: Any, **values: Any) -> None:
    """To the checker of types, options are read-only."""
    for name, value in values.items():
        setattr(config, name, value)


def _may_go(pipe: Connection) -> bool:
    try:
        return bool(pipe.recv_bytes())
    except (EOFError, OSError):
        return False


def _ignore(sig: int, frame: FrameType | None) -> None:
    """Ctrl+C while it boots: the watching process hears it, too, and sees to the end of this one."""


def _leave(sig: int, frame: FrameType | None) -> None:
    raise ProcessExit(0)


class _ReloadSurroundings(Surroundings):
    """Signals, and a stop that is quick where another process waits."""

    says_where = False
    # It is said whatever serves, the application or a page in its place.
    says_process = False

    def __init__(self, pipe: Connection) -> None:
        self.word = SERVES
        self._began = time.monotonic()
        self._pipe = pipe
        self._server: Any = None
        self._is_replaced = False

    @property
    def stop_within(self) -> float | None:  # type: ignore[override]
        """The next process does not wait for long."""
        return STOP_SECONDS if self._is_replaced else None

    def load(self, config: Any) -> ASGIApp:
        """It was loaded before, but for what a factory makes."""
        if config.loaded_app is None:
            self.load_or_show(config)
        app: ASGIApp = config.loaded_app
        return app

    def load_or_show(self, config: Config, *, before_loop: bool = False) -> None:
        """Load the application, or what shows why it can't be; a factory is called in the running loop."""
        log = logging.getLogger("uvicorn.error")
        try:
            if not (before_loop and is_made_late(config)):
                config.load()
        except ProcessExit:
            raise
        except (AppLoadError, ConfigError) as exc:
            log.error("The application can't be loaded; waiting for a change: %s", exc)
            _show(config, exc, self)
        except BaseException as exc:  # noqa: BLE001 - an import raises what it likes, sys.exit() too
            log.error("The application can't be loaded; waiting for a change.\n%s", users_traceback(exc).rstrip())
            _show(config, exc, self)

    def set_up_logging(self, config: Any) -> None:
        """It was done before the application was loaded."""

    def signal_handlers(self, server: Stoppable) -> dict[signal.Signals, Handler]:
        """Those of a server alone, and one more."""
        handlers = super().signal_handlers(server)
        handlers[RELOAD_SIGNAL] = self._replaced
        self._server = server
        return handlers

    def raise_again(self, sig: int) -> None:
        """The process ends by coming to its end."""

    def _replaced(self, sig: int, frame: FrameType | None) -> None:
        self._is_replaced = True
        self._server.handle_exit(sig, frame)

    def begins(self, server: Stoppable) -> None:
        """See when the watching process is gone."""
        loop, fd = asyncio.get_running_loop(), self._pipe.fileno()

        def ended() -> None:
            loop.remove_reader(fd)
            server.should_exit = True

        # After "go" nothing comes but its end.
        loop.add_reader(fd, ended)

    def started(self, server: Any) -> None:
        """Tell that connections are accepted."""
        if self.word == SERVES:
            server.own_log.info("%s", ready_of(server, time.monotonic() - self._began, _OWN))
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(self.word)

    def stops(self, server: Any) -> None:
        """What waits in the queue of the sockets is for the next process; streams don't hold it up."""
        super().stops(server)
        if not self._is_replaced:
            return
        server.own_acceptor.close()
        cycles = server.own_runtime.cycles
        begun = [cycle for cycle in cycles if cycle.websocket or (has_begun(cycle) and not has_length(cycle))]
        for cycle in begun:
            if not cycle.websocket:
                cycle.disconnect()
        asyncio.get_running_loop().call_later(STREAM_SECONDS, _cut, cycles, begun)


def _cut(cycles: set[CycleView], begun: list[CycleView]) -> None:
    """End those that have not ended by themselves."""
    for cycle in begun:
        if cycle in cycles:
            cycle.cancel()
            cycle.abandon()
