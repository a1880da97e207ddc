"""The answer to a request that has blocked its worker, in the last moment before the worker is aborted.

A proxy that gets none asks again, on the next connection that it has kept: one request would block and cost one worker
after the other. So it is answered 503, and is in the access log:

- by the handler of ABRT, where it runs: on this thread, with all that a connection can do, HTTP/2 and TLS included;
- by the thread that watches, where the loop is stuck in C code that lets other threads run, and is to be killed: with
  bytes written past the transport. So this is for HTTP/1.1 on a plain socket alone, and only where nothing was sent.

Either sends before what others were answered in the turn of the loop that does not end.

Neither runs while C code keeps the GIL to itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Collection
from types import FrameType
from typing import Any

from uvicorn_worker.core.cycle import AWAIT_START, DONE, HEAD_HELD, PLAIN_TEXT, RETRY_SOON
from uvicorn_worker.core.kernel import socket_of
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.logs.in_flight import is_websocket, running_task
from uvicorn_worker.logs.line_writer import flush_lines
from uvicorn_worker.server import Server
from uvicorn_worker.worker.offenders import Offenders

__all__ = ["answer_holder", "answer_past_the_loop", "holder_of_loop"]

_TEXT = b"Service Unavailable"
_FIELDS = [PLAIN_TEXT, (b"content-length", b"%d" % len(_TEXT)), RETRY_SOON, (b"connection", b"close")]
# How many frames are looked at.
_DEPTH = 200


def holder_of_loop(server: Server, frame: FrameType | None) -> Any:
    """The request that has the event loop, or None; `frame` is what the loop's thread runs."""
    if not server.started:
        return None
    cycles = list(server.own_runtime.cycles)
    task = running_task(server.own_runtime.loop)
    for cycle in cycles:
        # One that is in its first step has no task yet where tasks start eagerly (Python 3.12).
        if task is not None and cycle.task is task:
            return cycle
    return _found_in_frames(cycles, frame) or next((each for each in cycles if each.task is None), None)


def _found_in_frames(cycles: Collection[Any], frame: FrameType | None) -> Any:
    """A framework runs a handler in another task, whose functions have the request's scope all the same."""
    scopes = {id(cycle.scope): cycle for cycle in cycles}
    for _ in range(_DEPTH):
        if frame is None:
            return None
        if "scope" in frame.f_code.co_varnames and (cycle := scopes.get(id(frame.f_locals.get("scope")))) is not None:
            return cycle
        frame = frame.f_back
    return None


def answer_holder(server: Server, frame: FrameType | None) -> None:
    """Answer the request that has the loop, on the loop's thread; who comes from now on is for other workers."""
    if server.started:
        # The turns of the loop in which the tasks end would accept connections, only to cut them.
        server.own_acceptor.close()
        # What others were answered in this turn of the loop, which does not end.
        with contextlib.suppress(Exception):
            server.own_runtime.end_turn()
    cycle = holder_of_loop(server, frame)
    if cycle is None:
        return
    _count(server, cycle)
    if cycle.lost or cycle.stage not in (AWAIT_START, HEAD_HELD) or is_websocket(cycle):
        return
    # Whatever is wrong with it, the worker is to end.
    with contextlib.suppress(Exception):
        if isinstance(cycle, RequestCycle):
            cycle.keep_alive = False
        cycle.stage = AWAIT_START
        cycle.fail_with(503, _TEXT, [RETRY_SOON])
        # Not in the next turn of the loop, which may not come.
        cycle.conn.flush()
        flush_lines()


def answer_past_the_loop(server: Server) -> None:
    """The same, from another thread while the main one, which has the loop, is stuck."""
    if server.started:
        for conn in list(server.own_runtime.writing):
            _write_raw(conn)
    # Without the GIL the thread may go on while it is looked at, and CPython lets nobody read its variables then.
    looks = getattr(sys, "_is_gil_enabled", lambda: True)()
    frame = sys._current_frames().get(threading.main_thread().ident or 0) if looks else None
    cycle = holder_of_loop(server, frame)
    if cycle is None:
        return
    _count(server, cycle)
    if isinstance(cycle, RequestCycle) and not cycle.lost:
        _answer_raw(cycle)


def _count(server: Server, cycle: Any) -> None:
    """The request has cost a worker."""
    seconds = server.config.block_repeat_offenders
    if seconds is not None:
        Offenders.of_master().add_once(cycle, seconds)


def _is_plain(conn: Any) -> bool:
    """Whether what is written past its transport comes behind all that was written before."""
    return not conn.tls_overhead and not conn.transport.get_write_buffer_size()


def _send(transport: Any, data: bytes) -> socket.socket:
    """Send what the kernel takes at once, since the rest can't be waited for; gives a duplicate of the socket."""
    sock = socket_of(os.dup(transport.get_extra_info("socket").fileno()))
    try:
        sock.send(data, socket.MSG_DONTWAIT)
    except OSError:
        sock.close()
        raise
    return sock


def _write_raw(conn: Any) -> None:
    """Write what was to leave when the turn of the loop ends."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if _is_plain(conn):
            _send(conn.transport, conn.take_gathered()).close()


def _answer_raw(cycle: RequestCycle) -> None:
    conn: Any = cycle.conn
    transport, runtime = conn.transport, cycle.runtime
    # That of an open WebSocket has none.
    if not _is_plain(conn) or conn.gathered or getattr(conn, "cycle", None) is not cycle:
        return
    # From here on the application's send() raises. It may have been in between.
    cycle.lost = True
    if cycle.stage not in (AWAIT_START, HEAD_HELD):
        return
    lines = [b"HTTP/1.1 503 Service Unavailable\r\n", runtime.defaults.lines]
    lines += [b"%b: %b\r\n" % field for field in _FIELDS]
    body = b"" if cycle.head_only else _TEXT
    data = b"".join([*lines, b"\r\n", body])
    try:
        with _send(transport, data) as sock:
            sock.shutdown(socket.SHUT_WR)
    except (AttributeError, OSError, ValueError):
        return
    cycle.status, cycle.response_headers, cycle.body_sent = 503, _FIELDS, len(body)
    cycle.stage = DONE
    cycle.log_access()
    flush_lines()
    # Should the loop turn again, the connection is of no use to it.
    with contextlib.suppress(RuntimeError):
        runtime.loop.call_soon_threadsafe(conn.abort)
