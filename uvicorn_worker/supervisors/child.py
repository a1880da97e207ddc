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

__all__ = ["Child", "Target"]

Target = Callable[..., Any]

# How long one that was told to end may take beyond what its options give it, in seconds, before it is killed.
_STOP_SECONDS = 5.0


class Child:
    """One of them, from its start on."""

    def __init__(self, config: Config, target: Target | None, sockets: Sequence[Any]) -> None:
        for sock in sockets:
            # From now on clients wait, and are not refused, whatever becomes of the processes that serve.
            sock.listen(config.backlog)
        multiprocessing.allow_connection_pickling()
        self._stop_within = _STOP_SECONDS + (config.timeout_graceful_shutdown or 0.0)
        self._began = time.monotonic()
        self._process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(config, target, list(sockets), _stdin())
        )
        self._process.start()

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """What it has ended with; None while it runs."""
        return self._process.exitcode

    @property
    def seconds(self) -> float:
        """For how long it runs."""
        return time.monotonic() - self._began

    def terminate(self) -> None:
        """Tell it to end."""
        if self._process.exitcode is None:
            self._process.terminate()

    def join(self) -> None:
        """Wait for the end of one that was told; what holds it up for too long is cut."""
        self._process.join(self._stop_within)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()


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
