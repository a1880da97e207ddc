"""A process in which a target serves on sockets of the one that has started it."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import SpawnProcess
from typing import Any

from uvicorn_worker.cli.run import STARTUP_FAILURE
from uvicorn_worker.core.errors import LifespanError, UvicornWorkerError
from uvicorn_worker.server import Config, Server

__all__ = ["Process", "Target", "by_target", "get_subprocess"]

Target = Callable[..., Any]

# How long one that was told to end may take beyond what its options give it, in seconds, before it is killed.
_STOP_SECONDS = 5.0


class Process:
    """One of them, which serves from `start()` on; without a `target` it has a Server of its own."""

    def __init__(self, config: Config, target: Any = None, sockets: Any = ()) -> None:
        target, sockets = by_target(target, sockets)
        self._listened, self._backlog = sockets, config.backlog
        self._stop_within = _STOP_SECONDS + (config.timeout_graceful_shutdown or 0.0)
        self._began = time.monotonic()
        self.process: SpawnProcess = get_subprocess(config, target, sockets)

    def start(self) -> Process:
        """Let it serve; gives itself."""
        for sock in self._listened:
            # From now on clients wait, and are not refused, whatever becomes of the processes that serve.
            sock.listen(self._backlog)
        self._began = time.monotonic()
        self.process.start()
        return self

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self.process.pid

    @property
    def exitcode(self) -> int | None:
        """What it has ended with; None while it runs."""
        return self.process.exitcode

    @property
    def seconds(self) -> float:
        """For how long it runs."""
        return time.monotonic() - self._began

    def terminate(self) -> None:
        """Tell it to end."""
        if self.process.exitcode is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def is_alive(self, timeout: float = 0.0) -> bool:
        """Whether it runs; nothing is waited for."""
        return self.process.is_alive()

    def join(self) -> None:
        """Wait for the end of one that was told; what holds it up for too long is cut."""
        self.process.join(self._stop_within)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()


def get_subprocess(config: Config, target: Target | None, sockets: Sequence[Any]) -> SpawnProcess:
    """A process that is to serve, not started yet."""
    multiprocessing.allow_connection_pickling()
    return multiprocessing.get_context("spawn").Process(target=_serve, args=(config, target, list(sockets), _stdin()))


def by_target(target: Any, sockets: Any) -> tuple[Target | None, Sequence[Any]]:
    """The two, where the sockets may stand in the target's place: by position, as uvicorn takes them from 0.51 on."""
    return (None, target) if target is not None and not callable(target) else (target, sockets)


def _stdin() -> int | None:
    """For debuggers."""
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _serve(config: Config, target: Target | None, sockets: list[Any], stdin: int | None) -> None:
    """In the new process; one that can't start exits with `STARTUP_FAILURE`."""
    if stdin is not None:
        with contextlib.suppress(OSError):
            sys.stdin = os.fdopen(stdin)
    try:
        config.set_logging_up()
        (Server(config).run if target is None else target)(sockets=sockets)
    except KeyboardInterrupt:
        # The one that has started it has had the same Ctrl+C.
        pass
    except UvicornWorkerError as exc:
        if not isinstance(exc, LifespanError):
            # Of a lifespan the server has said it.
            logging.getLogger("uvicorn.error").error("%s", exc)
        sys.exit(STARTUP_FAILURE)
