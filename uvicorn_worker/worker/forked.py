"""What a process that the application forks must not keep of its worker: handlers of signals, listening sockets.

With them a child (multiprocessing, os.fork) would take a TERM of its own for the worker's, and go on listening when the
worker has gone: clients would queue up in vain.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterable

__all__ = ["keep_from_children"]

_SIGNALS = ("SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGABRT", "SIGHUP", "SIGWINCH")


def keep_from_children(listeners: Callable[[], Iterable[socket.socket]], handlers: Callable[[object], bool]) -> None:
    """A child of this process has none of `listeners`, and no signal handler of which `handlers` is true."""
    worker = os.getpid()

    def in_child() -> None:
        if os.getppid() != worker:
            # A child of a child: it is done.
            return
        with contextlib.suppress(ValueError, OSError):
            # ValueError: in a thread that is not the main one, whose child has it as its main one from now on.
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None and handlers(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            if handlers(signal.getsignal(signal.SIGINT)):
                signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.set_wakeup_fd(-1)
        for listener in listeners():
            with contextlib.suppress(OSError):
                listener.close()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)
