"""Sockets that were passed on (`fd://`, systemd, USR2) are what they are to the master, on a Python that misreads them.

Gunicorn makes a Unix socket of every descriptor that it is given, and asks it for its address. CPython reads an address
as what the kernel says that it is; PyPy reads it as what the socket was said to be. So a TCP socket stays a Unix socket
with a name without a meaning, whose file the master can't remove when it stops, and ends by that.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from gunicorn import sock

from uvicorn_worker.core.kernel import duplicate_of, has_its_family

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["read_families"]

_KINDS = {socket.AF_INET: sock.TCPSocket, socket.AF_INET6: sock.TCP6Socket}


def read_families(listeners: list[Any], cfg: GunicornConfig, log: Any) -> None:
    """Put listeners of their family in the place of those that have another; called before each fork.

    `listeners` is the master's own list: it closes what is in it when it stops, and passes it on at USR2.
    """
    for at, listener in enumerate(listeners):
        if has_its_family(listener):
            continue
        known = duplicate_of(listener)
        name, kind = known.getsockname(), _KINDS.get(known.family)
        if kind is None:
            known.close()
            continue
        listeners[at] = kind(name, cfg, log, fd=known.detach())
        listener.close()
        log.info("Listening at: %s, which was passed on", listeners[at])
