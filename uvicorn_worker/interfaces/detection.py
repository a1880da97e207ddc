"""What kind of application an object is, told by how it can be called.

A coroutine function is ASGI 3. For everything else its own signature decides, never a guess against ASGI 3:

    takes exactly three arguments    asgi3     also a plain function that returns an awaitable
    takes exactly one                asgi2
    takes exactly two                wsgi
    needs none                       factory
    takes none of these              None      no application at all
    can't be known                   asgi3     *args, a compiled callable without a signature

Where `*args` hide the arguments, what `functools.wraps` says of the wrapped callable is looked at.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from typing import Any, Literal

__all__ = ["Kind", "detect", "needs_arguments"]

Kind = Literal["asgi3", "asgi2", "wsgi", "factory"]

_BY_COUNT: dict[int, Kind] = {3: "asgi3", 1: "asgi2", 2: "wsgi"}

# How many layers of functools.wraps are followed.
_WRAPPERS_LIMIT = 20


def detect(app: Any) -> Kind | None:
    """The kind of application that the callable `app` is; None for one that can't be called as any of them."""
    if inspect.isclass(app) and hasattr(app, "__await__"):
        # Made with (scope, receive, send) and then awaited, as Starlette's endpoints are.
        return "asgi3"
    called = _called(app)
    if _is_coroutine_function(called):
        return "asgi3"
    counts = _argument_counts(called)
    if counts is None:
        return _detect_wrapped(called)
    if 0 in counts:
        return "factory"
    return next((kind for count, kind in _BY_COUNT.items() if count in counts), None)


def needs_arguments(factory: Any) -> bool:
    """Whether it is certain that `factory` can't be called without arguments."""
    counts = _argument_counts(_called(factory))
    return counts is not None and 0 not in counts


def _called(app: Any) -> Any:
    """The object whose signature is that of calling `app`."""
    if inspect.isclass(app) or inspect.isroutine(app) or isinstance(app, functools.partial) or hasattr(app, "__code__"):
        # Compiled functions are no routines to `inspect`, but have code and a signature of their own.
        return app
    return app.__call__


def _is_coroutine_function(called: Any) -> bool:
    if inspect.iscoroutinefunction(called):
        return True
    # How asgiref (before Python 3.12) and Cython mark what returns a coroutine.
    marker = getattr(asyncio.coroutines, "_is_coroutine", None) if tuple(sys.version_info) < (3, 14) else None
    return marker is not None and getattr(called, "_is_coroutine", None) is marker


def _argument_counts(called: Any) -> range | None:
    """With how many positional arguments `called` can be called; None where that can't be known."""
    try:
        # Its own signature: that of what it wraps may be another one.
        parameters = inspect.signature(called, follow_wrapped=False).parameters.values()
    except Exception:  # noqa: BLE001 - annotations are evaluated on the way, which may raise anything
        return None
    kinds = {parameter.kind for parameter in parameters}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        return range(0)
    return range(sum(p.default is p.empty for p in positional), len(positional) + 1)


def _detect_wrapped(called: Any) -> Kind:
    """The kind of a callable that hides its arguments: ASGI 3, unless it wraps an ASGI 2 application."""
    for _ in range(_WRAPPERS_LIMIT):
        called = getattr(called, "__wrapped__", None)
        if called is None:
            break
        if (counts := _argument_counts(_called(called))) is not None:
            # Two arguments prove nothing here: the wrapper may be the adapter that makes ASGI of it.
            is_asgi2 = counts == range(1, 2) and not _is_coroutine_function(_called(called))
            return "asgi2" if is_asgi2 else "asgi3"
    return "asgi3"
