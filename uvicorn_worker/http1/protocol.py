"""One HTTP/1.1 connection.

    reading    HEAD ─► BODY ─► HEAD ...                  reader.py
    running    waiting ─► cycle ─► response complete     at most one request is in the application
    writing    gathered ─► transport                     core/output.py

This module runs what the reader has made of the bytes, one request after the other, refuses what can't be run, and
ends the connection.
"""

from __future__ import annotations

from typing import Any

from uvicorn_worker.core.address import Address, Endpoints, client_of, peer_name
from uvicorn_worker.core.cycle import AWAIT_START, BODY, DONE, PLAIN_TEXT, WAITING
from uvicorn_worker.core.errors import RequestRefused
from uvicorn_worker.core.figures import Tally
from uvicorn_worker.core.kernel import unread_in_kernel
from uvicorn_worker.core.large_reads import BUFFER_SIZE, LARGE_READ, LargeReads
from uvicorn_worker.core.output import ALLOWED_BYTES, ANSWERED, Output
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http1.extended import UNTIL_CLOSE
from uvicorn_worker.http1.limits import BODY_HIGH_WATER
from uvicorn_worker.http1.parsers import SPENT, UnmadeParser
from uvicorn_worker.http1.reader import AT_REST, HEAD, HELD, START, STOPPED, MessageReader
from uvicorn_worker.http1.reading_on import read_on
from uvicorn_worker.http1.refused import describe_refused
from uvicorn_worker.http1.response_head import encode_field, status_line
from uvicorn_worker.http1.shared import Shared

__all__ = ["Http1Protocol"]

# What may remain of a request body after an early answer for the connection to be kept; it is read and dropped.
DISCARD_LIMIT = 262144


class Http1Protocol(Output):
    """The server's side of one connection."""

    __slots__ = (
        "buffered",
        "client",
        "cycle",
        "endpoints",
        "field_memo",
        "half_closed",
        "more_waits",
        "pumping",
        "read_paused",
        "reader",
        "refusal",
        "refused",
        "scope_base",
        "shared",
        "trusted",
        "waiting",
    )

    client: Address | None
    scope_base: dict[str, Any]

    def __init__(self, runtime: Runtime, shared: Shared, endpoints: Endpoints | None = None) -> None:
        super().__init__(runtime)
        self.shared = shared
        self.field_memo = shared.field_memo
        # The ends of the connection as the PROXY protocol tells them; None: they are those of the socket.
        self.endpoints = endpoints
        # Whether the peer is a proxy that is believed.
        self.trusted = False
        self.reader = MessageReader(self, runtime, shared)
        # The request whose turn it is, and those behind it.
        self.cycle: RequestCycle | None = None
        self.waiting: list[RequestCycle] | None = None
        self.pumping = False
        self.buffered = 0
        self.read_paused = False
        # Whether the last large read was as large as one can be, so that there is more.
        self.more_waits = False
        # Whether the client has ended its side; what it had sent before may be held.
        self.half_closed = False
        # The error that nothing more is read for, and which request it was.
        self.refusal: RequestRefused | None = None
        self.refused: RequestCycle | None = None

    # Connection --------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        runtime, endpoints = self.runtime, self.endpoints
        self.use_transport(transport)
        self.scope_base = runtime.scopes.of_connection(transport, endpoints)
        if endpoints is not None:
            self.client = endpoints.client
        else:
            name = transport.get_extra_info("peername")
            # As the sockets of IPv4 have it.
            self.client = name if type(name) is tuple and len(name) == 2 else client_of(name)
        client, proxies = self.client, self.shared.proxies
        # As `trusts_peer`, without the calls where it is known.
        trusted = None if client is None else proxies.verdicts.get(client[0])
        if trusted is None:
            trusted = proxies.trusts_peer(client, self.scope_base["server"])
        if trusted:
            self.trusted = True
            self.reader.trust_peer()
        if runtime.first_byte_ticks:
            self.deadline = runtime.tick + runtime.first_byte_ticks
        runtime.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.runtime.connections.discard(self)
        self.closing = True
        self.deadline = 0
        self.gathered = None
        self.write_paused = False
        cycle, self.cycle, self.waiting = self.cycle, None, None
        if cycle is not None:
            cycle.connection_lost()
        # These know this object, by their methods, their traceback and so on: only the garbage collector would end it.
        self.reader.end()
        self.refusal = self.refused = None

    def data_received(self, data: bytes | memoryview) -> None:
        reader, size = self.reader, len(data)
        self.rest_until = 0
        self.runtime.tally.bytes_in += size
        if size >= LARGE_READ:
            if type(data) is bytes:
                self.transport.set_protocol(LargeReads(self))
            else:
                self.more_waits = size == BUFFER_SIZE
        if reader.state is not START or self.waiting:
            if reader is not AT_REST:
                self.feed_slowly(data)
                return
            reader = self.wake_reader()
        if type(data) is not bytes or size > self.shared.fast_size:
            if not reader.take_upload(data):
                self.feed_slowly(data)
                return
        else:
            repeated = reader.repeated
            if (
                (
                    repeated is None
                    or not data.endswith(repeated)
                    or not reader.take_repeated(data, size - reader.repeated_size)
                )
                and (reader.pattern is None or not reader.take_pattern(data, data))
                and not reader.take_plain(data, data)
            ):
                rest = reader.read(data)
                if rest:
                    self.feed_slowly(rest)
                elif self.closing:
                    self._drop_behind_head(data)
        cycle = self.cycle
        if cycle is not None and cycle.progress == WAITING:
            if self.write_paused or self.pumping or self.gathered is not None:
                self.pump()
            else:
                # As `pump`, without the call.
                self.deadline = 0
                cycle.admit()

    def wake_reader(self) -> MessageReader:
        """The reader; a connection that was at rest gets one."""
        reader = self.reader
        if reader is AT_REST:
            self.reader = reader = MessageReader(self, self.runtime, self.shared)
            if self.trusted:
                reader.trust_peer()
        return reader

    def feed_slowly(self, data: bytes | memoryview) -> None:
        """Any read but that of one whole small request."""
        was_closing = self.closing
        if was_closing:
            self.drop(data)
        self.reader.feed(data)
        if self.closing and not was_closing:
            self._drop_behind_head(data)
        cycle = self.cycle
        if cycle is None or cycle.progress == WAITING:
            self.pump()

    def eof_received(self) -> bool:
        """The client has sent all that it will send.

        It may still read (a half-close), so requests that came whole are run and answered; the application
        learns of it by http.disconnect. A request that did not come whole is given up.
        """
        reader, cycle = self.reader, self.cycle
        # The transport of TLS closes by itself.
        keep_open = not self.tls_overhead
        incoming = reader.incoming
        if self.closing or cycle is None or incoming is cycle:
            if cycle is not None and cycle.stage == BODY and cycle.framing == UNTIL_CLOSE:
                # It won't come to its end, for which the client would take that of the connection.
                self.reset()
            else:
                self.close()
            return keep_open
        self.half_closed = True
        if incoming is not None:
            self._leave_out(incoming)
        # What was held is yet to be read; then this comes again.
        if not reader.held:
            reader.stop()
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
        reader = self.reader
        try:
            while not self.closing:
                cycle = self.cycle
                if cycle is not None:
                    if cycle.progress != WAITING or self.write_paused:
                        break
                    self.deadline = 0
                    if self.gathered is not None:
                        self.rerun_flush = True
                    cycle.admit()
                elif reader.state is HELD:
                    held = reader.take_held()
                    self._await_request()
                    self.resume_reading()
                    self.feed_slowly(held)
                    if self.half_closed:
                        self.eof_received()
                elif reader.state is STOPPED:
                    self._end()
                else:
                    break
        finally:
            self.pumping = False

    def response_complete(self, cycle: RequestCycle, last: bytes = b"") -> None:
        """Write the last bytes of a response; the next request is started, or the client's turn comes."""
        if last:
            runtime = self.runtime
            if (
                self.gathered is not None
                or self.waiting
                or (runtime.crowded if cycle.keep_alive else self.tls_overhead)
            ):
                self.gather(last)
            else:
                if runtime.lone:
                    runtime.lone -= 1
                elif cycle.keep_alive:
                    # It is counted, and waits for nothing: what the application goes on to do may take long.
                    runtime.write_at_end_of_turn(self)
                self.transport.write(last)
                runtime.tally.bytes_out += len(last)
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
        elif self.reader.state is START and not self.waiting and not self.read_paused:
            self.cycle = None
            self.deadline = self.runtime.tick + self.runtime.keep_alive_ticks
        else:
            self.next_request()

    def _close_after(self, cycle: RequestCycle) -> None:
        """End the connection with the response of `cycle`."""
        behind = self.waiting
        self.cycle = self.waiting = None
        if not cycle.complete:
            # The client is to see the answer although it sends a body that nobody wants.
            self._allow_body(cycle.framing != UNTIL_CLOSE and not cycle.expect_continue)
            self.close_gently()
        elif self.reader.state is STOPPED or self.reader.held:
            self.close_gently()
        elif cycle.persistent or behind or self.reader.state is not START:
            # It sends on, or has done so although it asked for the end.
            self.close_in_order()
        elif self.gathered is not None or self.tls_overhead:
            self.close()
        else:
            # The client has asked for it, and sends nothing more. As `close`, without the calls.
            reader, transport = self.reader, self.transport
            reader.state, reader.held, reader.incoming = STOPPED, None, None
            self.closing, self.rest_until, self.deadline = True, 0, 0
            if not transport.is_closing():
                transport.close()

    def _allow_body(self, hold_end: bool) -> None:
        """Let the client send the rest of the body that comes, up to a bound.

        Our side ends behind that only (`hold_end`), unless its end is the end of the answer, or the client waits for
        a 100 and so may send nothing.
        """
        declared = self.reader.body_declared
        if declared is None:
            self.allow_dropping(ALLOWED_BYTES, hold_end=hold_end)
        else:
            self.allow_dropping(declared - self.reader.body_bytes, known=True, hold_end=hold_end)

    def _drop_behind_head(self, data: bytes | memoryview) -> None:
        """Count what has come of a body in the read in which its request was refused for its length.

        There is no other request in that read, or the refusal would have to wait for its answer.
        """
        if self.awaits_rest:
            head, end, body = bytes(data).partition(b"\r\n\r\n")
            # Behind empty lines the first end is not that of the head.
            if end and not head.startswith(b"\r\n"):
                self.drop(body)

    def next_request(self) -> None:
        """The running request is done with."""
        if self.waiting:
            self.cycle = self.waiting.pop(0)
            self.pump()
            return
        self.cycle = None
        state = self.reader.state
        if state is HELD or state is STOPPED:
            self.pump()
            return
        self._await_request()
        if self.read_paused:
            self.resume_reading()

    def _await_request(self) -> None:
        """No request runs: the client has as long as there is for an idle connection, or for the rest of a head."""
        runtime = self.runtime
        if self.reader.state is not HEAD:
            self.deadline = runtime.tick + runtime.keep_alive_ticks
        elif runtime.request_head_ticks:
            self.deadline = runtime.tick + runtime.request_head_ticks

    def _drop_body(self, cycle: RequestCycle) -> None:
        """Nobody has read it; the client may have been held up by it in the midst of the next request."""
        size = sum(map(len, cycle.chunks))
        cycle.chunks.clear()
        self.body_taken(cycle, size)

    @property
    def has_more_requests(self) -> bool:
        """Whether requests have come that were not begun yet."""
        return bool(self.waiting) or bool(self.reader.held)

    @property
    def body_declared(self) -> int | None:
        """The length of the body of the request that was read last; None: it is chunked."""
        return self.reader.body_declared

    def can_discard_body(self, cycle: RequestCycle) -> bool:
        """Whether what remains of the request's body is little enough to be read and dropped."""
        reader = self.reader
        if cycle.expect_continue or reader.incoming is not cycle or reader.body_declared is None:
            return False
        return reader.body_declared - reader.body_bytes <= DISCARD_LIMIT

    # Flow control of reading -------------------------------------------------------------------------

    def body_taken(self, cycle: RequestCycle, size: int) -> None:
        """The application has taken `size` bytes of a body."""
        self.buffered -= size
        if self.read_paused and self.buffered <= BODY_HIGH_WATER and not self.reader.held:
            self.resume_reading()

    def read_on(self, cycle: RequestCycle) -> bool:
        """The application asks for more of a body: take what is there behind a full buffer; gives whether it was."""
        reader, self.more_waits = self.reader, False
        if reader.incoming is not cycle or reader.parser is not SPENT or self.tls_overhead or not self.shared.reads_on:
            return False
        missing = (reader.body_declared or 0) - reader.body_bytes
        data = read_on(self.transport, missing) if missing >= LARGE_READ else b""
        if not data:
            return False
        self.rest_until = 0
        self.runtime.tally.bytes_in += len(data)
        reader.feed(data)
        return True

    def pause_reading(self) -> None:
        """Let the client wait: what it has sent is enough for now."""
        if not self.read_paused and not self.closing:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The client may send again."""
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    # Handing over ------------------------------------------------------------------------------------

    def release(self) -> bytes:
        """Leave the transport to another protocol; gives the bytes that were read for it already."""
        self.flush()
        self.runtime.connections.discard(self)
        held = self.reader.held or b""
        self.cycle = None
        self.closing = True
        self.resume_reading()
        self.reader.end()
        return held

    # Refusing ----------------------------------------------------------------------------------------

    def refuse(self, refusal: RequestRefused, start: bytes = b"", unread: RequestCycle | None = None) -> None:
        """Answer with an error and close, after the requests before have been answered.

        `start` is how the message began, where the parser could make nothing of it; `unread` is the request, where
        its head was read.
        """
        reader = self.wake_reader()
        if reader.state is STOPPED:
            return
        self.shared.refusals.request(self.peer, refusal.reason)
        self.runtime.tally.refused(refusal.status)
        cycle = reader.incoming
        reader.stop()
        self.refusal = refusal
        if cycle is None:
            self.refused = unread
            if unread is None and (self.runtime.access is not None or self.runtime.paths is not None):
                unread = RequestCycle(self, self.runtime, self.scope_base.copy(), False)
                self.refused = describe_refused(unread, reader.parser, reader.url, start)
            self.pump()
        elif cycle is self.cycle:
            self._refuse_running(cycle)
        else:
            self._leave_out(cycle)
            self.refused = cycle
            self.pump()

    def _leave_out(self, cycle: RequestCycle) -> None:
        """A request that has not come whole, and will not, is the last of those that wait."""
        if self.waiting:
            self.waiting.remove(cycle)

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

    def _end(self) -> None:
        """All requests are answered, and nothing more is read: say why, unless the client has sent all that counts."""
        refusal = self.refusal
        cycle, self.refused = self.refused, None
        if refusal is None:
            self.close()
            return
        body = refusal.reason.encode("ascii", "replace") + b"\n"
        headers = [PLAIN_TEXT, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = [status_line(refusal.status), self.runtime.defaults.lines]
        lines += [encode_field(name, value) for name, value in headers]
        self.gather(b"".join([*lines, b"\r\n", body]))
        self.runtime.tally.responses[Tally.HTTP1 + refusal.status // 100] += 1
        if cycle is not None:
            cycle.status, cycle.response_headers, cycle.body_sent = refusal.status, headers, len(body)
            if self.runtime.paths is not None:
                self.runtime.paths.count(cycle.target, refusal.status)
            cycle.log_access()
        if refusal.status == 413:
            self._allow_body(cycle is None or not cycle.expect_continue)
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
        reader = self.reader
        return self.cycle is None and (reader.state is START or reader is AT_REST)

    def on_tick(self, tick: int) -> None:
        """Look at the deadline; an idle connection holds no more than it must."""
        reader = self.reader
        at_rest = self.cycle is None and reader.state is START and not (self.dropped or reader.head_bytes)
        if at_rest:
            if type(reader.parser) is not UnmadeParser:
                reader.forget()
            # What was answered since the last tick is looked at once more.
            at_rest = not self.sent
        super().on_tick(tick)
        if at_rest and self.rest_until >= 0 and self.deadline > tick and self.all_taken:
            self.rest_until = self.deadline
            reader.end()
            self.reader = AT_REST

    def on_deadline(self) -> None:
        """Too long idle, too long in sending a head or a body, or long enough in lingering."""
        cycle = self.cycle
        if self.closing:
            self.end_linger()
        elif cycle is not None:
            if cycle.stage == DONE:
                # It was answered early, and the rest of its body does not come.
                self.close_gently()
            elif cycle is self.reader.incoming and cycle.progress != WAITING:
                self.refuse(RequestRefused(408, "the request body did not arrive in time"))
        elif self.reader.state is HEAD:
            self.refuse(RequestRefused(408, "the request head did not arrive in time"))
        elif self.is_idle_indeed():
            self.close_idle()

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
            self.close_idle()

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
        self.wake_reader().stop()
        super().close()

    def close_gently(self) -> None:
        """Close after an answer; what comes meanwhile is read and dropped."""
        self.wake_reader().stop()
        self.resume_reading()
        if self.half_closed:
            # Nothing comes.
            super().close()
        else:
            super().close_gently()

    def reset(self) -> None:
        """Cut the connection so that its end can't be taken for the end of the body."""
        self.wake_reader().stop()
        super().reset()
