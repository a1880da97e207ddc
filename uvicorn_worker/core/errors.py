"""The errors of the package: one tree, each with whose fault it is and what is answered for it.

UvicornWorkerError
├── ConfigError          the operator's: an option is unknown, of the wrong type or out of range
├── AppLoadError         the operator's: the application can't be imported
├── BindError            the operator's: an address can't be listened on
├── LifespanError        the application's: its startup failed, the server must not serve
├── RequestRefused       the client's: carries the status that is answered before the close
├── ApplicationError     the application's: a message that ASGI does not allow here; answered with 500
└── ClientDisconnected   nobody's: the client left; also an OSError, as the ASGI spec asks

`AppLoadError`, `BindError` and `LifespanError` are SystemExits, too, where they end the start of a server that a
program has in itself (`as_exit()`). And `ProcessExit`, a SystemExit: no error, but the way in which our signal handlers
leave what they have interrupted.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import Any

from uvicorn_worker.core.forked import is_forked, leave

__all__ = [
    "STARTUP_FAILURE",
    "AppLoadError",
    "ApplicationError",
    "BindError",
    "ClientDisconnected",
    "ConfigError",
    "LifespanError",
    "ProcessExit",
    "RequestRefused",
    "UvicornWorkerError",
    "as_exit",
    "comes_from_disconnect",
    "ends_process",
]

STARTUP_FAILURE = 3
"""The exit code where the application or its address can't be served; uvicorn has the same."""

# How far a chain of exceptions is followed.
_CHAIN_LIMIT = 20


class UvicornWorkerError(Exception):
    """Base of all errors that this package raises."""


class ConfigError(UvicornWorkerError, ValueError):
    """An option can't be used as it was given; the message names the option, the value and what is allowed."""


class AppLoadError(UvicornWorkerError):
    """The application named in `Config.app` can't be imported."""


class BindError(UvicornWorkerError):
    """The server can't listen where it was told to; the message is one line that says what to do."""


class LifespanError(UvicornWorkerError):
    """The application's lifespan startup failed."""


class _StartExit(UvicornWorkerError, SystemExit):
    """A start that has failed, and was said in the log: where nobody catches it, the process ends by it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.code = STARTUP_FAILURE


class _AppLoadExit(_StartExit, AppLoadError):
    __doc__ = AppLoadError.__doc__


class _BindExit(_StartExit, BindError):
    __doc__ = BindError.__doc__


class _LifespanExit(_StartExit, LifespanError):
    __doc__ = LifespanError.__doc__


_EXITS: dict[type[BaseException], type[_StartExit]] = {
    AppLoadError: _AppLoadExit,
    BindError: _BindExit,
    LifespanError: _LifespanExit,
}


def as_exit(exc: BaseException) -> BaseException:
    """`exc`, and for a start that has failed an error of its class that is a SystemExit, too, with `STARTUP_FAILURE`.

    With uvicorn it is a SystemExit, for which programs look, and by which a process ends whose server is a task that
    nobody awaits.
    """
    kind = _EXITS.get(type(exc))
    if kind is None:
        return exc
    made = kind(*exc.args).with_traceback(exc.__traceback__)
    made.__cause__ = exc.__cause__
    return made


class RequestRefused(UvicornWorkerError):
    """A request that is answered by the server itself, after which the connection is closed.

    `status` is the HTTP status code, `reason` one line for the log and for the body of the answer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ApplicationError(UvicornWorkerError, RuntimeError):
    """The application sent a message that the ASGI specification does not allow at this point."""


class ClientDisconnected(UvicornWorkerError, ConnectionError):
    """`send()` was called after the client had left (ASGI HTTP 2.4: send() raises an OSError).

    An application that catches uvicorn's own, as that of uvicorn.protocols.utils, catches this one, too.
    """

    def __init__(self, *args: object) -> None:
        theirs: Any = getattr(sys.modules.get("uvicorn.protocols.utils"), "ClientDisconnected", None)
        if isinstance(theirs, type) and issubclass(theirs, OSError) and not issubclass(ClientDisconnected, theirs):
            # Here, and not when a server starts: it may be imported by the first request. Where a Python does not let
            # bases be changed, this one is raised as it is.
            with contextlib.suppress(TypeError):
                ClientDisconnected.__bases__ = (UvicornWorkerError, ConnectionError, theirs)
        super().__init__(*args)


class ProcessExit(SystemExit):
    """The process is to end now, as one of our signal handlers says; a SystemExit of any other kind is not ours.

    An application that calls sys.exit() while it handles a request has made a mistake, which is answered with 500.
    """


def ends_process(exc: BaseException) -> bool:
    """Whether what came out of the application's code is no error of its own, but the end of the process."""
    if isinstance(exc, KeyboardInterrupt):
        # Of the keyboard, where nobody has said what a SIGINT is to do.
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(exc, SystemExit) and is_forked():
        # Of a child that the application has forked: nobody waits for its answer.
        leave(exc.code)
    return isinstance(exc, ProcessExit)


def comes_from_disconnect(exc: BaseException | None) -> bool:
    """Whether `exc` is, or was raised because of, a `ClientDisconnected`."""
    for _ in range(_CHAIN_LIMIT):
        if exc is None:
            break
        if isinstance(exc, ClientDisconnected):
            return True
        group: tuple[BaseException, ...] = getattr(exc, "exceptions", ())
        if group:
            # What came along with it is worth a report.
            return all(comes_from_disconnect(inner) for inner in group)
        exc = exc.__cause__ or exc.__context__
    return False
