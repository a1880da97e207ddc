"""A process in which a target serves on sockets of the one that has started it."""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from uvicorn_worker.core.errors import STARTUP_FAILURE, UvicornWorkerError
from uvicorn_worker.core.kernel import passed_to_a_process
from uvicorn_worker.logs.line_writer import close_logs
from uvicorn_worker.server import Config, Server
from uvicorn_worker.server.surroundings import Surroundings

__all__ = ["Process", "Target", "by_target", "get_subprocess", "subprocess_started"]

Target = Callable[..., Any]

# How long one that was told to end may take beyond what its options give it, in seconds, before it is killed.
_STOP_SECONDS = 5.0
# How often one that is to be ready is looked at, whether it has ended, in seconds.
_LOOK_SECONDS = 0.1


class Process:
    """One of them, which serves from `start()` on; without a `target` it has a Server of its own."""

    def __init__(self, config: Config, target: Any = None, sockets: Any = ()) -> None:
        target, sockets = by_target(target, sockets)
        self.config = config
        self._own_listened, self._own_backlog = sockets, config.backlog
        self._own_stop_within = _STOP_SECONDS + (config.timeout_graceful_shutdown or 0.0)
        self._own_began = time.monotonic()
        # What a target does is its own concern: when it is ready is not known.
        self._own_told: Connection | None = None
        self._own_tells: Connection | None = None
        if target is None:
            self._own_told, self._own_tells = multiprocessing.Pipe(duplex=False)
        self._own_is_ready = self._own_is_to_end = False
        if target is None and type(self).target is not _TARGET:
            target = self.target
        self.process: SpawnProcess = get_subprocess(config, target, sockets, self._own_tells)

    # In the other process, where a subclass has a `target()`: it is sent there, and calls this one.

    @functools.cached_property
    def server(self) -> Server:
        """What serves there."""
        return Server(self.config)

    def target(self, sockets: Any = None) -> None:
        """Serve until the end."""
        self.server.run(sockets=sockets)

    def pong(self) -> None:
        """As uvicorn's `target()` does it: nobody asks here whether it hangs."""

    always_pong = pong

    # In this one ---------------------------------------------------------------------------------------

    def start(self) -> Process:
        """Let it serve; gives itself."""
        for sock in self._own_listened:
            # From now on clients wait, and are not refused, whatever becomes of the processes that serve.
            sock.listen(self._own_backlog)
        self._own_began = time.monotonic()
        self.process.start()
        if self._own_tells is not None:
            # It is the other process's alone: its end is seen.
            self._own_tells.close()
        return self

    def ping(self, timeout: float = 0.0) -> bool:
        """Whether it runs; it is not asked."""
        return self.is_alive()

    def is_ready(self, timeout: float = 0.0) -> bool:
        """Whether it has begun to accept connections; never of one with a target."""
        if self._own_told is not None and not self._own_is_ready:
            with contextlib.suppress(EOFError, OSError):
                self._own_is_ready = self._own_told.poll() and bool(self._own_told.recv())
        return self._own_is_ready

    def wait_until_ready(self, timeout: float, should_exit: threading.Event | None = None) -> bool:
        """Wait for that, for `timeout` seconds at most; not for one that ends, nor once `should_exit` is set."""
        end, should_exit = time.monotonic() + timeout, should_exit or threading.Event()
        while not self.is_ready():
            if not self.is_alive() or time.monotonic() >= end or should_exit.wait(_LOOK_SECONDS):
                return False
        return True

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self.process.pid

    @property
    def exitcode(self) -> int | None:
        """What it has ended with; None while it runs."""
        return self.process.exitcode

    @property
    def own_seconds(self) -> float:
        """For how long it runs."""
        return time.monotonic() - self._own_began

    def terminate(self) -> None:
        """Tell it to end."""
        self._own_is_to_end = True
        if self.process.exitcode is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def is_alive(self, timeout: float = 0.0) -> bool:
        """Whether it runs; nothing is waited for."""
        return self.process.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end; what holds up one that was told is cut after a while, unless a `timeout` is given."""
        if timeout is not None or not self._own_is_to_end:
            self.process.join(timeout)
            return
        self.process.join(self._own_stop_within)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()


_TARGET = Process.target


def get_subprocess(
    config: Config, target: Target | None, sockets: Sequence[Any], tells: Connection | None = None
) -> SpawnProcess:
    """A process that is to serve, not started yet; on `tells` a Server of its own says that it accepts connections."""
    multiprocessing.allow_connection_pickling()
    args = (config, target, passed_to_a_process(sockets), _stdin(), tells)
    return multiprocessing.get_context("spawn").Process(target=subprocess_started, args=args)


def by_target(target: Any, sockets: Any) -> tuple[Target | None, Sequence[Any]]:
    """The two, where the sockets may stand in the target's place: by position, as uvicorn takes them from 0.51 on."""
    return (None, target) if target is not None and not callable(target) else (target, sockets)


def _stdin() -> int | None:
    """For debuggers."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None


class _Telling(Surroundings):
    """Those of a server whose parent waits for it."""

    def __init__(self, tells: Connection) -> None:
        self._tells = tells

    def started(self, server: Any) -> None:
        """It accepts connections."""
        with contextlib.suppress(OSError):
            self._tells.send(True)


def subprocess_started(
    config: Config, target: Target | None, sockets: list[Any], stdin_fileno: int | None, tells: Connection | None = None
) -> None:
    """In the new process; one that can't start exits with `STARTUP_FAILURE`."""
    if stdin_fileno is not None:
        with contextlib.suppress(OSError):
            sys.stdin = os.fdopen(stdin_fileno)
    if tells is not None:
        config.own_surroundings = _Telling(tells)
    try:
        config.own_set_logging_up()
        (Server(config).run if target is None else target)(sockets=sockets)
    except KeyboardInterrupt:
        # The one that has started it has had the same Ctrl+C.
        pass
    except UvicornWorkerError as exc:
        if not isinstance(exc, SystemExit):
            # Else the server has said it.
            logging.getLogger("uvicorn.error").error("%s", exc)
        sys.exit(STARTUP_FAILURE)
    finally:
        # multiprocessing ends the process without what is registered for that: lines that wait would be lost.
        close_logs()
