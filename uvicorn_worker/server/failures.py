"""An application that can't be loaded: what is shown of it, in the terminal and as a page under `--reload`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from functools import cache

from uvicorn_worker.core.asgi import ASGIApp, Receive, Scope, Send

__all__ = ["failure_app", "files_of", "from_users", "is_users", "users_traceback"]

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@cache
def _libraries() -> tuple[str, ...]:
    # A module with all that Python was built with: only where something has failed.
    try:
        import sysconfig
    except ImportError:
        # A worker of another user than the master's may not read what Python itself has: that is the failure.
        return (os.path.join(os.path.dirname(os.__file__), ""),)
    return tuple(
        {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    )


def is_users(filename: str) -> bool:
    """Whether a file is the user's: none of Python's own, of an installed package, or of this one."""
    if filename.startswith("<"):
        return False
    path = os.path.abspath(filename)
    if path.startswith((os.path.join(_OURS, ""), *_libraries())):
        return False
    parts = path.split(os.sep)
    return "site-packages" not in parts and "dist-packages" not in parts and path != os.path.abspath(sys.argv[0])


def from_users(exc: BaseException) -> BaseException:
    """The same, whose traceback begins with the user's first frame; whole where there is none."""
    found = exc.__traceback__
    while found is not None and not is_users(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    if found is not None or isinstance(exc, SyntaxError):
        exc.__traceback__ = found
    return exc


def users_traceback(exc: BaseException) -> str:
    """The traceback with the frames of the user's files alone; whole where there are none."""
    whole = traceback.TracebackException.from_exception(exc)
    seen: set[int] = set()
    if not _strip(whole, seen) and not isinstance(exc, SyntaxError):
        whole = traceback.TracebackException.from_exception(exc)
    return "".join(whole.format())


def _strip(shown: traceback.TracebackException | None, seen: set[int]) -> bool:
    """Take away the frames of others; whether one is left."""
    if shown is None or id(shown) in seen:
        return False
    seen.add(id(shown))
    kept = [frame for frame in shown.stack if is_users(frame.filename)]
    shown.stack = traceback.StackSummary.from_list(kept)
    left = bool(kept)
    for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
        left = _strip(other, seen) or left
    return left


def failure_app(exc: BaseException) -> ASGIApp:
    """An application that answers every request with 500 and the traceback."""
    text = "".join(traceback.format_exception(type(exc), exc, exc.__traceback__)).encode("utf-8", "replace")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": text})

    return app


def files_of(exc: BaseException | None) -> Iterator[str]:
    """The source files that an error leads through: a change of one of them may mend it."""
    while exc is not None:
        if isinstance(exc, SyntaxError) and exc.filename:
            yield exc.filename
        for frame, _ in traceback.walk_tb(exc.__traceback__):
            yield frame.f_code.co_filename
        exc = exc.__cause__ or exc.__context__
