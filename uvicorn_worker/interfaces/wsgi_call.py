"""One call of a WSGI application: the side of the thread that it runs in.

    thread                                        event loop (interfaces/wsgi.py)
    ──────                                        ──────────
    app(environ, start_response)
    wsgi.input.read()        ─────── RECEIVE ───► await receive()
        waits                ◄────── resume() ───
    a block of the response  ─────── outbox ────► await send(start), await send(body)
    more than is sent        ─── outbox, SEND ──► await send(body)
        waits                ◄────── resume() ───
    close()
    done                     ───────────────────► the request's task ends

A file that the application has wrapped (wsgi.file_wrapper) is sent by the loop, by the kernel where it can:

    FileWrapper              ─── outbox, SEND ──► await send(start), await send(zerocopysend)
        waits                ◄────── resume() ───
    close()

What one tells the other is read and written under the mailbox's lock where it decides who waits, and in which order
things are seen: nothing here rests on an interpreter that runs one thread at a time.

What the thread waits for costs a switch to the loop and back. So a block is left for the loop, which sends it
at once, while the application makes the next one (PEP 3333, "Buffering and Streaming", the second way). The
thread waits when more than a window is unsent, as it is when the client does not read.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.asgi import Event
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.interfaces.streams import ErrorLog, FileWrapper

if TYPE_CHECKING:
    import asyncio

    from uvicorn_worker.interfaces.threads import Mailbox

__all__ = ["NOTHING", "RECEIVE", "SEND", "WSGIApp", "WsgiCall"]

WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

# What the thread waits for the loop to do.
NOTHING, SEND, RECEIVE = range(3)

# How many bytes of the response may be on their way to the client's connection before the thread waits, and
# what a message counts beyond its body: many small blocks must not take up much memory either.
_WINDOW = 65536
_OVERHEAD = 1024

# Lists of blocks up to this many bytes leave as one.
_JOIN_LIMIT = 65536

_NO_STATUS = "the application gave no status: it did not call start_response()"

# RFC 2616, 13.5.1, to which PEP 3333 refers: what belongs to the connection is the server's.
_HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    ]
)


class WsgiCall:
    """The application's call, and what thread and loop tell each other of it."""

    __slots__ = (
        "_app",
        "_complete",
        "_environ",
        "_errors",
        "_given",
        "_mailbox",
        "_remaining",
        "_sends_files",
        "_sent",
        "_start",
        "_started",
        "_waiting",
        "body_complete",
        "body_cut",
        "chunk",
        "done",
        "error",
        "failure",
        "outbox",
        "waiter",
        "wish",
        "woken",
    )

    def __init__(
        self, app: WSGIApp, environ: dict[str, Any], mailbox: Mailbox, errors: ErrorLog, sends_files: bool
    ) -> None:
        self._app = app
        self._environ = environ
        self._mailbox = mailbox
        self._errors = errors
        # Whether the server knows http.response.zerocopysend.
        self._sends_files = sends_files
        # The head of the response; whether it, and then the whole response, was given to the loop; how much is left
        # of the length that the head told.
        self._start: Event | None = None
        self._started = False
        self._complete = False
        self._remaining: int | None = None
        # How much the thread has given, and the loop has sent: each counts its own.
        self._given = 0
        self._sent = 0

        # From the thread: what is to be sent, what it waits for, how it ended.
        self.outbox: deque[Event] = deque()
        self.wish = NOTHING
        self.done = False
        self.error: BaseException | None = None
        # What the thread waits for: it is released when a wish is taken back.
        self._waiting: threading.Lock | None = None
        # From the loop: the body's next chunk and whether it is the last one, whether the rest will never come, and
        # why nothing can be sent any more.
        self.chunk = b""
        self.body_complete = False
        self.body_cut = False
        self.failure: BaseException | None = None
        # The loop's own: whether the thread has knocked, and what waits for it.
        self.woken = False
        self.waiter: asyncio.Future[None] | None = None

    # The loop's side ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """The thread has something for the loop."""
        self.woken = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def count_sent(self, message: Event) -> None:
        """A message from the outbox was taken by the server."""
        self._sent += len(message.get("body", b"")) + _OVERHEAD

    def asked(self) -> tuple[bool, int]:
        """Whether the thread is done, and what it waits for; what belongs to either is in the outbox by now."""
        with self._mailbox.lock:
            return self.done, self.wish

    def resume(self) -> None:
        """What the thread waited for has happened, if it still waits."""
        with self._mailbox.lock:
            self._let_go()

    def fail(self, failure: BaseException) -> None:
        """Nothing can be sent any more; the thread is told as soon as it tries, or now if it waits."""
        with self._mailbox.lock:
            self.failure = failure
            self._let_go()

    def _let_go(self) -> None:
        if self.wish:
            self.wish = NOTHING
            assert self._waiting is not None  # noqa: S101 - made before the wish
            self._waiting.release()

    # The thread's side -------------------------------------------------------------------------------

    def run(self) -> None:
        """Call the application and send its response; what it raises is kept in `error`."""
        try:
            try:
                if self.failure is None:
                    self._respond()
            finally:
                if self._errors.text:
                    self._errors.flush()
        except BaseException as exc:  # noqa: BLE001 - it is raised in the request's task, which reports it
            self.error = exc
        with self._mailbox.lock:
            self.done = True
        self._mailbox.post(self)

    def _respond(self) -> None:
        # Not kept: its wsgi.input knows this object, and a cycle lives longer than the request.
        environ, self._environ = self._environ, {}
        result = self._app(environ, self.start_response)
        close = getattr(result, "close", None)
        try:
            body = b""
            if isinstance(result, (list, tuple)) and (len(result) == 1 or _size(result) <= _JOIN_LIMIT):
                body = result[0] if len(result) == 1 else b"".join(result)
            elif type(result) is FileWrapper:
                self._send_file(result)
            else:
                for block in result:
                    # PEP 3333: the head waits for the first block that is not empty, and the iteration ends "when
                    # enough data has been sent".
                    if block:
                        if self._complete:
                            break
                        self._send(block)
            if not self._complete:
                self._put(body, last=True)
                if close is not None:
                    # The client need not wait for it.
                    self._mailbox.post(self)
        finally:
            if close is not None:
                close()

    def lose(self) -> None:
        """The loop is gone, and the request's task with it."""
        self.fail(ClientDisconnected("the server has stopped"))

    def _ask(self, wish: int) -> None:
        """Have the loop do something, and wait for it."""
        if self._waiting is None:
            self._waiting = threading.Lock()
            self._waiting.acquire()
        with self._mailbox.lock:
            if self.failure is not None:
                raise self.failure
            self.wish = wish
        self._mailbox.post(self)
        # Whoever takes the wish back releases it, once.
        self._waiting.acquire()
        if self.failure is not None:
            raise self.failure

    def next_chunk(self) -> bytes:
        """The next chunk of the request body, for `BodyReader`; b"" at its end."""
        if self.done:
            raise ApplicationError("wsgi.input was read after the request had ended")
        if not self.body_complete:
            self._ask(RECEIVE)
        if self.body_cut:
            raise ClientDisconnected("the client left before the request body was complete")
        chunk, self.chunk = self.chunk, b""
        return chunk

    # The response ------------------------------------------------------------------------------------

    def start_response(
        self, status: str, headers: Iterable[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable"; gives `write()`."""
        if exc_info:
            try:
                if self._started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                # A cycle: the traceback holds this frame.
                exc_info = None
        elif self._start is not None:
            raise ApplicationError("start_response() was called again, without exc_info")
        code = _status_code(status)
        fields, length = [], None
        for name, value in headers:
            try:
                raw_name, raw_value = _field_name(name), value.encode("latin-1")
            except (AttributeError, TypeError, UnicodeEncodeError):
                raise ApplicationError(
                    f"the response header {name!r} must be a pair of strings of latin-1 characters (PEP 3333)"
                ) from None
            if raw_name == b"content-length" and value.isdecimal():
                length = int(value)
            fields.append((raw_name, raw_value))
        self._start = {"type": "http.response.start", "status": code, "headers": fields}
        self._remaining = length
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333, "The write() Callable": return when `data` is sent, or will be meanwhile."""
        if self.done:
            raise ApplicationError("write() was called after the request had ended")
        if self._remaining is not None and len(data) > self._remaining:
            raise ApplicationError("write() was called with more than Content-Length says")
        self._send(data)

    def _send(self, data: bytes) -> None:
        """Send a piece of the response; waits when there is too much of it for the client."""
        self._put(data, last=False)
        if self._given - self._sent > _WINDOW and not self._complete:
            self._ask(SEND)
        else:
            self._mailbox.post(self)

    def _send_file(self, wrapper: FileWrapper) -> None:
        """PEP 3333, "Optional Platform-Specific File Handling": send a file from where it stands.

        "Transmission should begin at the current position within the file", and "continue until the end is reached,
        or until Content-Length bytes have been written".
        """
        part = wrapper.part() if self._sends_files else None
        left = self._remaining
        if part is not None:
            fd, at, count = part
            if left is not None and count > left:
                count = left
            # A smaller one is there when it is read, and to wait until it is sent costs more.
            if count > _WINDOW:
                self._put_file({"type": "http.response.zerocopysend", "file": fd, "offset": at, "count": count})
                # It is the application's, which closes it next.
                self._ask(SEND)
                return
        for block in wrapper:
            if self._remaining is not None and len(block) >= self._remaining:
                self._put(block, last=True)
                return
            self._send(block)

    def _put_file(self, message: Event) -> None:
        """Leave the one message that is all of the body."""
        if self._start is None:
            raise ApplicationError(_NO_STATUS)
        if self.failure is not None:
            raise self.failure
        self._complete = True
        if not self._started:
            self._started = True
            self.outbox.append(self._start)
            self._given += _OVERHEAD
        self._given += _OVERHEAD
        self.outbox.append(message)

    def _put(self, data: bytes, *, last: bool) -> None:
        """Leave a piece of the response, and before the first one its head, for the loop to send."""
        if self._start is None:
            raise ApplicationError(_NO_STATUS)
        if not isinstance(data, bytes):
            raise ApplicationError(f"the response body must be bytes, not {type(data).__name__}")
        if self.failure is not None:
            raise self.failure
        if self._remaining is not None:
            if len(data) > self._remaining:
                # PEP 3333: no more bytes than Content-Length "allows", as other servers of WSGI have it.
                data = data[: self._remaining]
            self._remaining -= len(data)
            last = last or self._remaining == 0
        self._complete = last
        if not self._started:
            self._started = True
            self.outbox.append(self._start)
            self._given += _OVERHEAD
        self._given += len(data) + _OVERHEAD
        self.outbox.append({"type": "http.response.body", "body": data, "more_body": not last})


def _size(blocks: Sequence[bytes]) -> int:
    return sum(map(len, blocks))


@functools.lru_cache(maxsize=256)
def _status_code(status: str) -> int:
    """The code of a WSGI status, as "404 Not Found"; the reason phrase is the server's own."""
    if not isinstance(status, str):
        raise ApplicationError(f"the status {status!r} must be a string (PEP 3333)")
    code = status[:3]
    if not (code.isascii() and code.isdecimal() and len(code) == 3 and status[3:4] in ("", " ")):
        raise ApplicationError(f"the status {status!r} must be three digits, a space and a reason (PEP 3333)")
    if code < "200":
        raise ApplicationError(f"the status {status!r} is not that of a final response")
    return int(code)


@functools.lru_cache(maxsize=1024)
def _field_name(name: str) -> bytes:
    """The name of a response field as ASGI wants it."""
    lower = name.lower()
    if lower in _HOP_BY_HOP:
        raise ApplicationError(f"the response header {name!r} is hop-by-hop: it is the server's to set (PEP 3333)")
    return lower.encode("latin-1")
