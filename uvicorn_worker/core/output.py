"""The writing and closing half of a connection.

gathered ─► transport               what is sent in one turn of the loop leaves in one write
open ─► lingering ─► closed         after an answer that must not be lost to a reset
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import ClassVar

from uvicorn_worker.core.address import client_address, peer_name
from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.kernel import send_end, unread_in_kernel, unsent_by_kernel, write_at_once
from uvicorn_worker.core.runtime import Runtime

__all__ = ["ALLOWED_BYTES", "ANSWERED", "CLOSING_TICKS", "DIRECT_PIECES", "NEW_TICKS", "Output"]

# For how long a connection counts as new: its client has opened it to ask, and may only have had no time yet.
NEW_TICKS = ticks(1.0)

# Gathered output leaves at once from this size on, so that the transport's own limits see it.
GATHER_LIMIT = 65536
# While the client's socket takes all that is written, that size doubles up to this: fewer system calls.
QUICK_GATHER_LIMIT = 262144
# Pieces that are smaller than this on average are joined: each costs as much as copying some KiB.
JOINED_PIECE = 4096
# So many pieces are given to the socket itself: for fewer, uvloop is as fast.
DIRECT_PIECES = 8
# How much is read and dropped after an answer that closes the connection, so that the client can read it: a close
# with unread bytes in the socket becomes a reset (RFC 9112, 9.6). More is allowed of what the client is known to send.
LINGER_BYTES = 1048576
ALLOWED_BYTES = 67108864
# How a body in chunks ends, but for trailers (RFC 9112, 7.1). It is looked for at the end of a read only: it tells when
# our side may end, which is in time anyway.
LAST_CHUNK = b"0\r\n\r\n"
# For how long, after the client has taken all of it and has sent nothing; and for how long in all.
LINGER_TICKS = ticks(2.0)
LINGER_TOTAL_TICKS = ticks(30.0)
# How long a connection that is closed at a stop is lingered on, in seconds: the stop is not to wait for long.
STOP_LINGER_SECONDS = 0.3
# How long a client that is to be left may take none of what was written for it, if timeout_write is no less.
CLOSING_TICKS = ticks(30.0)
# The least that a TLS record adds to what is written (TLS 1.2 with ChaCha20; TLS 1.3 adds 22): to count more than there
# is would look as if the client had taken it.
RECORD_OVERHEAD = 21
# Stands in `sent` for a response that was written without being counted: more than any client takes in a tick.
ANSWERED = 1 << 40


class Output(asyncio.Protocol):
    """Gathers what is sent, and closes in the way that the client deserves."""

    __slots__ = (
        "__weakref__",
        "awaits_rest",
        "closing",
        "deadline",
        "dropped",
        "dropped_before",
        "gather_limit",
        "gathered",
        "gathered_size",
        "holds_end",
        "linger_end",
        "rerun_flush",
        "rest_until",
        "runtime",
        "sent",
        "tls_overhead",
        "transport",
        "unsent",
        "write_deadline",
        "write_paused",
    )

    # What is spoken on it, as the board says it (core/figures.py).
    speaks: ClassVar[str] = "http/1.1"

    transport: asyncio.Transport

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        # The tick at which on_deadline() is called; 0 for none.
        self.deadline = 0
        # Before this tick on_tick() has nothing to do, unless something comes or is sent; 0: it may have. Below 0 the
        # connection is new, for so many ticks more.
        self.rest_until = -NEW_TICKS
        self.gathered: list[bytes] | None = None
        self.gathered_size = 0
        # What is written at once, be there more to come in this turn or not.
        self.gather_limit = GATHER_LIMIT
        self.rerun_flush = False
        self.write_paused = False
        self.closing = False
        # Bytes that were read and dropped: empty lines before a request, or what came after the last answer; and how
        # many they were when that was looked at last.
        self.dropped = 0
        self.dropped_before = 0
        # Whether it is known how much comes after the last answer: all of it has where `dropped` is not below 0.
        self.awaits_rest = False
        # Whether our side stays open until that has come: the answer says where it ends itself, and a proxy without
        # half-closed connections (most that end TLS) would take the end of one side for that of both.
        self.holds_end = False
        self.linger_end = 0
        # What TLS adds to each write; 0 without it.
        self.tls_overhead = 0
        # What the client had not taken at the last tick, what was written since, and when it must have taken some.
        self.unsent = 0
        self.sent = 0
        self.write_deadline = 0

    def use_transport(self, transport: asyncio.Transport) -> None:
        """Write to `transport` from now on."""
        self.transport = transport
        if not transport.can_write_eof():
            # TLS has no half-closed connections.
            self.tls_overhead = RECORD_OVERHEAD

    @property
    def peer(self) -> str:
        """The client's address for the log."""
        return peer_name(client_address(self.transport))

    # Writing -----------------------------------------------------------------------------------------

    def gather(self, data: bytes) -> None:
        """Keep `data` until this turn of the loop ends, or until there is enough for a write."""
        gathered = self.gathered
        if gathered is None:
            self.gathered = [data]
            self.gathered_size = len(data)
            # As `write_at_end_of_turn`, without the call.
            runtime = self.runtime
            if not runtime.writing:
                runtime.loop.call_soon(runtime.end_turn)
            runtime.writing.append(self)
        else:
            gathered.append(data)
            self.gathered_size += len(data)
        if self.gathered_size >= self.gather_limit:
            self.flush()
            if self.gather_limit < QUICK_GATHER_LIMIT and not self.transport.get_write_buffer_size():
                self.gather_limit *= 2

    def end_turn(self) -> None:
        """The turn of the loop in which something was gathered is over."""
        if self.gathered is None:
            return
        if self.rerun_flush:
            # A pipelined request was started in this turn and may answer in the next: one write for both.
            self.rerun_flush = False
            self.runtime.loop.call_soon(self.end_turn)
            return
        self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the transport."""
        gathered, self.gathered = self.gathered, None
        if not gathered:
            return
        self.rest_until = 0
        if self.transport.is_closing():
            # The client is gone, which is said in a later turn: an application that never waits has to wait for that.
            self.write_paused = True
            return
        size = self.gathered_size
        self.runtime.tally.bytes_out += size
        self.sent += size + self.tls_overhead
        if size > GATHER_LIMIT and JOINED_PIECE < size // len(gathered) < size:
            self.write_many(gathered, size)
        else:
            self.transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def take_gathered(self) -> bytes:
        """What was gathered and has not left, which is now the caller's to send."""
        gathered, self.gathered = self.gathered, None
        return b"".join(gathered) if gathered else b""

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Write at once pieces that are too large to be joined."""
        self.rest_until = 0
        if self.gathered is not None:
            pieces = self.gathered + pieces
            self.gathered = None
        size = sum(map(len, pieces))
        self.runtime.tally.bytes_out += size
        self.write_many(pieces, size)

    def write_many(self, pieces: list[bytes], size: int) -> None:
        """Write pieces, of `size` bytes together, in the way that keeps the memory bounded."""
        if len(pieces) >= DIRECT_PIECES and not self.tls_overhead:
            pieces = write_at_once(self.transport, pieces, size)
            if not pieces:
                return
        if self.runtime.can_writelines:
            self.transport.writelines(pieces)
        else:
            self.transport.write(b"".join(pieces))

    def pause_writing(self) -> None:
        """The client does not read as fast as the application sends: no more is held for it than must be."""
        self.write_paused = True
        self.gather_limit = GATHER_LIMIT

    # Reading of what is not wanted --------------------------------------------------------------------

    def drop(self, data: bytes | memoryview) -> None:
        """Count what comes after the last answer; a client that does not stop is cut off."""
        self.dropped += len(data)
        came = self.dropped >= 0 if self.awaits_rest else self.holds_end and data[-5:] == LAST_CHUNK
        if self.dropped > LINGER_BYTES:
            self.transport.abort()
        elif came and not self.transport.is_closing():
            # A client that reads to the end of the connection has seen none yet.
            if self.tls_overhead:
                self.close()
            elif self.holds_end:
                self.holds_end = False
                self._end_side()

    def allow_dropping(self, size: int, *, known: bool = False, hold_end: bool = False) -> None:
        """The client may send `size` more bytes that nobody wants, and is to see why; `known`: and it will.

        With `hold_end` our side stays open meanwhile.
        """
        self.dropped -= min(size, ALLOWED_BYTES)
        self.awaits_rest = known and size <= ALLOWED_BYTES
        self.holds_end = hold_end

    # Time --------------------------------------------------------------------------------------------

    def on_tick(self, tick: int) -> None:
        """Called twice a second."""
        if self.rest_until < 0:
            self.rest_until += 1
        size = self.transport.get_write_buffer_size()
        if size or self.tls_overhead or self.write_deadline or 0 < self.sent < ANSWERED:
            # Also where something was sent of a response that goes on: little of it is all with the kernel, which would
            # go on trying for a quarter of an hour to reach a client that has vanished.
            self.watch_client(tick, size)
        else:
            self.sent = 0
        if 0 < self.deadline <= tick:
            self.deadline = 0
            self.on_deadline()

    @property
    def all_taken(self) -> bool:
        """Whether the client has all that was written, as far as the last tick could see."""
        return not (self.write_deadline or self.sent or self.unsent or self.transport.get_write_buffer_size())

    def watch_client(self, tick: int, size: int) -> None:
        """Cut a client that takes none of what waits for it; `size` bytes of that are still with the transport.

        What the kernel holds belongs to it: the transport sees nothing of a slow client before it has taken a good
        part of that. And the transport of TLS writes to another one, which is out of sight.
        """
        size += unsent_by_kernel(self.transport)
        taken = self.unsent + self.sent - size
        self.unsent, self.sent = size, 0
        if not size:
            self.write_deadline = 0
            return
        if self.deadline:
            self.on_slow_client(tick)
        limit = self.runtime.write_ticks
        if self.closing and not 0 < limit < CLOSING_TICKS:
            limit = CLOSING_TICKS
        latest = tick + limit if limit else 0
        if taken > 0 or not self.write_deadline:
            self.write_deadline = latest
        elif self.write_deadline > tick:
            self.write_deadline = min(self.write_deadline, latest)
        else:
            self.runtime.log.info("%s took nothing of what waits for it in time: the connection is cut", self.peer)
            self.reset()

    def on_slow_client(self, tick: int) -> None:
        """The client is still taking what was written: the time to linger begins when it has all of it."""
        if self.closing:
            self.deadline = tick + LINGER_TICKS

    def on_deadline(self) -> None:
        """The tick `deadline` has come; a hook of the whole connection."""
        raise NotImplementedError

    def unsent_size(self) -> int:
        """How much the client has not taken of what was written, as far as we would hold it back by closing."""
        size = self.transport.get_write_buffer_size()
        return size + unsent_by_kernel(self.transport) if self.tls_overhead else size

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and the connection is not being closed; a hook of the whole connection."""
        raise NotImplementedError

    @property
    def lingering(self) -> bool:
        """Whether everything was sent that will be, and only the client's end is waited for."""
        return self.closing and self.gathered is None and not self.unsent_size()

    def drain(self) -> None:
        """The server stops; a hook for protocols that have something to say then."""

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way on it; a hook of the whole connection."""
        raise NotImplementedError

    # Closing -----------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Cut the connection at once."""
        self.transport.abort()

    def close(self) -> None:
        """Close when all that was written has left; nothing more is expected from the client."""
        if self.tls_overhead and self.gathered is not None and (hold := getattr(self.transport, "hold", None)):
            # One write for the answer and for close_notify.
            hold()
        self.flush()
        self.closing, self.rest_until = True, 0
        # TLS is closed when the client has answered close_notify, and one that does not look does not answer.
        self.deadline = self.runtime.tick + LINGER_TICKS if self.tls_overhead else 0
        if not self.transport.is_closing():
            self.transport.close()

    def close_gently(self) -> None:
        """Close after an answer that the client may not have read yet, while it may still be sending.

        Our side is closed first, unless its end is held back; what comes is dropped until the client closes, or a
        bound is reached.
        """
        if self.closing:
            return
        self.flush()
        self.closing, self.rest_until = True, 0
        tick = self.runtime.tick
        if not self.tls_overhead and not self.holds_end and not self.transport.is_closing():
            self._end_side()
        self.deadline = tick + LINGER_TICKS
        self.linger_end = tick + LINGER_TOTAL_TICKS
        self.dropped_before = self.dropped

    def _end_side(self) -> None:
        """End our side of the connection, and read on."""
        try:
            self.transport.write_eof()
        except OSError:
            # The client has reset the connection, which nobody has read yet.
            self.transport.abort()

    def close_idle(self) -> None:
        """Close a connection on which nothing has come, as was seen right before: from then on each moment counts."""
        if not self.tls_overhead and self.gathered is None:
            send_end(self.transport, self.runtime.loop)
        self.close_in_order()

    def close_in_order(self) -> None:
        """Close where the client may send a next request in the same moment: it sees an end, and no reset."""
        if self.tls_overhead:
            # The transport reads on until the client has answered close_notify.
            self.close()
        else:
            self.close_gently()
        if self.runtime.draining:
            self.hasten()

    def is_idle_indeed(self) -> bool:
        """Whether a connection that has been idle for too long still is; if not, it gets another deadline."""
        runtime, transport = self.runtime, self.transport
        if unread_in_kernel(transport):
            # A request has come in this very moment, and is served.
            self.deadline = runtime.tick + 1
            return False
        if not runtime.draining and (transport.get_write_buffer_size() or unsent_by_kernel(transport)):
            # The client has not taken all of the last response, from where on it will be idle.
            self.deadline = runtime.tick + runtime.keep_alive_ticks
            self.write_deadline = self.write_deadline or runtime.tick + (runtime.write_ticks or CLOSING_TICKS)
            return False
        return True

    def hasten(self) -> None:
        """The server stops: don't linger for long, unless the client is known to be sending."""
        if self.deadline and not self.dropped:
            self.deadline = 0
            self.runtime.loop.call_later(STOP_LINGER_SECONDS, self._end_hastened)

    def _end_hastened(self) -> None:
        if self in self.runtime.connections and not self.unsent_size():
            self.transport.abort()

    def end_linger(self) -> None:
        """The time to linger is over, unless the client is still sending."""
        tick = self.runtime.tick
        if self.dropped != self.dropped_before and tick < self.linger_end:
            self.dropped_before = self.dropped
            self.deadline = tick + LINGER_TICKS
        elif self.tls_overhead and not self.transport.is_closing():
            # Without a close_notify a client would take the end of the answer for a cut.
            self.close()
        else:
            self.transport.abort()

    def reset(self) -> None:
        """Cut the connection so that its end can't be taken for the end of the body."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.gathered = None
        self.closing, self.rest_until = True, 0
        self.deadline = 0
        self.transport.abort()
