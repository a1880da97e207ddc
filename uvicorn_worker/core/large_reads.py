"""Reading from clients that send large messages.

data_received() is given a new object for each read. For large reads that takes a copy, and memory that is not in the
processor's cache; so they go into one buffer, which all connections share, since each is done with what was read when
its call returns. Small reads are cheaper the other way: the connection's protocol at the transport changes with what
comes.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from uvicorn_worker.core.runtime import Runtime

__all__ = ["BUFFER_SIZE", "LARGE_READ", "LargeReads"]

# A read is large from this size on.
LARGE_READ = 32768

# As large as the largest read of uvloop or asyncio.
BUFFER_SIZE = 262144

# After so many small reads in a row large ones are not expected any more.
PATIENCE = 16


class Reader(Protocol):
    """The connection, which takes a large read as a part of the buffer."""

    runtime: Runtime
    transport: asyncio.Transport

    def data_received(self, data: bytes | memoryview) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class LargeReads(asyncio.BufferedProtocol):
    """In the place of `reader` at its transport while large reads come."""

    __slots__ = ("_buffer", "_reader", "_small")

    def __init__(self, reader: Reader) -> None:
        runtime = reader.runtime
        if runtime.read_buffer is None:
            runtime.read_buffer = memoryview(bytearray(BUFFER_SIZE))
        self._buffer = runtime.read_buffer
        self._reader = reader
        # How many small reads there were since the last large one.
        self._small = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So much was read."""
        reader = self._reader
        if nbytes >= LARGE_READ:
            self._small = 0
            reader.data_received(self._buffer[:nbytes])
            return
        self._small += 1
        if self._small == PATIENCE:
            reader.transport.set_protocol(reader)  # type: ignore[arg-type]  # it is one, see Reader
        reader.data_received(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """The client won't send any more."""
        return self._reader.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._reader.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as the application sends."""
        self._reader.pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        self._reader.resume_writing()
