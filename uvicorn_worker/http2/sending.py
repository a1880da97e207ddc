"""The sending half of an HTTP/2 connection: what leaves at once, and what waits for its turn.

What fits goes to the engine at once, and all of a turn of the event loop leaves in one write. What does not fit (the
client's windows are closed, its socket is full, others wait already) stays in the `pending` of its stream, and the
streams that have something pending take turns (scheduler.py).

    stream ─► engine ─► transport         nobody waits, the windows are open
       └► pending ─► row ─► engine        `pump()`, as windows open and the socket drains
"""

from __future__ import annotations

from collections import deque
from typing import Any

from uvicorn_worker.core.cycle import DONE, flush_heads
from uvicorn_worker.core.output import GATHER_LIMIT, Output
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http2.cycle import StreamCycle
from uvicorn_worker.http2.engine.interface import Engine
from uvicorn_worker.http2.scheduler import QUANTUM, QUICK_QUANTUM, Scheduler
from uvicorn_worker.http2.shared import Shared

__all__ = ["Sending"]

# The largest body that is sent at once; of a larger one, so much in one turn of the loop, so that others get theirs.
TURN_LIMIT = 262144
# The status of early hints (RFC 8297).
EARLY_HINTS = 103
# Bytes of bodies that are written before the turn ends: large ones are not copied, and each write costs a system call.
FLUSH_LIMIT = 131072


class Sending(Output):
    """Output that comes from an engine."""

    __slots__ = (
        "engine",
        "flush_due",
        "prepared",
        "pump_due",
        "pumping",
        "scheduler",
        "shared",
        "streams",
        "unflushed",
    )

    engine: Engine

    def __init__(self, runtime: Runtime, shared: Shared) -> None:
        super().__init__(runtime)
        self.shared = shared
        self.prepared = shared.fields
        self.streams: dict[int, StreamCycle] = {}
        self.scheduler: Scheduler[StreamCycle] = Scheduler()
        self.flush_due = False
        self.pump_due = False
        self.pumping = False
        # Bytes of bodies that the engine has and the transport has not.
        self.unflushed = 0

    # Hooks of the whole connection --------------------------------------------------------------------

    def response_complete(self, cycle: StreamCycle) -> None:
        """All of a response was handed to the engine."""
        raise NotImplementedError

    # Responses ---------------------------------------------------------------------------------------

    def respond(self, cycle: StreamCycle, fields: list[Any], body: bytes) -> None:
        """Send a whole response."""
        if not self.flush_due:
            self.flush_soon()
        free = not self.write_paused and not self.scheduler.count and len(body) <= TURN_LIMIT
        if free and self.engine.respond(cycle.stream_id, cycle.status, fields, body):
            self.unflushed += len(body)
            if self.unflushed > FLUSH_LIMIT:
                self.flush()
            self.response_complete(cycle)
            return
        self.engine.send_headers(cycle.stream_id, cycle.status, fields, not body)
        if body:
            self._keep(cycle, body)
        else:
            self.response_complete(cycle)

    def send_informational(self, cycle: StreamCycle, status: int, fields: list[Any]) -> None:
        """Send the head of a response before the final one; early hints unless they are off."""
        if status == EARLY_HINTS and not self.shared.early_hints:
            return
        self.engine.send_headers(cycle.stream_id, status, fields, False)
        self.flush_soon()

    def send_head(self, cycle: StreamCycle, fields: list[Any]) -> None:
        """Send the head of a response whose body comes in pieces."""
        self.engine.send_headers(cycle.stream_id, cycle.status, fields, False)
        self.flush_soon()

    def send_body(self, cycle: StreamCycle, body: bytes, last: bool) -> None:
        """Send a piece of a body; `last` ends the stream."""
        size = len(body)
        if not size and not last:
            return
        engine, stream_id = self.engine, cycle.stream_id
        self.flush_soon()
        free = not self.write_paused and not self.scheduler.count and size <= TURN_LIMIT
        if not cycle.pending and (not size or (free and size <= engine.window(stream_id))):
            engine.send_data(stream_id, body, last)
            self.unflushed += size
            if self.unflushed > FLUSH_LIMIT:
                self.flush()
            if last:
                self.response_complete(cycle)
        elif size:
            self._keep(cycle, body)

    def end_with_trailers(self, cycle: StreamCycle) -> None:
        """All of the trailers are there; they are sent behind what is pending."""
        if not cycle.pending:
            self._send_trailers(cycle)
            self.response_complete(cycle)

    def _send_trailers(self, cycle: StreamCycle) -> None:
        if cycle.trailers:
            self.engine.send_trailers(cycle.stream_id, cycle.trailers)
        else:
            self.engine.send_data(cycle.stream_id, b"", True)
        self.flush_soon()

    # Waiting -----------------------------------------------------------------------------------------

    def _keep(self, cycle: StreamCycle, body: bytes) -> None:
        """Keep what can't be sent now."""
        if cycle.pending is None:
            cycle.pending = deque()
            cycle.deadline = self._stream_deadline()
        cycle.pending.append(memoryview(body))
        self.scheduler.add(cycle)
        self.pump()

    def _stream_deadline(self) -> int:
        """The tick by which the client must have taken something of what a stream has pending."""
        ticks = self.runtime.write_ticks
        return self.runtime.tick + ticks if ticks else 0

    def windows_opened(self, stream_id: int) -> None:
        """The client takes more: of one stream, or (0) of any."""
        if stream_id:
            cycle = self.streams.get(stream_id)
            if cycle is not None and cycle.pending:
                self.scheduler.add(cycle)
        else:
            for cycle in self.streams.values():
                if cycle.pending:
                    self.scheduler.add(cycle)

    def pump(self) -> None:
        """Let the streams that wait send in turns, as far as the windows and the transport let them."""
        if self.pumping:
            return
        self.pumping = True
        engine, scheduler = self.engine, self.scheduler
        budget = TURN_LIMIT
        try:
            while budget > 0 and not self.write_paused:
                cycle = scheduler.next()
                if cycle is None:
                    return
                room = engine.window(cycle.stream_id)
                if room > 0:
                    budget -= self._send_pending(cycle, min(room, scheduler.share(budget)))
                    if self.unflushed > FLUSH_LIMIT:
                        self.flush()
                elif engine.connection_window() <= 0:
                    return
                else:
                    self.scheduler.remove(cycle)
        finally:
            self.pumping = False
        if scheduler.count and not self.write_paused and not self.pump_due:
            self.pump_due = True
            self.runtime.loop.call_soon(self._pump_turn)

    def _pump_turn(self) -> None:
        self.pump_due = False
        if not self.closing:
            # A whole turn's worth was written, and the client's socket has taken it.
            self.scheduler.quantum = QUANTUM if self.transport.get_write_buffer_size() else QUICK_QUANTUM
            self.pump()

    def pause_writing(self) -> None:
        """The client does not read as fast as the application sends: from now on short turns."""
        super().pause_writing()
        self.scheduler.quantum = QUANTUM

    def _send_pending(self, cycle: StreamCycle, most: int) -> int:
        """Send the first of what a stream has pending, `most` bytes of it; gives how many that were."""
        pending = cycle.pending
        if not pending:
            self.scheduler.remove(cycle)
            return 0
        piece = pending[0]
        if len(piece) <= most:
            pending.popleft()
        else:
            pending[0] = piece[most:]
            piece = piece[:most]
        done = not pending and cycle.stage == DONE
        size = len(piece)
        self.engine.send_data(cycle.stream_id, piece, done and not cycle.trailing)
        self.unflushed += size
        self.flush_soon()
        if pending:
            cycle.deadline = self._stream_deadline()
            return size
        cycle.pending = None
        cycle.deadline = 0
        self.scheduler.remove(cycle)
        cycle.drained()
        if done:
            if cycle.trailing:
                self._send_trailers(cycle)
            self.response_complete(cycle)
        return size

    # Writing -----------------------------------------------------------------------------------------

    def flush_soon(self) -> None:
        """Write when this turn of the loop ends."""
        if not self.flush_due:
            self.flush_due = True
            self.runtime.loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self.flush_due = False
        if self.runtime.held:
            flush_heads(self.runtime)
        self.flush()

    def flush(self) -> None:
        """Hand what the engine has to the transport, unless the client does not read what it was given already."""
        if not self.write_paused and not self.closing:
            self._flush_all()

    def _flush_all(self) -> None:
        self.unflushed = 0
        pieces = self.engine.data_to_send()
        if not pieces:
            return
        if self.transport.is_closing():
            # The client is gone, which is said in a later turn: an application that never waits has to wait for that.
            self.write_paused = True
            return
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        self.runtime.tally.bytes_out += size
        self.sent += size + self.tls_overhead
        if len(pieces) == 1:
            self.transport.write(pieces[0])
        elif size > GATHER_LIMIT:
            self.write_many(pieces, size)  # type: ignore[arg-type]  # memoryviews are bytes to it
        else:
            self.transport.write(b"".join(pieces))

    def close(self) -> None:
        """Close when all that was written has left."""
        if not self.closing:
            self._flush_all()
        super().close()

    def close_gently(self) -> None:
        """Close when the client has read what there is for it: GOAWAY, at least."""
        if not self.closing:
            self._flush_all()
        super().close_gently()
