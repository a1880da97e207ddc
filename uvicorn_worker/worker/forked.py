"""What a process that the application forks has of its worker: nothing that would hold up either of them, or a client.

- The handlers of signals: a TERM of the child's own would be taken for the worker's.
- The listening sockets: it would go on listening when the worker has gone, and clients would queue up in vain.
- The clients' connections: one that the worker closes would stay open in the child, and the client wait for its end.
- The way back into the event loop, which is the worker's.

The worker is not held up by its children (`let_children_go`), and leaves the master's alone (`forget_the_masters`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn_worker.core.forked import is_forked, leave, mark_forked
from uvicorn_worker.core.log import write_stderr

__all__ = ["end_children", "forget_the_masters", "keep_from_children", "let_children_go"]

_SIGNALS = ("SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGABRT", "SIGHUP", "SIGWINCH")


def keep_from_children(
    loop: asyncio.AbstractEventLoop,
    listeners: Callable[[], Iterable[socket.socket]],
    connections: Callable[[], Iterable[Any]],
    handlers: Callable[[object], bool],
    before: Callable[[], None],
) -> None:
    """A child has none of `listeners` and `connections`, and no signal handler of which `handlers` is true.

    A connection is what has a `transport`. `before` is called before each fork. `loop` is that of this process.
    """
    worker = os.getpid()

    def in_parent() -> None:
        if os.getpid() == worker:
            before()

    def in_child() -> None:
        if is_forked():
            # A child of a child: it is done.
            return
        mark_forked()
        with contextlib.suppress(ValueError, OSError):
            # ValueError: in a thread that is not the main one; Python takes the one that has forked for that.
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
        _let_go(connections())
        with contextlib.suppress(RuntimeError):
            # RuntimeError: the loop is closed.
            loop.call_soon(_came_back)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=in_parent, after_in_child=in_child)


def _let_go(connections: Iterable[Any]) -> None:
    """Give the sockets up, and keep their numbers taken: the transports would close what has them next."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    for connection in connections:
        transport = getattr(connection, "transport", None)
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError, ValueError):
                # -1 where it is closed: an OSError.
                os.dup2(nothing, sock.fileno(), inheritable=False)
    os.close(nothing)


def _came_back() -> None:
    write_stderr("A process that the application has forked came back to the event loop of its worker: it ends.\n")
    leave(1)


def forget_the_masters() -> None:
    """Called after the fork: a process that a hook has started in the master, by multiprocessing, is not this worker's.

    Python would terminate it at the end of the worker where it is a daemon, and say that it can't be joined.
    """
    children = _children()
    children.difference_update([child for child in children if getattr(child, "_parent_pid", None) != os.getpid()])


def _children() -> set[Any]:
    """Those that multiprocessing has started, if it was; there is no public word for the set itself."""
    process = sys.modules.get("multiprocessing.process")
    children: set[Any] = getattr(process, "_children", set())
    return children


def let_children_go() -> None:
    """Called at the end of the worker: Python would wait there for the children that multiprocessing has started.

    They run on, as those of os.fork and subprocess do. Daemons are ended with their parent, as is said of them; a
    ProcessPoolExecutor ends its own once the work that it was given is done.
    """
    # Without, the end comes when the time for it is over.
    children = _children()
    children.difference_update([child for child in children if not child.daemon])


def end_children() -> None:
    """The time is over, and this process leaves without Python's own clean-up: end the children that it would end.

    Those of a ProcessPoolExecutor would wait for work for ever: each holds the other end of the pipe that it reads.
    """
    children = [
        child
        for thread in threading.enumerate()
        if isinstance(processes := getattr(thread, "processes", None), dict)
        for child in processes.values()
    ]
    multiprocessing: Any = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        children += [child for child in multiprocessing.active_children() if child.daemon]
    for child in children:
        # Whatever a process or its like says to that, this one ends.
        with contextlib.suppress(Exception):
            child.terminate()
