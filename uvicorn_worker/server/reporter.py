"""What a server says of itself on the board (board/board.py): at each tick, when it stops, and at its end.

The hot path knows nothing of it. It counts in the `Tally` of the runtime, and what is under way is in its sets anyway.
"""

from __future__ import annotations

import time
from collections import Counter, deque

from uvicorn_worker.board.board import BEAT_SECONDS, BOOTING, ENDED, SERVING, TOLD, Slot
from uvicorn_worker.core.clock import TICK
from uvicorn_worker.core.figures import words_of
from uvicorn_worker.core.runtime import CycleView, Runtime
from uvicorn_worker.interfaces.threads import threads_at_work
from uvicorn_worker.logs.in_flight import is_websocket
from uvicorn_worker.server.acceptor import Acceptor
from uvicorn_worker.server.memory import resident_bytes

__all__ = ["Reporter"]

# The highest lag is that of so many ticks.
_LAG_TICKS = int(60 / TICK)
# How often the memory is looked at; and what is under way, where there is so much of it that looking takes time.
_MEMORY_TICKS = 4
_MANY = 2000
_MANY_TICKS = 4


class Reporter:
    """Writes the slot of one server."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._runtime: Runtime | None = None
        self._acceptor: Acceptor | None = None
        self._lags: deque[float] = deque(maxlen=_LAG_TICKS)
        self._ticks = 0
        self._gauges: dict[str, int] = {}

    # Its life ----------------------------------------------------------------------------------------

    def begin(self, runtime: Runtime, acceptor: Acceptor) -> None:
        """The server serves."""
        self._runtime, self._acceptor = runtime, acceptor
        if self._slot.state == BOOTING:
            self._slot.state = SERVING
        if runtime.paths is not None:
            self._slot.paths.begin(runtime.paths.names)
        self.on_tick(0.0)

    def stops(self, told: bool) -> None:
        """From now on it is to be asked for no more; also in a signal handler."""
        if self._slot.state == SERVING:
            self._slot.state = TOLD if told else ENDED

    def leaves(self, cause: int, detail: int = 0) -> None:
        """Say why it leaves, unless that was said already; also in a signal handler."""
        if not self._slot.cause[0]:
            self._slot.cause = cause, detail

    # Figures -----------------------------------------------------------------------------------------

    def on_tick(self, lag: float) -> None:
        """Write all figures; `lag` is how late the tick was, in seconds."""
        runtime = self._runtime
        if runtime is None:
            return
        self._lags.append(lag)
        many = len(runtime.connections) + len(runtime.cycles) > _MANY
        if not many or self._ticks % _MANY_TICKS == 0:
            self._look(runtime)
        gauges = self._gauges
        gauges["lag"], gauges["lag_most"] = int(lag * 1e9), int(max(self._lags) * 1e9)
        if self._ticks % _MEMORY_TICKS == 0:
            gauges["rss"] = resident_bytes()
        self._ticks += 1
        self._write(runtime)

    def end(self) -> None:
        """Write what there is at the end, and that it has come to it in order."""
        if self._runtime is not None:
            self._look(self._runtime)
            self._write(self._runtime)

    def _write(self, runtime: Runtime) -> None:
        self._slot.write(words_of({**self._gauges, **runtime.tally.figures()}))
        if runtime.paths is not None:
            self._slot.paths.write(runtime.paths.counters)
        self._slot.beat = time.monotonic_ns()

    def _look(self, runtime: Runtime) -> None:
        """See what is under way."""
        websockets = idle = http2 = streams = 0
        oldest: CycleView | None = None
        for cycle in runtime.cycles:
            if cycle.websocket and is_websocket(cycle):
                websockets += 1
            elif oldest is None or cycle.started < oldest.started:
                oldest = cycle
        # Of thousands of connections most are at rest: they are counted, and not asked.
        resting = Counter([type(connection) for connection in runtime.connections if connection.rest_until > 0])
        for kind, number in resting.items():
            speaks = getattr(kind, "speaks", "")
            if speaks != "websocket":
                idle += number
            if speaks == "http/2":
                http2 += number
        for connection in [connection for connection in runtime.connections if connection.rest_until <= 0]:
            if connection.idle:
                idle += 1
            if getattr(connection, "speaks", "") == "http/2":
                http2 += 1
                streams += len(getattr(connection, "streams", ()))
        busy, threads = threads_at_work()
        acceptor = self._acceptor
        full = acceptor is not None and acceptor.is_full
        limit = runtime.limit_cycles
        self._gauges.update(
            connections=len(runtime.connections) + (0 if acceptor is None else acceptor.pending),
            idle=idle,
            requests=len(runtime.cycles) - websockets,
            websockets=websockets,
            http2_connections=http2,
            http2_streams=streams,
            oldest_since=0 if oldest is None else int(oldest.started * 1e9),
            threads_busy=busy,
            threads=threads,
            at_limit=int(full or bool(limit and len(runtime.cycles) >= limit)),
        )
        self._slot.oldest = "" if oldest is None else _name_of(oldest)

    # From the thread that watches the loop --------------------------------------------------------------

    def on_silence(self) -> None:
        """Where the loop stands still: what was begun since the last tick, and may be what holds it, is in flight too,
        and what was counted is counted.

        Called from another thread, again and again.
        """
        runtime, slot = self._runtime, self._slot
        if runtime is None or time.monotonic_ns() - slot.beat < BEAT_SECONDS * 1e9:
            return
        slot.raise_counters(words_of(runtime.tally.figures_so_far()))
        if runtime.paths is not None:
            slot.paths.raise_to(runtime.paths.counters)
        running = [cycle for cycle in list(runtime.cycles) if not (cycle.websocket and is_websocket(cycle))]
        if running:
            oldest = min(running, key=lambda cycle: cycle.started)
            slot.say_in_flight(len(running), int(oldest.started * 1e9), _name_of(oldest))


def _name_of(cycle: CycleView) -> str:
    kind = "WebSocket" if cycle.websocket else cycle.scope["method"]
    return f"{kind} {cycle.target.decode('latin-1')}"
