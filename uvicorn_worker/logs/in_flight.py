"""What is under way, in words: for the log of a drain, and of a worker that is blocked."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from uvicorn_worker.core.address import peer_name
from uvicorn_worker.core.log import count, escaped
from uvicorn_worker.core.records import record
from uvicorn_worker.core.runtime import Connection, CycleView

__all__ = ["Census", "census", "describe_cycles", "has_begun", "has_length", "named_cycles", "running_task"]

# How many requests one line names.
_NAMED = 3


def describe_cycles(
    cycles: Collection[CycleView], now: float, running: asyncio.Task[object] | None = None
) -> list[str]:
    """A line for each request in the application, the oldest first: method, target, age and client.

    `now` is of time.monotonic(); `running` is the task that has the event loop, whose request is marked. Made of what
    does not change, so that it can be called from a signal handler.
    """
    lines = []
    for cycle in sorted(cycles, key=lambda cycle: cycle.started):
        peer = peer_name(cycle.scope["client"])
        kind = "WebSocket" if is_websocket(cycle) else cycle.scope["method"]
        target = escaped(cycle.target.decode("latin-1"))
        line = f"{kind} {target} for {max(now - cycle.started, 0.0):.1f} s, from {peer}"
        # A request that is in its first step has no task yet where tasks start eagerly (Python 3.12).
        if running is not None and cycle.task in (running, None):
            line += " (it has the event loop)"
        lines.append(line)
    return lines


def named_cycles(cycles: Collection[CycleView], now: float) -> str:
    """`GET /slow, 4.1 s; WebSocket /chat, 2.0 s`: the oldest of them, and how many others there are."""
    oldest = sorted(cycles, key=lambda cycle: cycle.started)
    parts = []
    for cycle in oldest[:_NAMED]:
        kind = "WebSocket" if is_websocket(cycle) else cycle.scope["method"]
        target = escaped(cycle.target.decode("latin-1"))
        parts.append(f"{kind} {target}, {max(now - cycle.started, 0.0):.1f} s")
    if len(oldest) > _NAMED:
        parts.append(f"and {len(oldest) - _NAMED} more")
    return "; ".join(parts)


def running_task(loop: asyncio.AbstractEventLoop) -> asyncio.Task[object] | None:
    """The task that has the event loop, seen from a signal handler or from another thread."""
    return asyncio.current_task(loop)


def has_begun(cycle: CycleView) -> bool:
    """Whether its response has begun: before, a cycle has no status at all."""
    return bool(getattr(cycle, "status", 0))


def has_length(cycle: CycleView) -> bool:
    """Whether the response that has begun has told its length, so that it comes to an end by itself."""
    return getattr(cycle, "length", None) is not None


def is_websocket(cycle: CycleView) -> bool:
    """Whether the cycle is a WebSocket that was accepted."""
    status = getattr(cycle, "status", 0)
    # 101 on HTTP/1.1, and 200 to a CONNECT on HTTP/2 (RFC 8441).
    opened = status == 101 or (status == 200 and cycle.scope.get("method") == "CONNECT")
    return opened or cycle.scope["type"] == "websocket"


@record(frozen=True, eq=False, repr=False)
class Census:
    """How much is under way: requests that were not answered yet, responses being sent, WebSockets, connections."""

    requests: int
    streams: int
    websockets: int
    idle: int
    other: int
    """Connections that are neither idle nor have a request in the application: half-read heads, or being closed."""

    def __str__(self) -> str:
        parts = [
            count(self.requests, "request"),
            count(self.websockets, "WebSocket"),
            count(self.streams, "stream"),
            count(self.idle, "idle connection"),
        ]
        if self.other:
            parts.append(f"{count(self.other, 'connection')} in reading or closing")
        return ", ".join(parts)


def census(cycles: Collection[CycleView], connections: Collection[Connection], pending: int = 0) -> Census:
    """Count what is under way; `pending` sockets are on their way to a connection."""
    websockets = sum(map(is_websocket, cycles))
    # The status is known once the response has begun.
    streams = sum(map(has_begun, cycles)) - websockets
    idle = sum(1 for connection in connections if connection.idle)
    return Census(
        requests=len(cycles) - streams - websockets,
        streams=max(streams, 0),
        websockets=websockets,
        idle=idle,
        other=max(len(connections) - idle - len(cycles), 0) + pending,
    )
