"""One HTTP/1.1 connection.

    reading    HEAD ─► BODY ─► HEAD ...                  input.py
    running    waiting ─► cycle ─► response complete     at most one request is in the application
    writing    gathered ─► transport                     output.py

This module runs what the reading half has made of the bytes, one request after the other, refuses what
can't be run, and ends the connection.
"""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn_worker.core.address import client_address, peer_name
from uvicorn_worker.core.cycle import AWAIT_START, BODY, DONE, PLAIN_TEXT, WAITING
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.kernel import unread_in_kernel
from uvicorn_worker.core.output import ALLOWED_BYTES, ANSWERED
from uvicorn_worker.http1.cycle import UNTIL_CLOSE, RequestCycle
from uvicorn_worker.http1.input import INPUT_ENDED, Input
from uvicorn_worker.http1.refused import describe_refused
from uvicorn_worker.http1.response_head import encode_field, status_line

__all__ = ["Http1Protocol"]

# What may remain of a request body after an early answer for the connection to be kept; it is read and dropped.
DISCARD_LIMIT = 262144


class Http1Protocol(Input):
    """The server's side of one connection."""

    __slots__ = ()

    # Connection --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        runtime, endpoints = self.runtime, self.endpoints
        self.use_transport(cast("asyncio.Transport", transport))
        self.scope_base = runtime.scopes.of_connection(transport, endpoints)
        self.client = client_address(transport) if endpoints is None else endpoints.client
        if self.shared.proxies.trusts_peer(self.client, self.scope_base["server"]):
            self.trust_peer()
        self.parser = self.shared.make_parser(self)
        if runtime.request_head_ticks:
            self.deadline = runtime.tick + runtime.request_head_ticks
        runtime.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        runtime = self.runtime
        runtime.connections.discard(self)
        self.closing = True
        self.between = False
        self.deadline = 0
        self.gathered = None
        self.held = None
        self.write_paused = False
        cycle, self.cycle, self.waiting, self.incoming = self.cycle, None, None, None
        if cycle is not None:
            cycle.connection_lost()
        # These know this object, by their methods, their traceback and so on: only the garbage collector would end it.
        self.parser = self.refusal = self.refused = None

    def eof_received(self) -> bool:
        """The client has sent all that it will send.

        It may still read (a half-close), so requests that came whole are run and answered; the application
        learns of it by http.disconnect. A request that did not come whole is given up.
        """
        cycle, incoming = self.cycle, self.incoming
        # The transport of TLS closes by itself.
        keep_open = not self.tls_overhead
        if incoming is not None and self.waiting and incoming in self.waiting:
            self.waiting.remove(incoming)
            self.incoming = incoming = None
        if self.closing or incoming is not None or cycle is None:
            self.close()
            return keep_open
        if self.held is None and self.refusal is None:
            self.refusal = INPUT_ENDED
            self.between = False
        for waiting in self.waiting or ():
            waiting.disconnect()
        cycle.disconnect()
        return keep_open

    # Running -----------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Start the request whose turn it is; when none is left, go on with what was held back meanwhile.

        A loop, since an application that is started eagerly may be done before its start returns.
        """
        if self.pumping:
            return
        self.pumping = True
        try:
            while not self.closing:
                cycle = self.cycle
                if cycle is not None:
                    if cycle.progress != WAITING or self.write_paused:
                        break
                    self.begin(cycle)
                elif self.held is not None:
                    held, self.held = self.held, None
                    self.resume_reading()
                    self.feed_slowly(held)
                elif self.refusal is not None:
                    self._answer_refusal(self.refusal)
                else:
                    break
        finally:
            self.pumping = False

    def begin(self, cycle: RequestCycle) -> None:
        """Start the application for a request."""
        self.deadline = 0
        if self.gathered is not None:
            self.rerun_flush = True
        cycle.admit()

    def response_complete(self, cycle: RequestCycle, last: bytes = b"") -> None:
        """Write the last bytes of a response; the next request is started, or the client's turn comes."""
        if last:
            if self.gathered is None and not self.waiting:
                self.transport.write(last)
            else:
                self.gather(last)
        cycle.finish()
        if cycle.chunks:
            self._drop_body(cycle)
        if self.dropped:
            self.dropped = 0
        self.sent = ANSWERED
        if not cycle.keep_alive:
            self._close_after(cycle)
        elif not cycle.complete:
            # The rest of the body is read and dropped; the next request begins where it ends.
            self.resume_reading()
            self.deadline = self.runtime.tick + self.runtime.keep_alive_ticks
        elif self.between and not self.read_paused:
            self.cycle = None
            self.deadline = self.runtime.tick + self.runtime.keep_alive_ticks
        else:
            self.next_request()

    def _close_after(self, cycle: RequestCycle) -> None:
        """End the connection with the response of `cycle`."""
        self.cycle = self.waiting = None
        if not cycle.complete:
            # The client is to see the answer although it sends a body that nobody wants.
            self._allow_body()
            self.close_gently()
        elif self.refusal is not None or self.held:
            self.close_gently()
        elif cycle.persistent:
            self.close_in_order()
        else:
            # The client has asked for it, and sends nothing more.
            self.close()

    def _allow_body(self) -> None:
        """Let the client send the rest of the body that comes, up to a bound."""
        declared = self.body_declared
        self.allow_dropping(ALLOWED_BYTES if declared is None else declared - self.body_bytes)

    def next_request(self) -> None:
        """The running request is done with."""
        runtime = self.runtime
        if self.waiting:
            self.cycle = self.waiting.pop(0)
            self.settle()
            self.pump()
            return
        self.cycle = None
        self.settle()
        if not self.begun:
            self.deadline = runtime.tick + runtime.keep_alive_ticks
        elif runtime.request_head_ticks:
            self.deadline = runtime.tick + runtime.request_head_ticks
        if self.held is not None or self.refusal is not None:
            self.pump()
        elif self.read_paused:
            self.resume_reading()

    def _drop_body(self, cycle: RequestCycle) -> None:
        self.buffered -= sum(map(len, cycle.chunks))
        cycle.chunks.clear()

    @property
    def has_more_requests(self) -> bool:
        """Whether requests have come that were not begun yet."""
        return bool(self.waiting) or bool(self.held)

    def can_discard_body(self, cycle: RequestCycle) -> bool:
        """Whether what remains of the request's body is little enough to be read and dropped."""
        if cycle.expect_continue or self.incoming is not cycle or self.body_declared is None:
            return False
        return self.body_declared - self.body_bytes <= DISCARD_LIMIT

    # Handing over ------------------------------------------------------------------------------------

    def release(self) -> bytes:
        """Leave the transport to another protocol; gives the bytes that were read for it already."""
        self.flush()
        self.runtime.connections.discard(self)
        held, self.held = self.held or b"", None
        self.cycle = None
        self.closing = True
        self.between = False
        self.resume_reading()
        self.parser = None
        return held

    # Refusing ----------------------------------------------------------------------------------------

    def refuse(self, refusal: RequestRefused, start: bytes = b"") -> None:
        """Answer with an error and close, after the requests before have been answered.

        `start` is how the message began, where the parser could make nothing of it.
        """
        if self.refusal is not None or self.closing:
            return
        self.refusal = refusal
        self.between = False
        self.held = None
        self.runtime.log.warning("Invalid request from %s: %s", self.peer, refusal.reason)
        cycle, self.incoming = self.incoming, None
        if cycle is None:
            if self.refused is None and self.runtime.access is not None:
                unread = RequestCycle(self, self.runtime, self.scope_base.copy(), False)
                self.refused = describe_refused(unread, self.parser, self.url, start)
            self.pump()
        elif cycle is self.cycle:
            self._refuse_running(cycle)
        elif self.waiting:
            self.waiting.remove(cycle)
            self.refused = cycle
            self.pump()

    def _refuse_running(self, cycle: RequestCycle) -> None:
        """The fault is in the body of a request that the application may be at work on already."""
        if cycle.stage == BODY:
            self.cut(cycle)
            return
        self.cycle = None
        if cycle.stage == DONE:
            self.close_gently()
            return
        # What the application goes on to send has no place any more: the answer is the refusal.
        cycle.stage = AWAIT_START
        cycle.connection_lost()
        self.refused = cycle
        self.pump()

    def _answer_refusal(self, refusal: RequestRefused) -> None:
        cycle, self.refused = self.refused, None
        if refusal is INPUT_ENDED:
            self.close()
            return
        body = refusal.reason.encode("ascii", "replace") + b"\n"
        headers = [PLAIN_TEXT, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = [status_line(refusal.status), self.runtime.defaults.lines]
        lines += [encode_field(name, value) for name, value in headers]
        self.gather(b"".join([*lines, b"\r\n", body]))
        if cycle is not None:
            cycle.status, cycle.response_headers, cycle.body_sent = refusal.status, headers, len(body)
            cycle.log_access()
        if refusal.status == 413:
            self._allow_body()
        self.close_gently()

    @property
    def peer(self) -> str:
        """The client's address for the log."""
        return peer_name(self.client)

    # Hooks of the writing half -----------------------------------------------------------------------

    def resume_writing(self) -> None:
        """There is room again."""
        self.write_paused = False
        if self.cycle is not None:
            self.cycle.wake()
            self.pump()

    # Closing -----------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no request is being received, run or answered, and the connection is not being closed."""
        return self.cycle is None and not self.begun and not self.closing

    def on_deadline(self) -> None:
        """Too long idle, too long in sending a head or a body, or long enough in lingering."""
        cycle = self.cycle
        if self.closing:
            self.end_linger()
        elif cycle is not None:
            if cycle.stage == DONE:
                # It was answered early, and the rest of its body does not come.
                self.close_gently()
            elif cycle is self.incoming and cycle.progress != WAITING:
                self.refuse(RequestRefused(408, "the request body did not arrive in time"))
        elif self.begun:
            self.refuse(RequestRefused(408, "the request head did not arrive in time"))
        elif self.is_idle_indeed():
            self.close_in_order()

    def on_slow_client(self, tick: int) -> None:
        """The client is still taking the last response: it is not idle yet."""
        if self.idle:
            # One less than from now on, since a tick begins now.
            self.deadline = max(self.deadline, tick + self.runtime.keep_alive_ticks - 1)
        else:
            super().on_slow_client(tick)

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way on it."""
        if self.closing:
            self.hasten()
        elif self.idle and not unread_in_kernel(self.transport):
            self.close_in_order()

    def cut(self, cycle: RequestCycle) -> None:
        """End a response that can't be completed in a way that the client can see."""
        self.cycle = self.waiting = None
        cycle.connection_lost()
        if cycle.stage == BODY and cycle.framing == UNTIL_CLOSE:
            self.reset()
        else:
            self.close()

    def close(self) -> None:
        """Close; no further read is looked at."""
        self.between = False
        super().close()

    def close_gently(self) -> None:
        """Close after an answer; what comes meanwhile is read and dropped."""
        self.between = False
        self.held = None
        self.resume_reading()
        super().close_gently()
