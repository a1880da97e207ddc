"""What a part of a file meets on its way: a transport that has something left, a client that leaves, a full socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from uvicorn_worker.core.files import FilePart
from uvicorn_worker.http1 import kernel_sending
from uvicorn_worker.http1.kernel_sending import KernelSending, sending_socket

CONTENT = b"0123456789" * 10

pytestmark = pytest.mark.skipif(not hasattr(os, "sendfile"), reason="the system has no sendfile()")


class Transport:
    """Holds so many bytes that were written before; the client takes them a turn of the loop at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.held = 0
        self.closing = False
        self.limits: list[Any] = []
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.held

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        self.limits.append(high)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.aborted = True


class Cycle:
    """A request that sends a file, of which each wait is one step of `steps`."""

    def __init__(self, sock: socket.socket, gathered: bytes = b"") -> None:
        self.transport = Transport(sock)
        self.gathered = gathered
        self.flushed = False
        self.conn = SimpleNamespace(transport=self.transport, sent=0, flush=self.flush, take_gathered=self.take)
        self.runtime: Any = SimpleNamespace(tally=SimpleNamespace(bytes_out=0))
        self.lost = False
        self.body_sent = 0
        self.steps: list[Any] = []
        self.woken = 0

    def flush(self) -> None:
        self.flushed = True

    def take(self) -> bytes:
        data, self.gathered = self.gathered, b""
        return data

    async def wait(self) -> None:
        if self.steps:
            self.steps.pop(0)()
        await asyncio.sleep(0)

    def wake(self) -> None:
        self.woken += 1


class Case:
    def __init__(self, path: Path) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.setblocking(False)
        self.fd = os.open(path, os.O_RDONLY)
        self.part = FilePart(self.fd, 0, len(CONTENT))
        self.cycle = Cycle(self.ours)
        self.sending = KernelSending(self.cycle, self.part)

    def run(self) -> None:
        async def main() -> None:
            await asyncio.wait_for(self.sending.run(asyncio.get_running_loop(), self.ours), 20)

        asyncio.run(main())

    def read(self) -> bytes:
        try:
            return self.theirs.recv(1_000_000)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self.fd)
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    made = Case(path)
    yield made
    made.close()


def test_what_was_gathered_leaves_first(case: Case) -> None:
    case.cycle.gathered = b"head "
    case.run()
    assert case.read() == b"head " + CONTENT
    assert (case.sending.left, case.cycle.body_sent) == (0, len(CONTENT))
    assert case.cycle.conn.sent == case.cycle.runtime.tally.bytes_out == 5 + len(CONTENT)
    assert case.cycle.transport.limits == []


def test_what_the_transport_holds_is_waited_for(case: Case) -> None:
    """It says when its buffer is empty, and goes on as before then."""
    transport = case.cycle.transport
    transport.held = 2
    seen: list[bytes] = []

    def takes() -> None:
        seen.append(case.read())
        transport.held -= 1

    case.cycle.steps = [takes, takes]
    case.run()
    assert case.cycle.flushed
    assert seen == [b"", b""]
    assert transport.limits == [0, None]
    assert case.read() == CONTENT


@pytest.mark.parametrize("how", ["lost", "closing"])
def test_a_client_that_leaves_before(case: Case, how: str) -> None:
    transport = case.cycle.transport
    transport.held = 1

    def leaves() -> None:
        if how == "lost":
            case.cycle.lost = True
        else:
            transport.closing, transport.held = True, 0

    case.cycle.steps = [leaves]
    case.run()
    assert case.read() == b""
    assert case.sending.left == len(CONTENT)
    # Those of a transport that is closing are nobody's any more.
    assert transport.limits == ([0, None] if how == "lost" else [0])


def fill(case: Case) -> None:
    try:
        while True:
            case.ours.send(bytes(65536))
    except BlockingIOError:
        pass


@pytest.mark.parametrize("gathered", [b"", b"head "])
def test_a_full_socket_is_waited_for(case: Case, gathered: bytes) -> None:
    case.cycle.gathered = gathered
    fill(case)
    got = bytearray()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(case.theirs.fileno(), lambda: got.extend(case.read()))
        await asyncio.wait_for(case.sending.run(loop, case.ours), 20)
        while not got.endswith(gathered + CONTENT):
            await asyncio.sleep(0)
        loop.remove_reader(case.theirs.fileno())

    asyncio.run(main())
    assert got.strip(b"\0") == gathered + CONTENT
    assert case.cycle.woken == 1


def test_a_client_that_leaves_meanwhile(case: Case) -> None:
    fill(case)

    def leaves() -> None:
        case.cycle.lost = True

    case.cycle.steps = [leaves]
    case.run()
    assert case.sending.left == len(CONTENT)


def test_a_call_that_comes_late_sends_nothing(case: Case) -> None:
    """The loop had it ready when the sending was given up."""
    case.sending._step()
    assert (case.read(), case.cycle.woken) == (b"", 0)


def test_a_connection_that_turns_out_to_be_gone(case: Case) -> None:
    case.theirs.close()
    case.run()
    assert case.cycle.transport.aborted
    assert case.cycle.lost


def test_only_a_turn_s_worth_at_a_time(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_sending, "TURN_SIZE", 30)
    sizes: list[int] = []

    def counted(*arguments: int) -> int:
        sizes.append(os.sendfile(*arguments))
        return sizes[-1]

    monkeypatch.setattr(kernel_sending, "_sendfile", counted)
    case.run()
    assert sizes == [30, 30, 30, 10]
    assert case.read() == CONTENT


def test_an_empty_part_sends_what_was_gathered(case: Case) -> None:
    case.cycle.gathered = b"head"
    case.sending.left = 0
    case.run()
    assert case.read() == b"head"


@pytest.mark.parametrize("where", ["nothing", "tls", "no socket", "no descriptor", "no sendfile"])
def test_where_the_kernel_may_send(case: Case, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    socket_of: dict[str, Any] = {"no socket": None, "no descriptor": SimpleNamespace(fileno=lambda: -1)}
    known = {"sslcontext": object() if where == "tls" else None, "socket": socket_of.get(where, case.ours)}
    transport: Any = SimpleNamespace(get_extra_info=known.get)
    if where == "no sendfile":
        monkeypatch.setattr(kernel_sending, "_sendfile", None)
    assert sending_socket(transport) is (case.ours if where == "nothing" else None)


def test_what_the_socket_takes_at_once_needs_no_loop(case: Case) -> None:
    case.cycle.gathered = b"head "
    assert case.sending.begin(case.ours)
    assert case.read() == b"head " + CONTENT
    assert (case.sending.left, case.cycle.body_sent) == (0, len(CONTENT))
    assert case.cycle.conn.sent == case.cycle.runtime.tally.bytes_out == 5 + len(CONTENT)
    # The descriptor stays the transport's.
    os.fstat(case.ours.fileno())


@pytest.mark.parametrize("how", ["held", "closing"])
def test_nothing_is_sent_at_once_before_what_the_transport_holds(case: Case, how: str) -> None:
    setattr(case.cycle.transport, how, 1)
    case.cycle.gathered = b"head "
    assert not case.sending.begin(case.ours)
    assert case.read() == b""
    assert (case.sending.left, case.cycle.gathered) == (len(CONTENT), b"head ")


def test_what_was_begun_at_once_is_gone_on_with(case: Case) -> None:
    """The order and the counts are those of a part that had to wait from the beginning."""
    case.cycle.gathered = b"head "
    fill(case)
    assert not case.sending.begin(case.ours)
    got = bytearray()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(case.theirs.fileno(), lambda: got.extend(case.read()))
        await asyncio.wait_for(case.sending.run(loop, case.ours), 20)
        while not got.endswith(b"head " + CONTENT):
            await asyncio.sleep(0)
        loop.remove_reader(case.theirs.fileno())

    asyncio.run(main())
    assert got.strip(b"\0") == b"head " + CONTENT
    assert case.cycle.conn.sent == case.cycle.runtime.tally.bytes_out == 5 + len(CONTENT)
