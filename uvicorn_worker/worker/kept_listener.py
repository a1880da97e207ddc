"""`reuse_port`: a listening socket that stays with the master, whatever becomes of the workers.

Where `reuse_port` is set, Gunicorn 27 opens no socket in the master, and one for each address in every worker. So
nobody listens while the only worker, or the last of several, is replaced. With one more socket of the same group in
the master that is never so: it gets its part of the connections, all workers read it, and what comes while there is no
worker waits in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn import sock

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["keep_listening"]


def keep_listening(listeners: list[Any], cfg: GunicornConfig, log: Any) -> None:
    """Open the sockets of the master where `reuse_port` has kept Gunicorn from it; called before each fork.

    `listeners` is the master's own list: it closes what is in it when it stops, and workers inherit it.
    """
    if listeners or not cfg.reuse_port or not all(isinstance(address, tuple) for address in cfg.address):
        # Unix sockets know no groups, and a descriptor that was inherited is taken by the first who opens it.
        return
    for listener in sock.create_sockets(cfg, log):
        # A master that takes over (USR2) has one of its own, and would not read this one.
        listener.set_inheritable(False)
        listeners.append(listener)
