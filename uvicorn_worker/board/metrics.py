"""`metrics_bind`: the board over HTTP, for Prometheus and for Kubernetes.

    /metrics    Prometheus' text, or OpenMetrics where that is asked for
    /ready      200 where a worker serves and none of its limits is reached, otherwise 503
    /live       200

The master binds, each worker answers in a thread of its own, for all of them: also while its event loop, or another
worker, stands still. The threads take turns by `poll` and an `accept` that does not wait, so that a process which has
been stopped takes no connection that it can't answer.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import select
import socket
import threading
import time

from uvicorn_worker.board.board import Board
from uvicorn_worker.board.exposition import expose
from uvicorn_worker.board.reading import read_board
from uvicorn_worker.core.log import OwnLog

__all__ = ["MetricsSocket", "MetricsThread"]

# Those who scrape send one short request, and have it in one or two pieces.
_LONGEST_HEAD = 8192
_SECONDS = 2.0
_JOIN_SECONDS = 1.0
_TEXT = "text/plain; charset=utf-8"


class MetricsSocket:
    """What is listened on, in the master: bound when it is first asked for, and anew when the option has changed."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._address: str | None = None
        self._socket: socket.socket | None = None
        self._log = OwnLog()

    def at(self, address: str | None) -> socket.socket | None:
        """The socket for the value of the option; None where there is none, or it can't be bound, which is logged."""
        if address != self._address:
            if self._socket is not None:
                self._socket.close()
            self._address, self._socket = address, None
            if address is not None:
                try:
                    self._socket = _bind(address)
                except OSError as exc:
                    self._log.error("metrics_bind = %s can't be listened on, so there are no metrics: %s", address, exc)
        return self._socket


def _bind(address: str) -> socket.socket:
    path = address.removeprefix("unix:")
    if path != address:
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(errno.EAFNOSUPPORT, "Python has no unix sockets on this system; give a host and a port")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind_unix(sock, path)
        except BaseException:
            sock.close()
            raise
        return sock
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            # At an upgrade (USR2) there are two masters for a while.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, int(port)))
        sock.listen(128)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(sock: socket.socket, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not _is_socket(path):
            raise FileExistsError(f"{path} is there, and is no socket")
        os.unlink(path)
    sock.bind(path)
    sock.listen(128)
    sock.setblocking(False)
    owner, made = os.getpid(), os.stat(path).st_ino

    def remove() -> None:
        # Neither in a worker, nor where another master has bound it meanwhile.
        with contextlib.suppress(OSError):
            if os.getpid() == owner and os.stat(path).st_ino == made:
                os.unlink(path)

    atexit.register(remove)


def _is_socket(path: str) -> bool:
    import stat

    return stat.S_ISSOCK(os.stat(path).st_mode)


class MetricsThread:
    """Answers on `sock`, from `start` to `stop`."""

    def __init__(self, sock: socket.socket, board: Board) -> None:
        self.socket = sock
        self._board = board
        self._log = OwnLog()
        self._thread: threading.Thread | None = None
        self._wake: socket.socket | None = None

    def start(self) -> None:
        """Answer, unless this is done already; called with each tick, so that what can't be had now is tried again."""
        if self._thread is None:
            try:
                wake, woken = socket.socketpair()
            except OSError:
                # There is no descriptor left.
                return
            thread = threading.Thread(target=self._run, args=(woken,), name="uvicorn-worker-metrics", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # There are as many threads as the system allows.
                wake.close()
                woken.close()
                return
            self._wake, self._thread = wake, thread

    def stop(self) -> None:
        """Answer no more, until `start` is called again; there is no thread then, unless a client holds it up."""
        thread, self._thread = self._thread, None
        if thread is not None and self._wake is not None:
            self._wake.close()
            thread.join(_JOIN_SECONDS)

    def _run(self, woken: socket.socket) -> None:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        poll.register(woken, select.POLLIN)
        with woken:
            while True:
                ready = [descriptor for descriptor, _ in poll.poll()]
                if woken.fileno() in ready:
                    return
                try:
                    connection, _ = self.socket.accept()
                except OSError:
                    # Another worker has taken it; or there is no descriptor left, which is told elsewhere.
                    time.sleep(0.01)
                    continue
                with connection:
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            # Not what the listening socket is: one that is accepted may have its timeout from it, or not.
            connection.settimeout(_SECONDS)
            answer = self._answer(_read_head(connection))
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            # The client has left, or does not read.
            return
        except Exception as exc:  # noqa: BLE001 - whatever it is, the next scrape is answered
            self._log.error("The metrics could not be told", exc_info=exc)

    def _answer(self, head: bytes) -> bytes:
        lines = head.split(b"\r\n")
        words = lines[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(400, _TEXT, b"this is HTTP/1.1\n", True)
        method, path = words[0], words[1].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(405, _TEXT, b"GET or HEAD\n", True)
        return self._get(path, _field(lines, b"accept"), method == b"GET")

    def _get(self, path: bytes, accept: str, has_body: bool) -> bytes:
        if path == b"/live":
            return _response(200, _TEXT, b"live\n", has_body)
        if path == b"/ready":
            ready = read_board(self._board).is_ready
            return _response(200 if ready else 503, _TEXT, b"ready\n" if ready else b"not ready\n", has_body)
        if path == b"/metrics":
            body, content_type = expose(read_board(self._board), accept)
            return _response(200, content_type, body, has_body)
        return _response(404, _TEXT, b"/metrics, /ready or /live\n", has_body)


def _read_head(connection: socket.socket) -> bytes:
    """The head of a request, or what there is of it; raises OSError where it does not come in time."""
    data = b""
    until = time.monotonic() + _SECONDS
    while b"\r\n\r\n" not in data and len(data) < _LONGEST_HEAD:
        if time.monotonic() > until:
            raise TimeoutError
        piece = connection.recv(_LONGEST_HEAD)
        if not piece:
            break
        data += piece
    return data.partition(b"\r\n\r\n")[0]


def _field(lines: list[bytes], name: bytes) -> str:
    for line in lines[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().decode("latin-1")
    return ""


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _response(status: int, content_type: str, body: bytes, has_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (body if has_body else b"")
