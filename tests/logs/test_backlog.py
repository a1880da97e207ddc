"""What is written to somebody who reads it: pipes, sockets, terminals, and those that a thread has to wait for."""

from __future__ import annotations

import asyncio
import os
import pty
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from uvicorn_worker.logs import backlog as module
from uvicorn_worker.logs.backlog import Backlog

PIECES = [f"{number:03d} ".encode() * 200 + b"\n" for number in range(1000)]
Ends = tuple[int, int]


def pipe() -> Ends:
    return os.pipe()


def stream_socket() -> Ends:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def terminal() -> Ends:
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, slave


@pytest.fixture(params=["pipe", "stream_socket", "terminal", "thread", "windows"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """A reader and a writer."""
    if request.param == "thread":
        monkeypatch.setattr(module, "_Direct", refused)
    elif request.param == "windows":
        monkeypatch.delattr(os, "O_NONBLOCK")
        monkeypatch.delattr(os, "O_NOCTTY")
    make: Callable[[], Ends] = {"pipe": pipe, "stream_socket": stream_socket, "terminal": terminal}.get(
        request.param, pipe
    )
    reading, writing = make()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def refused(fd: int) -> None:
    os.close(fd)
    raise PermissionError("another user's")


def backlog_of(fd: int) -> Backlog:
    backlog = Backlog(asyncio.get_running_loop(), "The log")
    assert backlog.is_for(fd, os.fstat(fd))
    return backlog


def test_all_comes_in_its_order(ends: Ends) -> None:
    reading, writing = ends
    seen = bytearray()

    def read() -> None:
        while not seen.endswith(PIECES[-1]):
            seen.extend(os.read(reading, 65536))

    async def main() -> None:
        backlog = backlog_of(writing)
        thread = threading.Thread(target=read)
        thread.start()
        for piece in PIECES:
            backlog.write([piece])
            await asyncio.sleep(0)
        while thread.is_alive():
            await asyncio.sleep(0.01)
        backlog.close()

    asyncio.run(main())
    assert bytes(seen) == b"".join(PIECES)


def test_nobody_waits_for_a_reader_that_does_not_read(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 100_000)
    monkeypatch.setattr(module, "_AHEAD", 100_000)
    monkeypatch.setattr(module, "_LAST_WAIT", 0.05)

    async def main() -> None:
        backlog = backlog_of(ends[1])
        for piece in PIECES:
            backlog.write([piece])
            await asyncio.sleep(0)
        # What is kept is lost then, too.
        backlog.close()

    asyncio.run(main())
    first, last = capfd.readouterr().err.splitlines()
    assert "can't be written, lines are lost until it can: BlockingIOError: its reader does not read" in first
    assert "lines were lost" in last


def test_the_descriptor_is_not_made_non_blocking_for_others(ends: Ends) -> None:
    async def main() -> None:
        backlog = backlog_of(ends[1])
        backlog.write([b"a\n"])
        assert os.get_blocking(ends[1])
        backlog.close()
        assert os.get_blocking(ends[1])

    asyncio.run(main())


def test_a_reader_that_has_gone_is_told_of(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    async def main() -> None:
        backlog = backlog_of(writing)
        backlog.write([b"a\n"])
        backlog.close()

    asyncio.run(main())
    os.close(writing)
    assert "BrokenPipeError" in capfd.readouterr().err.splitlines()[0]


def test_a_reader_that_has_gone_from_a_thread(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_Direct", refused)
    reading, writing = os.pipe()
    os.close(reading)
    said = ""

    async def main() -> None:
        nonlocal said
        backlog = backlog_of(writing)
        while "BrokenPipeError" not in said:
            backlog.write([b"a\n"])
            await asyncio.sleep(0.001)
            said += capfd.readouterr().err
        backlog.close()

    asyncio.run(main())
    os.close(writing)


def test_another_file_takes_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    (reading, writing), (other_reading, other_writing) = os.pipe(), os.pipe()
    full = b"x" * 4095 + b"\n"

    async def main() -> None:
        backlog = backlog_of(writing)
        backlog.write([full] * 20)
        assert backlog.is_for(other_writing, os.fstat(other_writing))
        backlog.write([b"a\n"])
        backlog.close()

    asyncio.run(main())
    assert os.read(other_reading, 100) == b"a\n"
    assert "4 lines were lost" in capfd.readouterr().err
    for fd in (reading, writing, other_reading, other_writing):
        os.close(fd)


def test_a_file_on_a_disk_is_nobodys(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)

    async def main() -> None:
        assert not Backlog(asyncio.get_running_loop(), "The log").is_for(fd, os.fstat(fd))

    asyncio.run(main())
    os.close(fd)


def test_after_the_loop_nothing_is_asked_again() -> None:
    reading, writing = os.pipe()

    async def main() -> Backlog:
        return backlog_of(writing)

    backlog = asyncio.run(main())
    backlog.write([b"x" * 4096] * 20)
    while os.read(reading, 65536) and len(backlog._waiting) > 0:
        backlog.write([b"\n"])
    backlog.close()
    os.close(reading)
    os.close(writing)
