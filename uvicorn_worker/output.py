"""The writing and closing half of an HTTP/1.1 connection.

gathered ─► transport               what is sent in one turn of the loop leaves in one write
open ─► lingering ─► closed         after an answer that must not be lost to a reset
"""

from __future__ import annotations

import asyncio
import socket
import struct

from uvicorn_worker.clock import ticks
from uvicorn_worker.runtime import Runtime, unsent_by_kernel

__all__ = ["Output"]

# Gathered output leaves at once above this size, so that the transport's own limits see it.
GATHER_LIMIT = 65536
# How much is read and dropped, and for how long, after an answer that closes the connection, so that the
# client can read it: a close with unread bytes in the socket becomes a reset (RFC 9112, 9.6).
LINGER_BYTES = 1048576
ALLOWED_BYTES = 67108864
LINGER_SECONDS = 2.0
# For how many such periods a client that is to be left may take none of what was written for it.
STALL_PERIODS = 15


class Output(asyncio.Protocol):
    """Gathers what is sent, and closes in the way that the client deserves."""

    __slots__ = (
        "__weakref__",
        "closing",
        "deadline",
        "dropped",
        "gathered",
        "gathered_size",
        "rerun_flush",
        "runtime",
        "stalls",
        "transport",
        "unsent",
        "write_paused",
    )

    transport: asyncio.Transport

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        # The tick at which on_deadline() is called; 0 for none.
        self.deadline = 0
        self.gathered: list[bytes] | None = None
        self.gathered_size = 0
        self.rerun_flush = False
        self.write_paused = False
        self.closing = False
        # Bytes that were read and dropped: empty lines before a request, or what came after the last answer.
        self.dropped = 0
        # What the client had not taken yet when that was looked at last, while it is waited for.
        self.unsent = 0
        self.stalls = 0

    # Writing -----------------------------------------------------------------------------------------

    def gather(self, data: bytes) -> None:
        """Keep `data` until this turn of the loop ends, or until there is enough for a write."""
        gathered = self.gathered
        if gathered is None:
            self.gathered = [data]
            self.gathered_size = len(data)
            self.runtime.loop.call_soon(self._flush_turn)
        else:
            gathered.append(data)
            self.gathered_size += len(data)
        if self.gathered_size > GATHER_LIMIT:
            self.flush()

    def _flush_turn(self) -> None:
        if self.gathered is None:
            return
        if self.rerun_flush:
            # A pipelined request was started in this turn and may answer in the next: one write for both.
            self.rerun_flush = False
            self.runtime.loop.call_soon(self._flush_turn)
            return
        self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the transport."""
        gathered, self.gathered = self.gathered, None
        if not gathered or self.transport.is_closing():
            return
        if self.gathered_size > GATHER_LIMIT and len(gathered) > 1:
            self._write_many(gathered)
        else:
            self.transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Write at once pieces that are too large to be joined."""
        if self.gathered is not None:
            pieces = self.gathered + pieces
            self.gathered = None
        self._write_many(pieces)

    def _write_many(self, pieces: list[bytes]) -> None:
        if self.runtime.can_writelines:
            self.transport.writelines(pieces)
        else:
            self.transport.write(b"".join(pieces))

    def pause_writing(self) -> None:
        """The client does not read as fast as the application sends."""
        self.write_paused = True

    # Reading of what is not wanted --------------------------------------------------------------------

    def drop(self, data: bytes | memoryview) -> None:
        """Count what comes after the last answer; a client that does not stop is cut off."""
        self.dropped += len(data)
        if self.dropped > LINGER_BYTES:
            self.transport.abort()

    def allow_dropping(self, size: int) -> None:
        """The client is known to send `size` more bytes that nobody wants, and is to see why."""
        self.dropped -= min(size, ALLOWED_BYTES)

    # Time --------------------------------------------------------------------------------------------

    def on_tick(self, tick: int) -> None:
        """Called twice a second."""
        if 0 < self.deadline <= tick:
            self.deadline = 0
            self.on_deadline()

    def on_deadline(self) -> None:
        """The tick `deadline` has come; a hook of the whole connection."""
        raise NotImplementedError

    def drain(self) -> None:
        """The server stops; a hook for protocols that have something to say then."""

    # Closing -----------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Cut the connection at once."""
        self.transport.abort()

    def close(self) -> None:
        """Close when all that was written has left; nothing more is expected from the client."""
        self.flush()
        self.closing = True
        # TLS is closed when the client has answered close_notify, and one that does not look does not answer.
        self.deadline = 0 if self.transport.can_write_eof() else self.runtime.tick + ticks(LINGER_SECONDS)
        self.transport.close()

    def close_gently(self) -> None:
        """Close after an answer that the client may not have read yet, while it may still be sending.

        Our side is closed first; what comes is dropped until the client closes, or a bound is reached.
        """
        if self.closing:
            return
        self.flush()
        self.closing = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.deadline = self.runtime.tick + ticks(LINGER_SECONDS)

    def end_linger(self) -> None:
        """The time to linger is over, unless the client is still taking what was written."""
        is_tls = not self.transport.can_write_eof()
        before, self.unsent = self.unsent, self.transport.get_write_buffer_size()
        if is_tls:
            # The transport below the one of TLS is out of sight; as long as it has data, so has the kernel.
            self.unsent += unsent_by_kernel(self.transport)
        self.stalls = self.stalls + 1 if self.unsent == before else 0
        # Once all was taken the time to linger begins; before, patience with a client that takes nothing has an end.
        if self.stalls <= (STALL_PERIODS if self.unsent else 0) and (self.unsent or before):
            self.deadline = self.runtime.tick + ticks(LINGER_SECONDS)
        elif is_tls and not self.unsent and not self.transport.is_closing():
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
        self.closing = True
        self.transport.abort()
