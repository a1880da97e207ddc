"""What the kernel and the version of Python say."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing.reduction
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from tests.scripted import ScriptedTransport
from uvicorn_worker.core import kernel
from uvicorn_worker.core.kernel import (
    bare_socket_of,
    duplicate_of,
    has_its_family,
    inherited_socket_of,
    is_alive,
    is_known_loop,
    is_uvloop,
    passed_to_a_process,
    send_end,
    socket_of,
    unread_in_kernel,
    unsent_by_kernel,
    write_at_once,
    writelines_pauses,
)


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ((3, 10, 0), True),
        ((3, 11, 7), True),
        ((3, 12, 0), False),
        ((3, 12, 8), False),
        ((3, 12, 9), True),
        ((3, 13, 0), False),
        ((3, 13, 1), False),
        ((3, 13, 2), True),
        ((3, 14, 0), True),
    ],
)
def test_writelines_is_left_alone_where_it_does_not_pause(version: tuple[int, ...], good: bool) -> None:
    assert writelines_pauses(version) == good


class TestKernel:
    def test_what_was_not_read(self, loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        transport = ScriptedTransport(loop)
        transport.get_extra_info = lambda name, default=None: ours  # type: ignore[method-assign]
        with ours, theirs:
            assert (unread_in_kernel(transport), unsent_by_kernel(transport)) == (0, 0)
            theirs.send(b"12345")
            assert unread_in_kernel(transport) == 5
            ours.send(b"12345")
            assert unsent_by_kernel(transport) > 0
            theirs.recv(10)
            assert unsent_by_kernel(transport) == 0

    def test_where_it_is_not_known(self, loop: asyncio.AbstractEventLoop) -> None:
        transport = ScriptedTransport(loop)
        assert (unread_in_kernel(transport), unsent_by_kernel(transport)) == (0, 0)
        assert unread_in_kernel(asyncio.Transport()) == 0

    @pytest.mark.parametrize("missing", ["fcntl", "termios"])
    def test_on_windows(self, missing: str) -> None:
        code = (
            "import asyncio, socket, sys; "
            f"sys.modules[{missing!r}] = None; "
            "from uvicorn_worker.core.kernel import *; "
            "ours, theirs = socket.socketpair(); theirs.send(b'12345'); "
            "transport = asyncio.Transport({'socket': ours}); "
            "print(unread_in_kernel(transport), unsent_by_kernel(transport))"
        )
        finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert finished.stdout == "0 0\n"


def test_which_loop_it_is(loop: asyncio.AbstractEventLoop) -> None:
    assert not is_uvloop(loop)
    pytest.importorskip("uvloop")
    other = importlib.import_module("uvloop").new_event_loop()
    assert is_uvloop(other)
    other.close()


class BlockingSocket(socket.socket):
    """As PyPy has it: made of a descriptor, it lets it block."""

    def __init__(self, family: int = -1, kind: int = -1, protocol: int = -1, fileno: int | None = None) -> None:
        super().__init__(family, kind, protocol, fileno)
        if fileno is not None:
            self.setblocking(True)


@pytest.mark.parametrize("how", [(), (socket.AF_UNIX, socket.SOCK_STREAM, 0)])
@pytest.mark.parametrize("kind", [socket.socket, BlockingSocket])
def test_a_descriptor_of_a_transport_blocks_nobody(
    monkeypatch: pytest.MonkeyPatch, kind: type[socket.socket], how: tuple[int, ...]
) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    monkeypatch.setattr(socket, "socket", kind)
    if kind is BlockingSocket:
        monkeypatch.setattr(kernel, "_LETS_BLOCK", True)
    with ours, theirs, socket_of(os.dup(ours.fileno()), *how) as copy:
        assert (copy.family, copy.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
        assert not os.get_blocking(ours.fileno())
        with pytest.raises(BlockingIOError):
            copy.recv(1)


# Where a socket of a descriptor lets it block, it is no use to say that it does not.
WAYS = [True] if kernel._LETS_BLOCK else [False, True]


@pytest.mark.parametrize("blocks", WAYS)
def test_a_bare_socket_of_a_transports_descriptor(monkeypatch: pytest.MonkeyPatch, blocks: bool) -> None:
    monkeypatch.setattr(kernel, "_LETS_BLOCK", blocks)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        copy = bare_socket_of(ours.fileno(), ours.family)
        try:
            assert (copy.family, copy.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
            assert copy.send(b"all", getattr(socket, "MSG_MORE", 0)) == 3
            with pytest.raises(BlockingIOError):
                copy.recv(1)
        finally:
            assert copy.detach() == ours.fileno()
        assert theirs.recv(10) == b"all"


class TestTheEnd:
    """What is sent of a connection's end before the event loop has turned."""

    @pytest.fixture
    def uvloop_loop(self) -> Iterator[asyncio.AbstractEventLoop]:
        loop = pytest.importorskip("uvloop").new_event_loop()
        yield loop
        loop.close()

    def test_uvloop_sends_it_at_once(self, uvloop_loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = uvloop_loop
        with theirs:
            transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=ours))
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
            send_end(transport, loop)
            assert theirs.recv(1) == b""
            # What the transport does afterwards finds it done.
            transport.write_eof()
            loop.run_until_complete(asyncio.sleep(0))
            theirs.send(b"late")
            transport.abort()
            loop.run_until_complete(asyncio.sleep(0))
            send_end(transport, loop)

    def test_not_before_what_waits_to_be_sent(self, uvloop_loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport = ScriptedTransport(uvloop_loop)
        transport.get_extra_info = lambda name, default=None: ours  # type: ignore[method-assign]
        with ours, theirs:
            transport.get_write_buffer_size = lambda: 1  # type: ignore[method-assign]
            send_end(transport, uvloop_loop)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)

    def test_asyncio_does_it_by_itself(self, loop: asyncio.AbstractEventLoop) -> None:
        send_end(ScriptedTransport(loop), loop)


@pytest.mark.skipif(not hasattr(os, "writev"), reason="the system has no writev()")
class TestWritingAtOnce:
    """What the socket takes of several pieces, past the transport."""

    PIECES: ClassVar[list[Any]] = [b"head ", memoryview(b"0123456789" * 10_000), b"", b" tail"]
    WHOLE = b"".join(PIECES)

    @pytest.fixture
    def ends(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            yield ours, theirs

    def write(self, loop: asyncio.AbstractEventLoop, sock: Any, pieces: Any, how: str = "", **more: Any) -> bytes:
        """Gives what is left to the transport."""
        transport = ScriptedTransport(loop)
        known = {"socket": sock, **more}
        transport.get_extra_info = lambda name, default=None: known.get(name, default)  # type: ignore[method-assign]
        if how == "held":
            transport.stall()
            transport.write(b"before")
        elif how == "closing":
            transport.close()
        return b"".join(write_at_once(transport, pieces, sum(map(len, pieces))))

    def test_all_that_fits(self, loop: asyncio.AbstractEventLoop, ends: tuple[socket.socket, socket.socket]) -> None:
        ours, theirs = ends
        assert self.write(loop, ours, self.PIECES) == b""
        assert theirs.recv(1_000_000, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == self.WHOLE

    @pytest.mark.parametrize("size", [1, 3, 100, 40_000])
    def test_what_does_not_is_left(
        self, loop: asyncio.AbstractEventLoop, ends: tuple[socket.socket, socket.socket], size: int
    ) -> None:
        """Wherever the socket is full: nothing is lost, and nothing comes twice."""
        ours, theirs = ends
        whole = os.urandom(1_000_000)
        pieces = [whole[at : at + size] for at in range(0, min(len(whole), size * 1000), size)]
        whole = b"".join(pieces)
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while len(whole) < 50_000:
                filled += ours.send(bytes(512))
        left = self.write(loop, ours, pieces)
        theirs.setblocking(False)
        got = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                got += theirs.recv(1_000_000)
        assert got[filled:] + left == whole

    @pytest.mark.parametrize("how", ["held", "closing", "tls", "no socket", "gone", "many", "no writev"])
    def test_where_it_is_the_transports(
        self,
        loop: asyncio.AbstractEventLoop,
        ends: tuple[socket.socket, socket.socket],
        how: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Behind what it holds, under TLS, and where there is an error to be met."""
        ours, theirs = ends
        pieces: list[Any] = [b"x"] * 5000 if how == "many" else self.PIECES
        if how == "no writev":
            monkeypatch.setattr(kernel, "_writev", None)
        elif how == "gone":
            theirs.close()
        more = {"sslcontext": object()} if how == "tls" else {}
        assert self.write(loop, None if how == "no socket" else ours, pieces, how, **more) == b"".join(pieces)
        if how != "gone":
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)


@pytest.mark.skipif(not hasattr(socket, "SO_DOMAIN"), reason="this system tells no family")
def test_a_socket_that_was_said_to_be_of_another_family() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as known,
        socket.fromfd(known.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as misread,
    ):
        assert (has_its_family(known), has_its_family(misread)) == (True, False)
        for sock in (known, misread):
            with duplicate_of(sock) as duplicate:
                assert duplicate.family == socket.AF_INET
                assert duplicate.getsockname() == known.getsockname()


@pytest.mark.parametrize("kind", [socket.socket, type("Mine", (socket.socket,), {})])
def test_a_duplicate_lets_no_other_process_block(kind: type[socket.socket]) -> None:
    """That a socket of a process blocks is known to that one alone; whether it does is one for all that share it."""
    with kind() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        # As another process has it that accepts.
        os.set_blocking(theirs.fileno(), False)
        with duplicate_of(theirs) as duplicate:
            assert type(duplicate) is kind
            assert duplicate.getsockname() == theirs.getsockname()
            assert not os.get_blocking(duplicate.fileno())
            assert not os.get_inheritable(duplicate.fileno())
        assert not os.get_blocking(theirs.fileno())


class Recording(socket.socket):
    """Notes the descriptors that it is made of: where Python is PyPy, these block from then on."""

    made_of: ClassVar[list[int]] = []

    def __init__(self, family: int = -1, kind: int = -1, protocol: int = -1, fileno: int | None = None) -> None:
        if fileno is not None:
            self.made_of.append(fileno)
        super().__init__(family, kind, protocol, fileno)


@pytest.mark.parametrize("misread", [False, True])
def test_not_for_a_moment_where_python_would_let_it_block(monkeypatch: pytest.MonkeyPatch, misread: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        monkeypatch.setattr(kernel, "_LETS_BLOCK", True)
        monkeypatch.setattr(Recording, "made_of", [])
        family = socket.AF_UNIX if misread and hasattr(socket, "SO_DOMAIN") else socket.AF_INET
        theirs = socket.socket(family, socket.SOCK_STREAM, 0, os.dup(listener.fileno()))
        theirs.setblocking(False)
        monkeypatch.setattr(socket, "socket", Recording)
        with theirs, duplicate_of(theirs) as duplicate:
            assert duplicate.family == socket.AF_INET
            assert duplicate.getsockname() == listener.getsockname()
            assert not os.get_blocking(duplicate.fileno())
            assert not os.get_inheritable(duplicate.fileno())
            assert Recording.made_of == []


@pytest.mark.parametrize("lets_block", [False, True])
def test_a_descriptor_that_was_passed_on_blocks_as_it_did(monkeypatch: pytest.MonkeyPatch, lets_block: bool) -> None:
    if lets_block:
        monkeypatch.setattr(kernel, "_LETS_BLOCK", True)
        monkeypatch.setattr(socket, "socket", BlockingSocket)
    for blocks in (False, True):
        with socket.create_server(("127.0.0.1", 0)) as theirs:
            os.set_blocking(theirs.fileno(), blocks)
            with inherited_socket_of(os.dup(theirs.fileno())) as ours:
                assert (ours.family, ours.type) == (socket.AF_INET, socket.SOCK_STREAM)
                assert os.get_blocking(theirs.fileno()) == blocks


@pytest.mark.parametrize("lets_block", [False, True])
def test_sockets_on_their_way_to_another_process(monkeypatch: pytest.MonkeyPatch, lets_block: bool) -> None:
    monkeypatch.setattr(kernel, "_LETS_BLOCK", lets_block)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        (passed,) = passed_to_a_process([sock])
        if not lets_block:
            assert passed is sock
            return
        # In place of a process that is about to be started.
        monkeypatch.setattr(multiprocessing.reduction, "DupFd", lambda fd: SimpleNamespace(detach=lambda: os.dup(fd)))
        whole, given = passed.__reduce__()
        with whole(*given) as arrived:
            assert arrived.getsockname() == sock.getsockname()
            assert arrived.fileno() != sock.fileno()


def test_a_family_that_nobody_tells_is_believed() -> None:
    with socket.socket() as closed:
        pass
    assert has_its_family(closed)


def test_processes_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_alive(os.getpid())
    for error, there in ((ProcessLookupError, False), (PermissionError, True)):

        def kill(pid: int, sig: int, error: type[OSError] = error) -> None:
            raise error

        monkeypatch.setattr(os, "kill", kill)
        assert is_alive(1) is there


def test_known_loops(loop: asyncio.AbstractEventLoop) -> None:
    assert is_known_loop(loop)
    assert not is_known_loop(object())
