"""What is written to somebody who reads it: pipes, sockets, terminals, and those that a thread has to wait for."""

from __future__ import annotations

import errno
import gc
import os
import pty
import select
import signal
import socket
import stat
import sys
import threading
import time
import tty
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.records import Records, records
from uvicorn_worker.logs import backlog as module
from uvicorn_worker.logs.backlog import Backlog, backlog_of, close_backlogs, opened_again

__all__ = ["records"]

PIECES = [f"{number:03d} ".encode() * 200 + b"\n" for number in range(1000)]
# Much more than a pipe has room for.
FULL = [b"x" * 4095 + b"\n"] * 40
PATIENCE = 20.0
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


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing waits that another test has written, and no thread of this one is left."""
    monkeypatch.setattr(module, "_backlogs", weakref.WeakValueDictionary())
    yield
    until(lambda: not any(each.name == "uvicorn-worker-log" for each in threading.enumerate()))


@pytest.fixture(params=["pipe", "stream_socket", "terminal", "thread", "windows"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """A reader and a writer."""
    if request.param == "thread":
        monkeypatch.setattr(module, "opened_again", lambda fd: None)
    elif request.param == "windows":
        monkeypatch.delattr(os, "O_NONBLOCK")
        monkeypatch.delattr(os, "O_NOCTTY")
        monkeypatch.delattr(select, "poll")
    make: Callable[[], Ends] = {"pipe": pipe, "stream_socket": stream_socket, "terminal": terminal}.get(
        request.param, pipe
    )
    yield from opened(*make())


@pytest.fixture
def piped() -> Iterator[Ends]:
    """Those of a pipe."""
    yield from opened(*pipe())


def opened(reading: int, writing: int) -> Iterator[Ends]:
    yield reading, writing
    # A thread that waits in a write ends by this.
    os.close(reading)
    os.close(writing)


def made(fd: int) -> Backlog:
    backlog = backlog_of(fd, "The log")
    assert backlog is not None
    return backlog


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_all(reading: int, last: bytes) -> bytearray:
    """What comes until `last` does."""
    seen = bytearray()
    while not seen.endswith(last):
        seen.extend(os.read(reading, 65536))
    return seen


def said_in(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What stderr is told, by whoever it is."""
    lines: list[str] = []

    def said() -> bool:
        lines.extend(capfd.readouterr().err.splitlines())
        return bool(lines)

    until(said)
    return lines


class Threads:
    """Runs functions in threads, each to its end."""

    def __init__(self, *functions: Callable[[], Any]) -> None:
        self.threads = [threading.Thread(target=each) for each in functions]
        for each in self.threads:
            each.start()

    def join(self) -> None:
        for each in self.threads:
            each.join(PATIENCE)
            assert not each.is_alive()


def test_all_comes_in_its_order(ends: Ends) -> None:
    reading, writing = ends
    seen: list[bytearray] = []
    reader = Threads(lambda: seen.append(read_all(reading, PIECES[-1])))
    backlog = made(writing)
    for piece in PIECES:
        backlog.write([piece])
    reader.join()
    assert bytes(seen[0]) == b"".join(PIECES)


def test_nobody_waits_for_a_reader_that_does_not_read(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 100_000)
    monkeypatch.setattr(module, "_LAST_WAIT", 0.05)
    backlog = made(ends[1])
    for piece in PIECES:
        backlog.write([piece], 0.01)
    (said,) = said_in(capfd)
    assert said.endswith(
        "The log can't be written, lines are lost until it can: BlockingIOError: its reader does not read"
    )
    # What is kept is lost then, too.
    close_backlogs()
    assert not backlog.waits
    assert "lines were lost" in capfd.readouterr().err


def test_what_was_lost_is_told_in_the_error_log_when_the_reader_is_back(
    ends: Ends, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 100_000)
    reading, writing = ends
    backlog = made(writing)
    for piece in PIECES:
        backlog.write([piece])
    last = b"the last\n"
    seen: list[bytearray] = []
    reader = Threads(lambda: seen.append(read_all(reading, last)))
    until(lambda: records.lines)
    backlog.write([last])
    reader.join()
    lines = bytes(seen[0]).splitlines(keepends=True)
    # Whole, and in their order; one may have found room after others had not.
    kept = [PIECES.index(line) for line in lines[:-1]]
    assert kept == sorted(set(kept))
    lost = len(PIECES) - len(kept)
    assert records.lines == [f"The log is written again; {lost} lines were lost"]
    assert lost > 500


def test_the_descriptor_is_not_made_non_blocking_for_others(ends: Ends) -> None:
    made(ends[1]).write([b"a\n"])
    assert os.get_blocking(ends[1])
    assert os.read(ends[0], 10) == b"a\n"


def test_nor_is_a_socket_where_sockets_have_a_timeout() -> None:
    one, other = socket.socketpair()
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5)
    try:
        backlog = made(other.fileno())
        assert os.get_blocking(other.fileno())
        backlog.write(FULL * 100)
        assert backlog.waits
    finally:
        socket.setdefaulttimeout(before)
        one.close()
        other.close()


def test_a_reader_that_has_gone_is_told_of_once(
    piped: Ends, capfd: pytest.CaptureFixture[str], records: Records
) -> None:
    reading, writing = piped
    backlog = made(writing)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, reading)
    os.close(nothing)
    for _ in range(3):
        backlog.write([b"a\n"])
    (said,) = said_in(capfd)
    assert "BrokenPipeError" in said
    assert records.lines == []


@pytest.mark.parametrize("by_thread", [False, True])
def test_one_that_has_come_back_is_told_what_it_has_missed(
    by_thread: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    records: Records,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if by_thread:
        monkeypatch.setattr(module, "opened_again", lambda fd: None)
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(tmp_path / "fifo", os.O_WRONLY)
    os.close(reading)
    backlog = made(writing)
    backlog.write([b"a\nb\n"])
    until(lambda: not backlog.waits)
    reading = os.open(tmp_path / "fifo", os.O_RDONLY)
    backlog.write([b"c\n"])
    until(lambda: records.lines)
    assert os.read(reading, 100) == b"c\n"
    assert records.lines == ["The log is written again; 2 lines were lost"]
    assert "BrokenPipeError" in capfd.readouterr().err
    os.close(reading)
    os.close(writing)


def test_one_that_comes_and_goes_is_told_of_at_the_end(
    piped: Ends, monkeypatch: pytest.MonkeyPatch, records: Records, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 20_000)
    reading, writing = piped
    backlog = made(writing)
    for _ in range(2):
        backlog.write(FULL)
        until(lambda: not backlog.waits or not os.read(reading, 4096))
        if not records.lines:
            until(lambda: records.lines)
    assert len(records.lines) == 1
    # It is not said again so soon, but the process ends.
    close_backlogs()
    first, last = capfd.readouterr().err.splitlines()
    assert "can't be written" in first
    assert "The log is written again;" in last


def test_there_is_one_for_a_file_however_it_is_come_by(piped: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = piped
    other = os.dup(writing)
    backlog = made(writing)
    assert made(other) is backlog
    assert backlog.is_for(other)
    again = os.open(f"/proc/self/fd/{reading}", os.O_WRONLY)
    assert made(again) is backlog
    # What waits there is not that of a child.
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert not backlog.is_for(writing)
    assert made(writing) is not backlog
    backlog.write(FULL)
    close_backlogs()
    assert backlog.waits
    os.close(other)
    os.close(again)


def test_another_file_takes_the_place_of_one_that_is_read_later(piped: Ends) -> None:
    reading, writing = os.pipe()
    backlog = made(writing)
    backlog.write(FULL)
    assert not backlog.is_for(piped[1])
    backlog = made(piped[1])
    backlog.write([b"a\n"])
    assert os.read(piped[0], 100) == b"a\n"
    os.close(writing)
    # To its end: nobody keeps it open then. Without the GIL it is this thread that gives up what was its own, while it
    # runs; and on PyPy the collector.
    os.set_blocking(reading, False)
    with open(reading, "rb", buffering=0) as reader:
        seen = b""
        while (piece := reader.read(65536)) != b"":
            seen += piece or b""
            if piece is None:
                time.sleep(0.001)
                if sys.implementation.name == "pypy":
                    gc.collect()
    assert seen == b"".join(FULL)


def test_a_file_on_a_disk_is_nobodys(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert backlog_of(file.fileno(), "The log") is None
        assert opened_again(file.fileno()) is None


def test_where_pipes_have_no_numbers(piped: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    nobodys = os.stat_result((stat.S_IFIFO, *[0] * 9))
    monkeypatch.setattr(os, "fstat", lambda fd: nobodys)
    backlog = made(piped[1])
    assert backlog.is_for(piped[1])
    reading, writing = os.pipe()
    assert made(writing) is not backlog
    os.close(reading)
    os.close(writing)


def test_a_piece_that_is_longer_than_what_may_wait(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 50_000)
    reading, writing = ends
    backlog = made(writing)
    piece = b"x" * 300_000 + b"\n"
    backlog.write([piece])
    assert bytes(read_all(reading, b"\n")) == piece


def test_where_no_descriptor_is_left(piped: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> NoReturn:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        patch.setattr(os, "dup", full)
        assert backlog_of(piped[1], "The log") is None
    one, other = socket.socketpair()
    with monkeypatch.context() as patch, one, other:
        patch.setattr(os, "dup", full)
        assert backlog_of(other.fileno(), "The log") is None
    assert backlog_of(piped[1], "The log") is not None


def test_threads_write_whole_pieces_each_in_its_order(ends: Ends) -> None:
    reading, writing = ends
    seen: list[bytes] = []

    backlog = made(writing)

    def write(name: int) -> None:
        for number in range(200):
            backlog.write([b"%d %d %b\n" % (name, number, b"x" * 500)])

    def read() -> None:
        data = b""
        while data.count(b"\n") < 800:
            data += os.read(reading, 65536)
        seen.extend(data.splitlines())

    Threads(read, *[lambda name=name: write(name) for name in range(4)]).join()
    for name in range(4):
        own = [line for line in seen if line.startswith(b"%d " % name)]
        assert own == [b"%d %d %b" % (name, number, b"x" * 500) for number in range(200)]


def test_a_thread_that_goes_when_the_next_one_comes_writes_nothing_twice(ends: Ends) -> None:
    reading, writing = ends
    backlog = made(writing)
    numbers = iter(range(10000))
    for _ in range(8):
        sent = b""
        # Until a thread has something to write; it goes as soon as that is read.
        while not (sent and backlog.waits):
            piece = b"%4094d\n" % next(numbers)
            sent += piece
            backlog.write([piece])
        # Longer than one looks whether it may go.
        time.sleep(0.15)
        seen = read_all(reading, sent[-4095:])
        until(lambda: not backlog.waits)
        assert bytes(seen) == sent


def test_a_signal_in_the_middle_of_a_write(piped: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = piped
    backlog = made(writing)
    writes = os.write

    def interrupted(fd: int, data: bytes) -> int:
        if data == b"a\n":
            signal.raise_signal(signal.SIGUSR1)
        return writes(fd, data)

    before = signal.signal(signal.SIGUSR1, lambda *_: backlog.write([b"b\n"]))
    try:
        monkeypatch.setattr("uvicorn_worker.logs.backlog.write_descriptor", interrupted)
        backlog.write([b"a\n", b"c\n"])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert os.read(reading, 100) == b"a\nc\nb\n"


def test_nobody_waits_for_somebody_who_writes(piped: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes may be in the handler of a signal, and wait for what the other has locked."""
    reading, writing = piped
    backlog = made(writing)
    writes = os.write

    def interrupted(fd: int, data: bytes) -> int:
        if data == b"a\n":
            Threads(lambda: backlog.write([b"b\n"])).join()
        return writes(fd, data)

    monkeypatch.setattr("uvicorn_worker.logs.backlog.write_descriptor", interrupted)
    backlog.write([b"a\n", b"c\n"])
    assert os.read(reading, 100) == b"a\nc\nb\n"


def test_a_signal_whose_handler_raises_leaves_it_to_the_thread(piped: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = piped
    backlog = made(writing)

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("uvicorn_worker.logs.backlog.write_descriptor", interrupted)
    with pytest.raises(KeyboardInterrupt):
        backlog.write([b"a\n"])
    backlog.write([b"b\n"])
    assert read_all(reading, b"b\n") == b"a\nb\n"


class TestTheEnd:
    @pytest.fixture
    def no_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As from the end of the interpreter on."""

        def refused(thread: threading.Thread) -> NoReturn:
            raise RuntimeError("can't start new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refused)

    def test_it_waits_for_one_that_reads_slowly(self, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, writing = ends
        monkeypatch.setattr(module, "_LAST_WAIT", 1.0)
        backlog = made(writing)
        pieces = PIECES[:300]
        backlog.write(pieces)
        seen = bytearray()

        def read() -> None:
            while not seen.endswith(pieces[-1]):
                seen.extend(os.read(reading, 16384))
                time.sleep(0.03)

        reader = Threads(read)
        close_backlogs(PATIENCE)
        reader.join()
        assert bytes(seen) == b"".join(pieces)

    def test_but_not_longer_than_it_is_told(
        self, piped: Ends, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        # Far longer than a machine that has much to do makes of a moment.
        monkeypatch.setattr(module, "_LAST_WAIT", 2 * PATIENCE)
        made(piped[1]).write(FULL)
        began = time.monotonic()
        close_backlogs(0.05)
        assert time.monotonic() - began < PATIENCE
        assert "its reader does not read" in capfd.readouterr().err

    @pytest.mark.usefixtures("no_threads")
    def test_without_threads_the_next_line_or_the_end_writes_it(self, piped: Ends) -> None:
        reading, writing = piped
        backlog = made(writing)
        pieces = FULL[:20]
        backlog.write(pieces)
        seen = os.read(reading, 65536)
        backlog.write([b"a\n"])
        assert seen + read_all(reading, b"a\n") == b"".join(pieces) + b"a\n"
        backlog.write(pieces)
        seen = os.read(reading, 65536)
        close_backlogs()
        assert seen + os.read(reading, 65536) == b"".join(pieces)

    @pytest.mark.usefixtures("no_threads")
    def test_without_threads_what_a_thread_would_write(self, piped: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "opened_again", lambda fd: None)
        backlog = made(piped[1])
        backlog.write([b"a\n"], 0.001)
        assert backlog.waits
        close_backlogs()
        assert os.read(piped[0], 100) == b"a\n"


def test_a_descriptor_of_ones_own_does_not_wait(piped: Ends) -> None:
    fd = opened_again(piped[1])
    assert fd is not None
    assert not os.get_blocking(fd)
    assert os.get_blocking(piped[1])
    os.close(fd)


def test_a_closed_descriptor_has_none(piped: Ends) -> None:
    fd = os.dup(piped[1])
    os.close(fd)
    assert opened_again(fd) is None
