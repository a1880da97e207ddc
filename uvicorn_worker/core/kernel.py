"""What the kernel, the event loop and the version of Python say and do, where they differ."""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "bare_socket_of",
    "can_writelines",
    "duplicate_of",
    "has_its_family",
    "inherited_socket_of",
    "is_alive",
    "is_known_loop",
    "is_uvloop",
    "passed_to_a_process",
    "send_end",
    "shared_socket_of",
    "socket_of",
    "unread_in_kernel",
    "unsent_by_kernel",
    "write_at_once",
    "write_descriptor",
    "writelines_pauses",
]

# As it is when the server is imported. What looks for calls that hold up the loop (blockbuster, say) puts
# something else in its place, and that raises for each line of the log.
write_descriptor: Callable[[int, bytes], int] = os.write

# PyPy lets a descriptor block when it makes a socket of it: and with it those of all others, since that belongs to what
# they have in common. CPython leaves it as it is.
_LETS_BLOCK = sys.implementation.name == "pypy"


def _make_queue_size(name: str) -> Callable[[asyncio.BaseTransport], int]:
    """A function that asks the kernel for the size of a queue of a socket, by the name of its ioctl."""
    try:
        ioctl: Any = importlib.import_module("fcntl").ioctl
        request: int = getattr(importlib.import_module("termios"), name)
    except (ImportError, AttributeError):
        # Windows has neither module, and there the sizes are not known.
        return lambda transport: 0

    def queue_size(transport: asyncio.BaseTransport) -> int:
        sock = transport.get_extra_info("socket")
        try:
            return int.from_bytes(ioctl(sock.fileno(), request, bytes(4)), sys.byteorder)
        except (AttributeError, OSError, ValueError):
            return 0

    return queue_size


_output_size = _make_queue_size("TIOCOUTQ")
_input_size = _make_queue_size("FIONREAD")


def unsent_by_kernel(transport: asyncio.BaseTransport) -> int:
    """How many bytes the kernel has taken for a connection that its peer has not confirmed; 0 where it won't say."""
    return _output_size(transport)


def unread_in_kernel(transport: asyncio.BaseTransport) -> int:
    """How many bytes have come on a connection that were not read yet; 0 where the kernel won't say."""
    return _input_size(transport)


_writev: Any = getattr(os, "writev", None)
# So many pieces a writev() takes (limits.h, IOV_MAX): as many as on each system that has it.
_MOST_PIECES = 1024


def write_at_once(transport: asyncio.Transport, pieces: list[bytes], size: int) -> list[bytes]:
    """Give pieces, of `size` bytes together, to the socket of a plain transport; gives what it has not taken.

    uvloop makes two objects of each piece that is not bytes, and asyncio joins them before Python 3.12. Nothing is
    taken where the transport has something left to send, where TLS is in between, and where the socket has an error,
    which is the transport's to meet.
    """
    if (
        _writev is None
        or len(pieces) > _MOST_PIECES
        or transport.get_write_buffer_size()
        or transport.is_closing()
        or transport.get_extra_info("sslcontext") is not None
    ):
        return pieces
    try:
        # No turn of the loop passes meanwhile, so the descriptor is the transport's for sure.
        sent = _writev(transport.get_extra_info("socket").fileno(), pieces)
    except (AttributeError, OSError):
        return pieces
    if sent == size:
        return []
    first = 0
    while sent >= len(pieces[first]):
        sent -= len(pieces[first])
        first += 1
    # A view: what was not sent is not copied.
    return [memoryview(pieces[first])[sent:], *pieces[first + 1 :]]  # type: ignore[list-item]


def socket_of(descriptor: int, family: int = -1, kind: int = -1, protocol: int = -1) -> socket.socket:
    """A socket of a descriptor of a transport, or a copy of it, which does not block, and still does not.

    What is -1 is asked of the kernel.
    """
    sock = socket.socket(family, kind, protocol, descriptor)
    if _LETS_BLOCK:
        sock.setblocking(False)
    return sock


def bare_socket_of(descriptor: int, family: int) -> Any:
    """As `socket_of`, for TCP and its like, without what Python adds to it: made in a third of the time.

    Whoever calls it detaches it before it ends.
    """
    if _LETS_BLOCK:
        return socket_of(descriptor, family, socket.SOCK_STREAM, 0)
    return socket.SocketType(family, socket.SOCK_STREAM, 0, descriptor)


def has_its_family(sock: socket.socket) -> bool:
    """Whether it has the family that the kernel says; True where the kernel won't say.

    One that was made of a descriptor (`socket.fromfd`) has what its maker has said: for Gunicorn and uvicorn, all that
    systemd or a process before has passed on are unix sockets at first. PyPy reads addresses by it.
    """
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == sock.family
    except (AttributeError, OSError):
        return True


def duplicate_of(sock: Any) -> socket.socket:
    """A duplicate, of the family that the kernel says, of a listening socket; whether it blocks is left as it is.

    Not by `sock.dup()`: of a socket that blocks, as far as this process knows, that makes all block that are one with
    it. Another process that accepts from it would wait there for one more client, with the requests that it has.
    """
    # Those of Gunicorn are none, but have one.
    kind = type(sock) if isinstance(sock, socket.socket) else socket.socket
    family, protocol = sock.family, sock.proto
    if not has_its_family(sock):
        kind = socket.socket
        family, protocol = (sock.getsockopt(socket.SOL_SOCKET, each) for each in (socket.SO_DOMAIN, socket.SO_PROTOCOL))
    return shared_socket_of(socket.dup(sock.fileno()), family, sock.type, protocol, kind)


def shared_socket_of(
    descriptor: int, family: int, kind: int, protocol: int, cls: type[socket.socket] = socket.socket
) -> socket.socket:
    """A socket of a descriptor that other processes accept from; not for a moment is it one that blocks, or does not.

    The descriptor is the socket's from then on.
    """
    if not _LETS_BLOCK:
        return cls(family, kind, protocol, descriptor)
    # One that is made of no descriptor, which gets this one in the place of its own.
    sock = cls(family, kind, protocol)
    sock.setblocking(False)
    os.dup2(descriptor, sock.fileno(), inheritable=False)
    os.close(descriptor)
    return sock


def inherited_socket_of(descriptor: int) -> socket.socket:
    """A socket of a descriptor that was passed on, of the family that the kernel says; it blocks as it did."""
    if not _LETS_BLOCK:
        return socket.socket(fileno=descriptor)
    blocks = os.get_blocking(descriptor)
    sock = socket.socket(fileno=descriptor)
    os.set_blocking(descriptor, blocks)
    return sock


class _PassedSocket:
    """A listening socket on its way to a process that multiprocessing starts, where it is a socket again."""

    __slots__ = ("_sock",)

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __reduce__(self) -> Any:
        from multiprocessing.reduction import DupFd

        sock = self._sock
        return _arrived, (DupFd(sock.fileno()), int(sock.family), int(sock.type), sock.proto)


def _arrived(passed: Any, family: int, kind: int, protocol: int) -> socket.socket:
    return shared_socket_of(passed.detach(), family, kind, protocol)


def passed_to_a_process(sockets: Iterable[Any]) -> list[Any]:
    """What multiprocessing is to be given for them: where its own way would let them block for all, another.

    On Windows a socket that is passed on is one of its own.
    """
    return [_PassedSocket(sock) for sock in sockets] if _LETS_BLOCK and os.name == "posix" else list(sockets)


def send_end(transport: asyncio.WriteTransport, loop: asyncio.AbstractEventLoop) -> None:
    """Tell the peer of a plain connection that nothing more is sent: now, and not at the end of uvloop's turn.

    What the peer sends until then is lost to it. Does nothing where something waits to be sent.
    """
    if not is_uvloop(loop) or transport.get_write_buffer_size():
        return
    try:
        # uvloop gives no socket that can be shut down, only its descriptor.
        with socket_of(os.dup(transport.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_WR)
    except (AttributeError, OSError, ValueError):
        # It has ended already, or there is no descriptor left: the transport sees to it.
        return


def is_alive(pid: int) -> bool:
    """Whether there is such a process, be it another user's, or one that only waits to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_uvloop(loop: object) -> bool:
    """Whether the event loop is uvloop's."""
    return type(loop).__module__.startswith("uvloop")


def is_known_loop(loop: object) -> bool:
    """Whether the event loop is uvloop's or asyncio's own, whose sockets and first steps are known."""
    return is_uvloop(loop) or type(loop).__module__.startswith("asyncio.")


def writelines_pauses(version: tuple[int, ...]) -> bool:
    """Whether asyncio's writelines() tells the protocol to pause when the client does not read.

    It forgot to in Python 3.12.0 to 3.12.8 and 3.13.0 to 3.13.1 (CVE-2024-12254): memory would have no bound.
    """
    return not ((3, 12, 0) <= version < (3, 12, 9) or (3, 13, 0) <= version < (3, 13, 2))


_PAUSES = writelines_pauses(tuple(sys.version_info[:3]))


def can_writelines(loop: object) -> bool:
    """Whether a transport of the loop pauses who writes pieces; where not, they are written as one."""
    return _PAUSES or is_uvloop(loop)
