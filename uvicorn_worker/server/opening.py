"""From a socket that was accepted to a connection, without a task.

`connect_accepted_socket()` waits for one thing, that the transport has called `connection_made()`, which comes with the
next turn of the loop. A task would need a turn of its own to get there, and a context.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

__all__ = ["Accepting", "Opening", "UnderWay", "accepting", "whole"]

# What is in C below each socket of Python.
_BASE: Any = _socket.socket
# As a part of the type it says of a socket that is made of a descriptor that it does not block, without a system call.
_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0)

# What Python's sockets count besides: how many files were made of one, and whether it waits for their end.
_PYTHONS_OWN = (("_io_refs", 0), ("_closed", False))


class _Accepted(socket.socket):
    """One whose family and type are numbers, as C has them; uvloop asks five times, and each member of an enum takes a
    call of Python."""

    __slots__ = ()
    family = _BASE.family
    type = _BASE.type


class _Bare(_Accepted):
    """One that is as it is in C: nothing of Python's is counted in it. It ends where `close()` says so."""

    __slots__ = ()
    __init__ = _BASE.__init__
    close = _BASE.close


def whole(bare: socket.socket) -> socket.socket:
    """The same socket with all that Python's have."""
    if type(bare) is _Bare:
        bare.__class__ = _Accepted
        for name, value in _PYTHONS_OWN:
            setattr(bare, name, value)
    return bare


class Accepting(_Accepted):
    """One that accepts such sockets."""

    __slots__ = ()

    def accept(self) -> tuple[socket.socket, Any]:
        fd, address = self._accept()  # type: ignore[attr-defined]
        return _Accepted(self.family, self.type, self.proto, fileno=fd), address

    def accept_bare(self) -> tuple[socket.socket, Any]:
        """For who needs no more of it than to read and write; `whole` makes one of `accept` of it.

        It is read and written with MSG_DONTWAIT, and says that it does not block: tools that look for calls that hold
        up the loop (blockbuster, which `langgraph dev` and many tests turn on) take it for one that does otherwise.
        """
        fd, address = self._accept()  # type: ignore[attr-defined]
        return _Bare(self.family, self.type | _NONBLOCK, self.proto, fd), address


def accepting(sock: socket.socket) -> socket.socket:
    """The same listening socket, whose connections uvloop makes for less; `sock` is none any more.

    One that is of a class of its own stays what it is, and so do all where gevent or eventlet has put theirs in the
    place of Python's.
    """
    if type(sock) is not socket.socket or socket.socket.__base__ is not _BASE or not hasattr(_BASE, "_accept"):
        return sock
    return Accepting(sock.family, sock.type, sock.proto, fileno=sock.detach())


class UnderWay(Protocol):
    """A connection that is being made: a turn of the loop, a TLS handshake, or a task for both."""

    def cancel(self) -> Any:
        """Give it up."""


class Opening:
    """Runs a coroutine that waits for futures only; `ended` is called with this and what it has raised."""

    __slots__ = ("_coroutine", "_ended")

    def __init__(
        self, coroutine: Coroutine[Any, Any, object], ended: Callable[[Opening, BaseException | None], None]
    ) -> None:
        self._coroutine: Coroutine[Any, Any, object] | None = coroutine
        self._ended = ended

    def step(self, _: object = None) -> None:
        """Go on to the next future, whatever has become of the last one."""
        coroutine = self._coroutine
        if coroutine is None:
            return
        try:
            future = coroutine.send(None)
        except StopIteration:
            self._end(None)
        except Exception as exc:  # noqa: BLE001 - who is told says what it means
            self._end(exc)
        else:
            future.add_done_callback(self.step)

    def cancel(self) -> None:
        """Go no further: the transport is closed."""
        if self._coroutine is not None:
            self._coroutine.close()
            self._end(None)

    def _end(self, exc: BaseException | None) -> None:
        self._coroutine = None
        self._ended(self, exc)
