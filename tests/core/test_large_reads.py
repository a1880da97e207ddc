"""Large reads go into one buffer that all connections share, as long as they come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.scripted import ScriptedTransport
from uvicorn_worker.core.large_reads import BUFFER_SIZE, LARGE_READ, PATIENCE, LargeReads


class Shared:
    """What of the runtime is needed."""

    read_buffer: memoryview | None = None


class Recorder(asyncio.Protocol):
    """A connection that writes down what it is told."""

    def __init__(self, runtime: Any, transport: Any) -> None:
        self.runtime = runtime
        self.transport = transport
        self.told: list[Any] = []

    def data_received(self, data: bytes | memoryview) -> None:
        self.told.append((type(data).__name__, bytes(data)))

    def eof_received(self) -> bool:
        self.told.append("eof_received")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)

    def pause_writing(self) -> None:
        self.told.append("pause_writing")

    def resume_writing(self) -> None:
        self.told.append("resume_writing")


@pytest.fixture
def reader() -> Recorder:
    """One whose last read was large."""
    loop: Any = None
    transport = ScriptedTransport(loop)
    reader = Recorder(Shared(), transport)
    transport.set_protocol(LargeReads(reader))
    return reader


def reads_large(reader: Recorder) -> bool:
    return isinstance(reader.transport.get_protocol(), LargeReads)


def test_a_large_read_is_a_view_and_a_small_one_is_a_copy(reader: Recorder) -> None:
    large, small = bytes(range(256)) * (LARGE_READ // 256), b"y" * (LARGE_READ - 1)
    reader.transport.deliver(large, small)
    assert reader.told == [("memoryview", large), ("bytes", small)]


def test_it_ends_with_small_reads(reader: Recorder) -> None:
    large, small = bytes(LARGE_READ), b"small"
    reader.transport.deliver(*[small] * (PATIENCE - 1), large, *[small] * (PATIENCE - 1))
    assert reads_large(reader)
    reader.transport.deliver(small)
    assert not reads_large(reader)
    reader.transport.deliver(small)
    assert reader.told[-2:] == [("bytes", small)] * 2


def test_the_buffer_is_one_for_all(reader: Recorder) -> None:
    buffer = reader.runtime.read_buffer
    assert len(buffer) == BUFFER_SIZE
    LargeReads(Recorder(reader.runtime, reader.transport))
    assert reader.runtime.read_buffer is buffer


def test_the_connection_is_told_all_else(reader: Recorder) -> None:
    protocol: Any = reader.transport.get_protocol()
    protocol.pause_writing()
    protocol.resume_writing()
    assert protocol.eof_received() is True
    lost = ConnectionResetError()
    protocol.connection_lost(lost)
    assert reader.told == ["pause_writing", "resume_writing", "eof_received", lost]
