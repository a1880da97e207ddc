"""What can be seen of a server from outside, by the names that uvicorn has for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

from uvicorn_worker.core.runtime import Runtime

__all__ = ["Connection", "Connections", "Listening", "ServerState"]


class ServerState:
    """Counters and sets of a server; empty before it has started."""

    def __init__(self) -> None:
        self._own_runtime: Runtime | None = None
        self._own_tasks: set[asyncio.Task[None]] = set()

    def _own_show(self, runtime: Runtime) -> None:
        """The server has started: what is seen is that of its runtime."""
        self._own_runtime, self._own_tasks = runtime, set()

    def _own_show_tasks(self, tasks: set[asyncio.Task[None]]) -> None:
        """Those of protocol classes of somebody's own (brought_protocols.py)."""
        self._own_tasks = tasks

    @property
    def total_requests(self) -> int:
        """How many requests were answered, and WebSockets ended."""
        return 0 if self._own_runtime is None else self._own_runtime.requests

    @property
    def connections(self) -> Connections:
        """The connections that are open."""
        return Connections(self._own_runtime)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of the requests that are in the application."""
        cycles = () if self._own_runtime is None else list(self._own_runtime.cycles)
        return {*self._own_tasks, *(cycle.task for cycle in cycles if cycle.task is not None)}

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The fields that every response gets, unless the application sets one of the same name."""
        lines = b"" if self._own_runtime is None else self._own_runtime.defaults.lines
        pairs = [line.partition(b":") for line in lines.split(b"\r\n") if line]
        return [(name, value.strip()) for name, _, value in pairs]

    @default_headers.setter
    def default_headers(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Set by an `on_tick()` that somebody has written anew, each second, with the date in them."""
        if self._own_runtime is not None:
            self._own_runtime.defaults.give(fields)


class Connections(Set["Connection"]):
    """Those of a server, at any time: what is open now."""

    def __init__(self, runtime: Runtime | None) -> None:
        self._runtime = runtime

    def __contains__(self, item: object) -> bool:
        return any(item == connection for connection in self)

    def __iter__(self) -> Iterator[Connection]:
        runtime = self._runtime
        if runtime is not None:
            for each in list(runtime.connections):
                # What stands for tasks that run has none (brought_protocols.py).
                if getattr(each, "transport", each) is not None:
                    yield Connection(each, runtime)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @classmethod
    def _from_iterable(cls, it: Any) -> Any:
        # What is made of two of them does not change with the server.
        return set(it)


class Connection:
    """One connection, for a `shutdown()` of one's own, and for those who tell what it waits for."""

    def __init__(self, protocol: Any, runtime: Runtime) -> None:
        self._protocol = protocol
        self._runtime = runtime

    @property
    def transport(self) -> Any:
        """Its transport."""
        return getattr(self._protocol, "transport", None) or getattr(self._protocol, "_transport", None)

    @property
    def scope(self) -> Any:
        """That of its request, of one of them over HTTP/2; None between two."""
        cycles = (each for each in list(self._runtime.cycles) if getattr(each, "conn", None) is self._protocol)
        return next((each.scope for each in cycles), None)

    def shutdown(self) -> None:
        """The server stops: close it, at once where it is idle, and with the end of its request where one runs."""
        runtime, protocol = self._runtime, self._protocol
        runtime.draining = True
        protocol.drain()
        for cycle in list(runtime.cycles):
            if cycle.websocket and getattr(cycle, "conn", None) is protocol:
                cycle.drain()
        protocol.close_if_idle()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and self._protocol is other._protocol

    def __hash__(self) -> int:
        return hash(self._protocol)


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
