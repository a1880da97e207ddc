"""A server that has no master: it has a board of its own, and hears SIGUSR2 as a worker does."""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading
import weakref
from typing import Any

from uvicorn_worker.board.board import Board, Slot
from uvicorn_worker.board.exposition import check_metrics
from uvicorn_worker.board.metrics import MetricsSocket, MetricsThread
from uvicorn_worker.server.in_flight import describe_flight
from uvicorn_worker.server.reporter import Reporter
from uvicorn_worker.server.server import Server

__all__ = ["report_alone"]


def report_alone(server: Server, board: Board | None = None, slot: Slot | None = None) -> None:
    """Let others see how the server is; called in its process, before it starts. Raises `ConfigError`.

    `board` is that of the process that has forked this one, with a slot for it.
    """
    is_own = board is None
    if board is None:
        board = Board.of_master()
        board.wanted = 1
        slot = board.add(1)
    sock = None
    if server.config.metrics_bind is not None:
        check_metrics()
        sock = MetricsSocket().at(server.config.metrics_bind)
        server.own_metrics = None if sock is None else MetricsThread(sock, board)
    if slot is not None:
        slot.pid = os.getpid()
        server.own_reporter = _Passing(slot, sock) if is_own else Reporter(slot)
    _servers[server] = os.getpid()
    _pause_before_forks()

    def tell(sig: int, frame: Any) -> None:
        server.own_log.warning("%s", describe_flight(server))

    if hasattr(signal, "SIGUSR2") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR2, tell)
        signal.siginterrupt(signal.SIGUSR2, False)


class _Passing(Reporter):
    """That of a server whose process may live on, and serve again with another: `run()` is called in a loop by some."""

    def __init__(self, slot: Slot, metrics: socket.socket | None) -> None:
        super().__init__(slot)
        self._metrics = metrics

    def end(self) -> None:
        """It is none of the workers any more; what it has counted is kept."""
        super().end()
        self._slot.left = self._slot.buried = True
        if self._metrics is not None:
            # A socket that nobody reads would go on getting its part of the connections (SO_REUSEPORT).
            self._metrics.close()


# Those of this process, and of the one that has forked it.
_servers: weakref.WeakKeyDictionary[Server, int] = weakref.WeakKeyDictionary()


@functools.cache
def _pause_before_forks() -> None:
    """Once for all servers: what is called before a fork is called for ever."""

    def before_fork() -> None:
        for server, owner in list(_servers.items()):
            if os.getpid() == owner:
                server.own_pause_threads()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before_fork)
