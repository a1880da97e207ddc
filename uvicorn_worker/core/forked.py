"""A process that the application has forked: it is no server, whatever it comes back to.

A child has the event loop of its parent, with all that is under way, and sees the same sockets through it. Should it
go on with them, two processes would answer one client. So it ends where the application lets it out.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from typing import Any, NoReturn

__all__ = ["end_process", "is_forked", "leave", "mark_forked"]

# Holds a value in a child.
_forked: list[bool] = []


def mark_forked() -> None:
    """This process is a child of the application's, or a child of such a one; called right after the fork."""
    _forked.append(True)


def is_forked() -> bool:
    """Whether this process was forked by the application."""
    return bool(_forked)


def leave(code: Any) -> NoReturn:
    """End the process as `sys.exit(code)` does, but leave alone what is the parent's: `atexit`, the event loop."""
    if code is not None and not isinstance(code, int):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            sys.stderr.write(f"{code}\n")
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit((code or 0) & 0xFF)


def end_process(code: Any) -> NoReturn:
    """End the process as `sys.exit(code)` does, but here, with nothing of what the callers have still to do."""
    # As at the end of the interpreter, and as multiprocessing does it in its children.
    for finish in (getattr(threading, "_shutdown", None), getattr(atexit, "_run_exitfuncs", None)):
        if finish is not None:
            finish()
    leave(code)
