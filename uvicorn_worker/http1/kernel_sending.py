"""Files that the kernel sends: from its memory to the socket, past the transport.

    what was written before ─► the transport has sent it ─► head, by send() ─► file, by sendfile() ─► done
                                                             └── the socket is full: the loop's writer ──┘

Event loops have a sendfile() of their own, for transports that nobody else writes to. Here the socket is the
transport's, and what it has taken must have left before. The loop lets nobody wait for a socket that belongs to a
transport, so a copy of its descriptor is waited for. That copy is also what is written to from then on: the transport
may have closed its own meanwhile, and the number may be somebody else's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any, Protocol

from uvicorn_worker.core.files import TURN_SIZE, FilePart
from uvicorn_worker.core.kernel import bare_socket_of, socket_of
from uvicorn_worker.core.runtime import Runtime

__all__ = ["KernelSending", "sending_socket"]

# More comes: the head is to leave in one segment with what there is of the file. 0 where there is no such flag.
MORE: int = getattr(socket, "MSG_MORE", 0)
_sendfile: Any = getattr(os, "sendfile", None)
# What the kernel says where it can't send of such a file.
_UNABLE = frozenset([errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP])


class Connection(Protocol):
    """What is needed of a connection."""

    transport: asyncio.Transport
    sent: int

    def flush(self) -> None:
        """Hand what was gathered to the transport."""

    def take_gathered(self) -> bytes:
        """What was gathered and not handed to the transport, which is now the caller's to send."""


class Waiting(Protocol):
    """What is needed of a cycle."""

    conn: Any
    runtime: Runtime
    lost: bool
    body_sent: int

    async def wait(self) -> None:
        """Wait until something changes."""

    def wake(self) -> None:
        """Let everything that waits look again."""


def sending_socket(transport: asyncio.Transport) -> Any:
    """The socket that the kernel may send files by; None where there is none, or TLS is in between."""
    if _sendfile is None or transport.get_extra_info("sslcontext") is not None:
        return None
    sock = transport.get_extra_info("socket")
    return sock if sock is not None and sock.fileno() >= 0 else None


class KernelSending:
    """One part of a file on its way; `begin` sends it where the socket takes all of it, and `run` what is left.

    `left` is how much of it was not sent yet. It remains above 0 where the client has left (the cycle is lost then),
    and where the kernel can't send such a file: nothing of it was sent then.
    """

    __slots__ = ("_begun", "_cycle", "_done", "_error", "_head", "_sock", "left", "offset", "part")

    def __init__(self, cycle: Waiting, part: FilePart) -> None:
        self._cycle = cycle
        self.part = part
        self.offset = part.offset
        self.left = part.size
        self._head: bytes | memoryview = b""
        self._sock: socket.socket | None = None
        # Whether anything was tried, and whether nothing is left to be.
        self._begun = False
        self._done = False
        self._error: OSError | None = None

    def begin(self, sock: Any) -> bool:
        """Send at once what the socket of the transport takes, behind what was gathered; gives whether that was all.

        Does nothing where the transport has something left to send: `run` waits for that. Raises as `run` does.
        """
        conn = self._cycle.conn
        transport = conn.transport
        if transport.get_write_buffer_size() or transport.is_closing():
            return False
        own = bare_socket_of(sock.fileno(), sock.family)
        try:
            # No turn of the loop passes meanwhile, so the descriptor is the transport's for sure.
            self._sock = own
            self._head = conn.take_gathered()
            self._begun = True
            self._step()
        finally:
            self._sock = None
            own.detach()
        if self._done:
            self._end(conn)
        return self._done

    async def run(self, loop: asyncio.AbstractEventLoop, sock: Any) -> None:
        """Send what `begin` has left, as the transport and the socket take it.

        Raises `OSError` where the file can't be read, and `ApplicationError` where it has become shorter.
        """
        if not self._begun:
            cycle = self._cycle
            conn = cycle.conn
            await self._clear_transport(conn)
            if cycle.lost or conn.transport.is_closing() or self.begin(sock):
                return
        await self._wait(loop, socket_of(os.dup(sock.fileno()), sock.family, socket.SOCK_STREAM, 0))
        self._end(self._cycle.conn)

    async def _clear_transport(self, conn: Connection) -> None:
        """Wait until the transport has sent all that it was given; what is gathered goes with the file where it can."""
        transport = conn.transport
        if not transport.get_write_buffer_size():
            return
        conn.flush()
        # It says so when its buffer is empty, and not when there is room again.
        transport.set_write_buffer_limits(high=0)
        try:
            while transport.get_write_buffer_size() and not self._cycle.lost:
                await self._cycle.wait()
        finally:
            if not transport.is_closing():
                transport.set_write_buffer_limits()

    async def _wait(self, loop: asyncio.AbstractEventLoop, copy: socket.socket) -> None:
        """Send the rest as the socket takes it."""
        cycle = self._cycle
        try:
            copy.setblocking(False)
            self._sock = copy
            loop.add_writer(copy.fileno(), self._step)
            try:
                while not self._done and not cycle.lost:
                    await cycle.wait()
            finally:
                loop.remove_writer(copy.fileno())
        finally:
            self._sock = None
            copy.close()

    def _step(self) -> None:
        """Send as much as the socket takes and one turn may; the loop calls it as long as it is to go on."""
        cycle, sock = self._cycle, self._sock
        if sock is None:
            return
        conn = cycle.conn
        try:
            while self._head:
                sent = sock.send(self._head, MORE if self.left else 0)
                cycle.runtime.tally.bytes_out += sent
                conn.sent += sent
                self._head = memoryview(self._head)[sent:]
            if self.left:
                sent = _sendfile(sock.fileno(), self.part.fd, self.offset, min(self.left, TURN_SIZE))
                self.offset += sent
                self.left -= sent
                conn.sent += sent
                cycle.runtime.tally.bytes_out += sent
                cycle.body_sent += sent
                # At the end of the file sooner than at that of the part: it has become shorter.
                if sent and self.left:
                    return
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._error = exc
        self._done = True
        cycle.wake()

    def _end(self, conn: Connection) -> None:
        """What has become of it."""
        if self._cycle.lost:
            return
        error = self._error
        if isinstance(error, ConnectionError):
            # The transport does not know yet where it is not reading.
            conn.transport.abort()
            self._cycle.lost = True
        elif error is not None:
            if error.errno not in _UNABLE or self.left != self.part.size:
                raise error
        elif self.left:
            raise self.part.shrunk()
