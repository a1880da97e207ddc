"""WSGI (PEP 3333): the side of the event loop; the application runs in threads (interfaces/wsgi_call.py)."""

from __future__ import annotations

import asyncio
import contextvars
import io
import os
from typing import Any

from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.interfaces.environ import request_environ
from uvicorn_worker.interfaces.streams import BodyReader, ErrorLog, FileWrapper
from uvicorn_worker.interfaces.threads import Mailbox, ThreadPool
from uvicorn_worker.interfaces.wsgi_call import RECEIVE, WSGIApp, WsgiCall

__all__ = ["WsgiAdapter"]

# A body that says that it is not longer is received before a thread is taken: a slow client takes up none,
# and the thread need not ask the loop for it.
_SMALL_BODY = 65536

# The most that one `wsgi.input.read()` takes from the body at once, unless it asks for more.
_READ_SIZE = 65536


class WsgiAdapter:
    """Serves a WSGI application, with up to `threads` requests at a time; the others wait for a thread.

    None: as many threads as asyncio's default executor has. `multiprocess` says whether other processes serve
    the same application (`wsgi.multiprocess`). There is no lifespan, and WebSockets are refused (403).
    """

    def __init__(self, app: WSGIApp, threads: int | None = None, *, multiprocess: bool = False) -> None:
        if threads is None:
            threads = min(32, (os.cpu_count() or 1) + 4)
        self._app = app
        self._pool = ThreadPool(threads, "wsgi")
        self._mailbox: Mailbox | None = None
        self._errors = ErrorLog()
        self._environ: dict[str, Any] = {
            "SERVER_SOFTWARE": "uvicorn",
            "wsgi.version": (1, 0),
            "wsgi.errors": self._errors,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; raises what the application raises."""
        kind = scope["type"]
        if kind == "websocket":
            await receive()
            await send({"type": "websocket.close"})
            return
        if kind != "http":
            raise ApplicationError(f"a WSGI application has no {kind}")

        environ = request_environ(self._environ, scope)
        sends_files = "http.response.zerocopysend" in (scope.get("extensions") or ())
        call = WsgiCall(self._app, environ, self._mailbox_of(asyncio.get_running_loop()), self._errors, sends_files)
        length = environ.get("CONTENT_LENGTH")
        if length is None and scope["http_version"][0] == "1" and "HTTP_TRANSFER_ENCODING" not in environ:
            # RFC 9112, 6.3: then there is no body.
            environ["wsgi.input"] = io.BytesIO()
        elif length is not None and "HTTP_EXPECT" not in environ and int(length) <= _SMALL_BODY:
            body = await _receive_whole(receive)
            if body is None:
                return
            environ["wsgi.input"] = io.BytesIO(body)
        else:
            environ["wsgi.input"] = io.BufferedReader(BodyReader(call.next_chunk), _READ_SIZE)
        try:
            self._pool.submit(contextvars.copy_context().run, call.run)
            await _attend(call, receive, send)
        except BaseException:
            # Cancelled, most of all: the thread is told when it next asks for something.
            call.fail(ClientDisconnected("the request was given up"))
            raise

    def _mailbox_of(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        mailbox = self._mailbox
        if mailbox is None or mailbox.loop is not loop:
            mailbox = self._mailbox = Mailbox(loop)
        return mailbox


async def _receive_whole(receive: Receive) -> bytes | None:
    """The whole request body; None when the client left before it was complete."""
    event = await receive()
    body: bytes = event.get("body", b"")
    while event["type"] == "http.request" and event.get("more_body", False):
        event = await receive()
        body += event.get("body", b"")
    return body if event["type"] == "http.request" else None


async def _attend(call: WsgiCall, receive: Receive, send: Send) -> None:
    """Do what the thread asks for until the application is done; raises what it raised."""
    loop = asyncio.get_running_loop()
    done = False
    while not done:
        if not call.woken:
            call.waiter = loop.create_future()
            await call.waiter
        call.woken = False
        # Before the outbox is emptied.
        done, wish = call.asked()
        try:
            while call.outbox:
                message = call.outbox.popleft()
                if call.failure is None:
                    await send(message)
                    call.count_sent(message)
            if wish == RECEIVE:
                await _receive_chunk(call, receive)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is raised in the thread first, then here
            call.fail(exc)
        else:
            if wish and call.failure is None:
                call.resume()
    error, call.error = call.error or call.failure, None
    if error is None:
        return
    try:
        if isinstance(error, Exception):
            raise error
        # SystemExit and its like would end the event loop.
        raise ApplicationError(f"the application raised {error!r}") from error
    finally:
        # The traceback holds this frame.
        del error


async def _receive_chunk(call: WsgiCall, receive: Receive) -> None:
    """Get more of the body for the thread: a chunk that is not empty, the end, or that there is no more to come."""
    while not call.chunk and not call.body_complete and not call.body_cut:
        event = await receive()
        if event["type"] == "http.request":
            call.chunk = event.get("body", b"")
            call.body_complete = not event.get("more_body", False)
        else:
            call.body_cut = True
