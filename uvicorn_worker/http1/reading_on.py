"""The rest of a body that is with the kernel already, read past the transport.

    transport ─► buffer, and it was full ─► a copy for the application
    kernel ───────────── what is behind it ─► for the application, which has asked for more

A transport reads into a buffer, of which the application gets a copy; here, what comes is read into the object that it
gets. That is done where the buffer was full, so that there is more, and once for each time that it was: then others
have their turn. Loops read when they are told that there is something, so what comes next on the connection is what is
next with the kernel, whoever reads it.
"""

from __future__ import annotations

import asyncio
import socket

from uvicorn_worker.core.kernel import bare_socket_of, is_known_loop

__all__ = ["MOST_AT_ONCE", "can_read_on", "read_on"]

# How much is read at once: an object of so much is made for it, however much there is.
MOST_AT_ONCE = 1048576
# Windows has none, and there the loop may have asked for what comes already.
_DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)


def can_read_on(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop is one of which it is known how it reads."""
    return is_known_loop(loop) and _DONTWAIT != 0


def read_on(transport: asyncio.Transport, size: int) -> bytes:
    """Up to `size` bytes of what has come; nothing where that is nothing, or not to be had: the transport will tell."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or transport.is_closing():
        return b""
    own = bare_socket_of(sock.fileno(), sock.family)
    try:
        data: bytes = own.recv(min(size, MOST_AT_ONCE), _DONTWAIT)
    except OSError:
        return b""
    finally:
        own.detach()
    return data
