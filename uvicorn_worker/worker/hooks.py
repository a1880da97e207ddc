"""Gunicorn's hooks pre_request and post_request, around the application.

    pre_request(worker, req) ─► application ─► post_request(worker, req, environ, resp)

They are a layer around the application that is there only when one of them is set. post_request is called once for
each call of pre_request, whatever became of the request. A WebSocket is one request, from its handshake to its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send, raw_path_of
from uvicorn_worker.core.errors import comes_from_disconnect, ends_process
from uvicorn_worker.core.log import escaped
from uvicorn_worker.logs.atoms import make_environ
from uvicorn_worker.worker.statsd import statsd_class
from uvicorn_worker.worker.views import RequestView, ResponseView

if TYPE_CHECKING:
    from gunicorn.config import Config as GunicornConfig

__all__ = ["with_hooks"]

_REFUSAL_BODY = b"Internal Server Error"
_REFUSAL_FIELDS = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(_REFUSAL_BODY))]


def with_hooks(app: ASGIApp, worker: Any) -> ASGIApp:
    """The application with the request hooks that are set, if any; `worker` is what they are called with."""
    before, after = _pre_request(worker.cfg, worker.log), _post_request(worker.cfg)
    if before is None and after is None:
        return app

    async def hooked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        target = _target(scope)
        request = RequestView(scope, target)
        outcome = _Outcome(send, scope.get("method"))
        if after is not None:
            send = outcome.send
        environ: dict[str, Any] = {}
        try:
            if before is not None and not _call_before(before, worker, request, scope):
                await _refuse(scope, send)
                return
            if after is not None:
                # Now, since applications change what is in the scope.
                environ = make_environ(scope, target)
            await app(scope, receive, send)
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            if outcome.status is None and not comes_from_disconnect(exc):
                # The server answers in the place of the application.
                outcome.status = 500
            raise
        finally:
            if after is not None:
                _call_after(after, worker, request, environ or make_environ(scope, target), outcome)

    return hooked


def _pre_request(cfg: GunicornConfig, log: Any) -> Callable[[Any, Any], Any] | None:
    """The hook, unless it is Gunicorn's own and would do nothing: it writes the request at level debug."""
    hook: Callable[[Any, Any], Any] = cfg.pre_request
    if hook is not cfg.settings["pre_request"].default:
        return hook
    gunicorns = (Logger.debug, getattr(statsd_class(), "debug", Logger.debug))
    is_gunicorns = getattr(log.debug, "__func__", None) in gunicorns
    return None if is_gunicorns and not log.error_log.isEnabledFor(logging.DEBUG) else hook


def _post_request(cfg: GunicornConfig) -> Callable[..., Any] | None:
    """The hook, unless it is Gunicorn's own, which does nothing. Gunicorn has made it take four arguments."""
    hook: Callable[..., Any] = cfg.post_request
    return None if hook is cfg.settings["post_request"].default else hook


def _call_before(before: Callable[[Any, Any], Any], worker: Any, request: RequestView, scope: Scope) -> bool:
    """Whether the request goes on to the application, with the header fields that the hook may have changed."""
    try:
        before(worker, request)
        if "headers" in vars(request):
            # The list was asked for: what was added to it reaches the application, as with Gunicorn's WSGI workers.
            headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
            if headers != scope["headers"]:
                scope["headers"] = headers
    except BaseException as exc:
        if ends_process(exc):
            raise
        worker.log.exception("Exception in pre_request hook: %s %s", request.method, escaped(request.path))
        return False
    return True


def _call_after(
    after: Callable[..., Any], worker: Any, request: RequestView, environ: dict[str, Any], outcome: _Outcome
) -> None:
    try:
        after(worker, request, environ, ResponseView(outcome.status, outcome.headers, outcome.sent))
    except BaseException as exc:
        if ends_process(exc):
            raise
        worker.log.exception("Exception in post_request hook")


async def _refuse(scope: Scope, send: Send) -> None:
    """Answer 500 in the place of the application."""
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    await send({"type": f"{prefix}.response.start", "status": 500, "headers": list(_REFUSAL_FIELDS)})
    await send({"type": f"{prefix}.response.body", "body": _REFUSAL_BODY})


def _target(scope: Scope) -> bytes:
    """The request target as the client sent it: the server puts the root_path before it."""
    path: bytes = scope["raw_path"]
    path = path.removeprefix(raw_path_of(scope["root_path"]))
    query: bytes = scope["query_string"]
    return path + b"?" + query if query else path


class _Outcome:
    """What became of a request, seen by what the application sends."""

    def __init__(self, send: Send, method: str | None) -> None:
        self._send = send
        self._counts = method != "HEAD"
        self.status: int | None = None
        self.headers: Iterable[tuple[bytes, bytes]] = ()
        self.sent = 0

    async def send(self, message: Event) -> None:
        """Pass a message on, and note what it says once it was taken."""
        kind = message["type"]
        headers = message.get("headers")
        if headers is not None and not isinstance(headers, list):
            # It may be an iterator, which gives them once.
            message = {**message, "headers": list(headers)}
        await self._send(message)
        if kind.endswith(".response.body"):
            if self._counts:
                self.sent += len(message.get("body") or b"")
        elif kind.endswith(".response.start"):
            self._started(message["status"], message)
            self._counts = self._counts and self.status not in (204, 304)
        elif kind == "websocket.accept":
            self._started(101, message)
        elif kind == "websocket.close" and self.status is None:
            self._started(403, {})

    def _started(self, status: int, message: Event) -> None:
        self.status = int(status)
        self.headers = message.get("headers") or ()
