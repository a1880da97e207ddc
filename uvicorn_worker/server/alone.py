"""A server that has no master: it has a board of its own, and hears SIGUSR2 as a worker does."""

from __future__ import annotations

import os
import signal
import threading
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
    if board is None:
        board = Board.of_master()
        board.wanted = 1
        slot = board.add(1)
    if slot is not None:
        slot.pid = os.getpid()
        server.reporter = Reporter(slot)
    if server.config.metrics_bind is not None:
        check_metrics()
        sock = MetricsSocket().at(server.config.metrics_bind)
        server.metrics = None if sock is None else MetricsThread(sock, board)
    owner = os.getpid()

    def before_fork() -> None:
        if os.getpid() == owner:
            server.pause_threads()

    def tell(sig: int, frame: Any) -> None:
        server.log.warning("%s", describe_flight(server))

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before_fork)
    if hasattr(signal, "SIGUSR2") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR2, tell)
        signal.siginterrupt(signal.SIGUSR2, False)
