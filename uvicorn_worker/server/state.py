"""What can be seen of a server from outside, by the names that uvicorn has for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from uvicorn_worker.core.runtime import Runtime

__all__ = ["Listening", "ServerState"]


class ServerState:
    """Counters and sets of a server; empty before it has started."""

    def __init__(self) -> None:
        self._runtime: Runtime | None = None

    def show(self, runtime: Runtime) -> None:
        """The server has started: what is seen is that of its runtime."""
        self._runtime = runtime

    @property
    def total_requests(self) -> int:
        """How many requests were answered, and WebSockets ended."""
        return 0 if self._runtime is None else self._runtime.requests

    @property
    def connections(self) -> set[Any]:
        """The connections that are open."""
        return set() if self._runtime is None else self._runtime.connections

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of the requests that are in the application."""
        cycles = () if self._runtime is None else list(self._runtime.cycles)
        return {cycle.task for cycle in cycles if cycle.task is not None}

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The fields that every response gets, unless the application sets one of the same name."""
        lines = b"" if self._runtime is None else self._runtime.defaults.lines
        pairs = [line.partition(b":") for line in lines.split(b"\r\n") if line]
        return [(name, value.strip()) for name, _, value in pairs]


class Listening:
    """One socket that a server accepts on; `asyncio.Server` has the same words for it."""

    def __init__(self, sock: socket.socket, is_accepting: Callable[[], bool], leave: Callable[[], None]) -> None:
        self.sockets: tuple[socket.socket, ...] = (sock,)
        self._is_accepting = is_accepting
        self._leave = leave

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return bool(self.sockets) and self._is_accepting()

    def close(self) -> None:
        """Accept no more here; the server goes on with its connections, and with its other sockets."""
        for sock in self.sockets:
            self._leave()
            sock.close()
        self.sockets = ()

    async def wait_closed(self) -> None:
        """It is closed by the time that `close()` has returned."""
