"""One HTTP/2 connection: events of the engine become requests in the application.

    serving ─► parting ─► warned ─► leaving ─► closing    drain, idle for too long, or a fault
              no stream   GOAWAY    GOAWAY with           the rest of what comes is dropped;
              is open     2^31-1    the last stream       nothing comes where the client has ended its side

Some clients give up every stream that is open when any GOAWAY comes, httpcore those whose responses it has read
along with it and not looked at, and Chromium those that it was about to open. So it leaves when the connection has been
quiet for a moment, or in one write with a response where for as long no two were under way: the first of many that a
client asks for is alone, too. Where there is no such moment in half the time for a stop, it comes with the end of all
responses, or the next request beside others; at once with a WebSocket, which is told 1012, and whose client is back.

Each stream has a cycle of its own (cycle.py); what they send goes through the sending half (sending.py). Frames,
states and windows are the engine's business (engine/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn_worker.core.address import Address, Endpoints, client_address, of_this_machine, peer_name
from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.cycle import BEGUN, DONE
from uvicorn_worker.core.kernel import unread_in_kernel
from uvicorn_worker.core.large_reads import LARGE_READ, LargeReads
from uvicorn_worker.core.log import escaped
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http2.abandoned import Abandoned
from uvicorn_worker.http2.cycle import StreamCycle
from uvicorn_worker.http2.engine.codes import MAX_STREAM_ID, ErrorCode, code_name
from uvicorn_worker.http2.engine.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    PongReceived,
    PriorityUpdated,
    RequestHead,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    WindowOpened,
)
from uvicorn_worker.http2.scope_template import make_template
from uvicorn_worker.http2.sending import Sending
from uvicorn_worker.http2.shared import Shared

__all__ = ["Http2Protocol"]

new = object.__new__

# What may come of a request body after an early answer before the stream is reset; it is read and dropped. So much is
# allowed, declared or not, since there are clients that lose the answer when they are stopped: curl; and httpx, which
# sends all of it before it reads. It costs no more than the same bytes in requests of their own.
ALLOWED_BYTES = 1 << 30
# So much may come beyond it: what lay here already when the answer came counts, too.
DISCARD_LIMIT = 1048576
# How long the rest of a body is waited for that nobody wants, while nothing of it comes; and in all, or for longer
# where it comes at this rate, in bytes a second.
DISCARD_SECONDS = 2.0
DISCARD_TOTAL_SECONDS = 30.0
DISCARD_RATE = 131072
# For how long a connection must be quiet before it is left: from half a second on; and for how long it must have been
# at the beginning of a drain to be left at once.
QUIET_TICKS = 2
IDLE_TICKS = 4
# How long a moment without streams is waited for where a stop has no time limit.
PARTING_SECONDS = 15.0
# From the warning to the real GOAWAY, if the answer to our PING, which comes behind all requests that were sent
# before it and the warning arrived, is not there sooner.
WARNING_SECONDS = 1.0
WARNING_PING = b"goaway?\0"
KEEP_ALIVE_PING = b"alive?\0\0"

SERVING, PARTING, WARNED, LEAVING, ENDED = range(5)


class Http2Protocol(Sending):
    """The server's side of one connection."""

    __slots__ = (
        "abandoned",
        "alone_tick",
        "client",
        "endpoints",
        "heard",
        "leaving",
        "leaving_tick",
        "pinged",
        "quiet_tick",
        "scope_base",
        "together",
        "trusted",
        "waiting",
    )

    speaks = "http/2"

    client: Address | None
    scope_base: dict[str, Any]

    def __init__(self, runtime: Runtime, shared: Shared, endpoints: Endpoints | None = None) -> None:
        super().__init__(runtime, shared)
        # The ends of the connection as the PROXY protocol tells them; None: they are those of the socket.
        self.endpoints = endpoints
        # Whether the peer is a proxy whose word is taken for where the requests come from.
        self.trusted = False
        self.engine = shared.make_engine(shared.limits)
        self.engine.start()
        self.leaving = SERVING
        self.leaving_tick = 0
        # While it parts: how many streams have been under way since none was; when there will have been none, and when
        # no two, for long.
        self.together = 0
        self.quiet_tick = 0
        self.alone_tick = 0
        # Requests that wait because the client does not read.
        self.waiting: list[StreamCycle] = []
        # Cycles whose stream is gone while the application may still be at work on them.
        self.abandoned: Abandoned | None = None
        # When something was read last, and when we have asked whether the client is there; in ticks.
        self.heard = runtime.tick
        self.pinged = 0

    # Connection --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send our preface."""
        runtime, endpoints = self.runtime, self.endpoints
        self.use_transport(cast("asyncio.Transport", transport))
        self.client = client_address(transport) if endpoints is None else endpoints.client
        # Without TLS that of all connections to one listening address: an idle one holds none of its own.
        self.scope_base = runtime.scopes.of_connection(transport, endpoints)
        self.trusted = self.shared.proxies.trusts_peer(self.client, self.scope_base["server"])
        if runtime.first_byte_ticks:
            # Until there is a request.
            self.deadline = runtime.tick + runtime.first_byte_ticks
        runtime.connections.add(self)
        self.flush_soon()
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and not is_adequate(tls.version(), tls.cipher()):
            # RFC 9113, 9.2.2. ALPN has agreed on HTTP/2 before the cipher was known.
            self.engine.goaway(0, ErrorCode.INADEQUATE_SECURITY, b"a cipher of TLS 1.2 without AEAD or forward secrecy")
            self.close()
            return
        if runtime.draining:
            # It was accepted before the doors were closed, or has only now said that it speaks HTTP/2; it has a
            # first request, which GOAWAY must not meet.
            self._part()

    def begin_upgraded(self, head: RequestHead, body: bytes) -> None:
        """Begin with the request that came as HTTP/1.1 and has asked for the upgrade."""
        cycle = self._make_cycle(1, head, not body)
        if body:
            cycle.receive_data(body, True)
        self.begin(cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client, or we, closed the connection."""
        self.runtime.connections.discard(self)
        self.closing, self.write_paused, self.deadline = True, False, 0
        streams, self.streams = self.streams, {}
        self.waiting.clear()
        self.abandoned = None
        for cycle in streams.values():
            # One that waits for its turn knows this object: only the garbage collector would end it.
            self.scheduler.remove(cycle)
            cycle.connection_lost()

    def eof_received(self) -> bool:
        """The client has sent all that it will send; what is complete is still answered, if its windows suffice."""
        # The transport of TLS closes by itself.
        keep_open = not self.tls_overhead
        for cycle in list(self.streams.values()):
            if cycle.complete:
                cycle.disconnect()
            else:
                self.reset_stream(cycle, ErrorCode.CANCEL)
        self.leave()
        self.leaving = ENDED
        if self.closing:
            # Nothing more comes that would have to be waited for.
            self.close()
        return keep_open

    # Reading -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes | memoryview) -> None:
        """Bytes of the client: the engine's events are dealt with in their order, then requests are begun."""
        self.rest_until = 0
        if self.closing:
            self.drop(data)
            return
        runtime = self.runtime
        runtime.tally.bytes_in += len(data)
        if len(data) >= LARGE_READ and type(data) is bytes:
            self.transport.set_protocol(LargeReads(self))
        self.heard = runtime.tick
        begun: list[StreamCycle] = []
        for event in self.engine.receive_data(data):
            if type(event) is RequestReceived:
                self._request_received(event, begun)
            elif type(event) is DataReceived:
                self._data_received(event)
            else:
                _OTHERS[type(event)](self, event)
        for cycle in begun:
            self.begin(cycle)
        if self.scheduler.count:
            self.pump()
        if not self.flush_due and self.engine.has_data:
            self.flush_soon()

    def _request_received(self, event: RequestReceived, begun: list[StreamCycle]) -> None:
        if self.abandoned is not None and self.abandoned.too_many:
            self.engine.reset(event.stream_id, ErrorCode.REFUSED_STREAM)
            if self.leaving < LEAVING:
                self.runtime.log.warning(
                    "%s has left too many requests whose applications go on: the connection takes no more", self.peer
                )
                self.leave()
            return
        if self.leaving == PARTING:
            self.together += 1
            if event.head.protocol is not None or (self.streams and self.runtime.tick >= self.leaving_tick):
                self._warn()
        begun.append(self._make_cycle(event.stream_id, event.head, event.end_stream))

    def _make_cycle(self, stream_id: int, head: RequestHead, complete: bool) -> StreamCycle:
        """The cycle of a request, with its scope."""
        runtime = self.runtime
        template = head.derived
        if template is None:
            template = head.derived = make_template(self.shared, self.scope_base, self.client, head, self.trusted)
        scope = template.scope.copy() if head.kept else template.scope
        if head.kept:
            scope["asgi"] = scope["asgi"].copy()
            scope["headers"] = template.headers.copy()
            scope["extensions"] = scope["extensions"].copy()
        scope["state"] = runtime.state.copy()
        self.streams[stream_id] = cycle = new(StreamCycle)
        cycle.set_up(self, runtime, scope, stream_id, head, complete)
        self.deadline = 0
        if template.priority is not None:
            cycle.urgency, cycle.serial = template.priority
        if self.scheduler.early and (priority := self.scheduler.early.pop(stream_id, None)) is not None:
            cycle.urgency, cycle.serial = priority
        return cycle

    def _data_received(self, event: DataReceived) -> None:
        cycle, size = self.streams.get(event.stream_id), len(event.data)
        if cycle is None:
            self.engine.acknowledge(event.stream_id, size)
        elif cycle.stage == DONE or cycle.gone:
            self._discard(cycle, size, event.end_stream)
        else:
            cycle.receive_data(event.data, event.end_stream)
            runtime = self.runtime
            if cycle.received > runtime.limit_body and cycle.received > (limit := runtime.body_limit(cycle.target)):
                cycle.refuse_body(limit)

    def _trailers_received(self, event: TrailersReceived) -> None:
        """Read, checked, and never mixed into the headers (RFC 9110, 6.5.1)."""
        cycle = self.streams.get(event.stream_id)
        if cycle is not None and (cycle.stage == DONE or cycle.gone):
            self._discard(cycle, 0, True)
        elif cycle is not None:
            cycle.receive_data(b"", True)

    def _stream_reset(self, event: StreamReset) -> None:
        if event.reason:
            self.shared.refusals.request(self.peer, event.reason)
        self.scheduler.early.pop(event.stream_id, None)
        cycle = self.streams.pop(event.stream_id, None)
        if cycle is not None:
            self._forget(cycle)

    def _window_opened(self, event: WindowOpened) -> None:
        self.windows_opened(event.stream_id)

    def _priority_updated(self, event: PriorityUpdated) -> None:
        cycle = self.streams.get(event.stream_id)
        if cycle is not None:
            self.scheduler.prioritise(cycle, event.value)
        elif event.stream_id > self.engine.last_stream_id:
            self.scheduler.keep_early(event.stream_id, event.value)

    def _pong_received(self, event: PongReceived) -> None:
        if event.payload == WARNING_PING and self.leaving == WARNED:
            self.leave()

    def _goaway_received(self, event: GoAwayReceived) -> None:
        """The client opens no more streams: the connection ends with those that run."""
        if event.code:
            name = code_name(event.code)
            self.runtime.log.info("%s gives up an HTTP/2 connection: %s %r", self.peer, name, event.debug[:200])
        self.leave()

    def _connection_failed(self, event: ConnectionFailed) -> None:
        """A fault of the client's that nothing can be served after; GOAWAY says it."""
        name = code_name(event.code)
        if event.code == ErrorCode.ENHANCE_YOUR_CALM:
            # A flood: there may be many.
            self.runtime.tally.flooded()
            self.shared.floods.happens(f"Invalid HTTP/2 from {self.peer}: {escaped(event.reason)} ({name})")
        else:
            self.runtime.tally.refused(400)
            self.shared.refusals.add(f"Invalid HTTP/2 from {self.peer}: {escaped(event.reason)} ({name})")
        streams, self.streams = self.streams, {}
        for cycle in streams.values():
            self._forget(cycle)
        self.close_gently()

    # Running -----------------------------------------------------------------------------------------

    def begin(self, cycle: StreamCycle) -> None:
        """Start the application for a request."""
        if self.write_paused:
            self.waiting.append(cycle)
            return
        if cycle.lost:
            return
        refusal = cycle.head.derived.refusal
        if refusal is not None:
            self.shared.refusals.request(self.peer, refusal.reason)
            cycle.refuse(refusal.status, refusal.reason)
            return
        if cycle.head.protocol is not None:
            replaced = self.shared.extended_connect(cycle)
            if replaced is None:
                cycle.refuse(501, f"the protocol {cycle.head.protocol} is not spoken here")
                return
            self.streams[cycle.stream_id] = cycle = replaced
        cycle.admit()

    def response_complete(self, cycle: StreamCycle) -> None:
        """All of a response was handed to the engine."""
        cycle.finish()
        if not cycle.complete:
            self._discard_rest(cycle)
        else:
            if cycle.chunks:
                # The application has left it: the window of the connection must not shrink with each such request.
                cycle.take_body()
            self.streams.pop(cycle.stream_id, None)
            if not self.streams:
                self._become_idle()

    def _become_idle(self) -> None:
        """The last stream is done with."""
        runtime = self.runtime
        if self.leaving == PARTING:
            later = runtime.tick + QUIET_TICKS
            if self.together > 1:
                self.alone_tick = later
            if runtime.tick >= min(self.alone_tick, self.leaving_tick):
                # In one write with the end of the response. With a PING, Apache's mod_proxy_http2 would ask again here.
                self._warn(asks=False)
            self.together = 0
            self.quiet_tick = later
        if self.leaving >= LEAVING or not runtime.keep_alive_ticks:
            # In the next turn, since this is called from within a stream's send().
            runtime.loop.call_soon(self._close_if_unused)
        else:
            self.deadline = runtime.tick + runtime.keep_alive_ticks

    def _close_if_unused(self) -> None:
        if not self.streams and not self.closing:
            self.leave()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self.write_paused = False
        self.flush()
        self.pump()
        waiting, self.waiting = self.waiting, []
        for cycle in waiting:
            self.begin(cycle)

    # Bodies ------------------------------------------------------------------------------------------

    def body_taken(self, cycle: StreamCycle, size: int) -> None:
        """The application has taken `size` bytes of a body."""
        self.engine.acknowledge(cycle.stream_id, size)
        self.flush_soon()

    def _discard_rest(self, cycle: StreamCycle) -> None:
        """The response is complete and the request is not: more of it is read and dropped, up to a bound."""
        declared, seconds = cycle.head.content_length, DISCARD_TOTAL_SECONDS
        if declared is not None:
            left = min(declared - cycle.received, ALLOWED_BYTES)
            seconds = max(seconds, left / DISCARD_RATE)
        else:
            left = ALLOWED_BYTES
        cycle.discarded -= left
        cycle.discard_end = self.runtime.tick + ticks(seconds)
        self._discard(cycle, 0, False)

    def _discard(self, cycle: StreamCycle, size: int, end: bool) -> None:
        """Nobody takes what has come of a body: neither what waits nor `size` bytes more."""
        size += sum(map(len, cycle.chunks))
        cycle.chunks.clear()
        self.engine.acknowledge(cycle.stream_id, size)
        cycle.received += size
        cycle.discarded += size
        cycle.complete = cycle.complete or end
        if cycle.complete and cycle.stage == DONE and not cycle.pending:
            self.streams.pop(cycle.stream_id, None)
            if not self.streams:
                self._become_idle()
        elif cycle.discarded > DISCARD_LIMIT and cycle.stage == DONE and not cycle.pending:
            self.stop_stream(cycle)
        elif cycle.discard_end:
            latest = cycle.discard_end
            if cycle.head.content_length is None:
                # Nobody knows how long it takes: what has come makes it longer.
                latest += ticks((ALLOWED_BYTES + cycle.discarded) / DISCARD_RATE)
            cycle.deadline = min(self.runtime.tick + ticks(DISCARD_SECONDS), latest)

    # Ending of streams -------------------------------------------------------------------------------

    def stop_stream(self, cycle: StreamCycle) -> None:
        """RFC 9113, 8.1: ask the client not to send the rest of a request that was answered already."""
        self.engine.reset(cycle.stream_id, ErrorCode.NO_ERROR)
        self.flush_soon()
        if self.streams.pop(cycle.stream_id, None) is not None and not self.streams:
            self._become_idle()

    def reset_stream(self, cycle: StreamCycle, code: int) -> None:
        """End a stream that can't be completed."""
        self.engine.reset(cycle.stream_id, code)
        self.flush_soon()
        if self.streams.pop(cycle.stream_id, None) is not None:
            self._forget(cycle)

    def _forget(self, cycle: StreamCycle) -> None:
        """A stream is gone before its time."""
        self.scheduler.remove(cycle)
        cycle.take_body()
        cycle.connection_lost()
        if cycle.progress == BEGUN:
            if self.abandoned is None:
                self.abandoned = Abandoned(self.shared.limits.max_concurrent_streams, self.peer, self.runtime.log)
            self.abandoned.add(cycle)
        elif cycle in self.waiting:
            self.waiting.remove(cycle)
        if not self.streams and not self.closing:
            self._become_idle()

    @property
    def peer(self) -> str:
        """The client's address for the log."""
        return peer_name(self.client)

    # Time --------------------------------------------------------------------------------------------

    def on_tick(self, tick: int) -> None:
        """Twice a second: deadlines of the connection and of its streams."""
        super().on_tick(tick)
        if self.closing:
            return
        quiet = self.engine.tick()
        if not self.streams and tick - self.heard >= QUIET_TICKS:
            self.engine.forget()
            at_rest = quiet and self.leaving == SERVING and self.abandoned is None and self.deadline > tick
            at_rest = at_rest and self.rest_until >= 0
            if at_rest and self.gathered is None and not self.engine.has_data and self.all_taken:
                self.rest_until = self.deadline
                return
        for cycle in list(self.streams.values()):
            cycle.on_tick(tick)
        if self.abandoned is not None and not self.abandoned.look_through():
            self.abandoned = None
        if self.leaving == PARTING and not self.streams and 0 < self.quiet_tick <= tick:
            self._warn()
        if self.leaving == WARNED and tick >= self.leaving_tick:
            self.leave()
        if self.shared.ping_ticks and self.streams:
            self._check_presence(tick)

    def _check_presence(self, tick: int) -> None:
        """Ask a client that has been silent for long whether it is there."""
        if self.pinged and self.heard >= self.pinged:
            self.pinged = 0
        if self.pinged:
            if tick >= self.pinged + self.shared.ping_timeout_ticks:
                self.abort()
        elif tick - self.heard >= self.shared.ping_ticks:
            self.pinged = tick
            self.engine.ping(KEEP_ALIVE_PING)
            self.flush_soon()

    def on_deadline(self) -> None:
        """Too long idle, too long in sending the preface, or long enough in lingering."""
        if self.closing:
            self.end_linger()
        elif self.is_idle_indeed():
            self.leave()

    def on_slow_client(self, tick: int) -> None:
        """The client is still taking the last response: it is not idle yet."""
        if self.closing or self.streams:
            super().on_slow_client(tick)
        else:
            # One less than from now on, since a tick begins now.
            self.deadline = max(self.deadline, tick + self.runtime.keep_alive_ticks - 1)

    def on_stream_deadline(self, cycle: StreamCycle) -> None:
        """A client has taken nothing of what is pending for too long, or sent nothing of what is waited for."""
        if cycle.pending:
            self.runtime.log.info("%s does not take the response to %s", self.peer, cycle.scope["path"])
            self.reset_stream(cycle, ErrorCode.CANCEL)
        elif cycle.stage == DONE:
            self.stop_stream(cycle)
        elif not cycle.complete:
            cycle.time_out()

    # Leaving -----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """The server stops: tell the client, which may have sent requests that are not here yet (6.8)."""
        if self.closing or self.leaving != SERVING:
            return
        self._part()
        if not self.streams and self.engine.last_stream_id:
            if self.runtime.tick - self.heard >= IDLE_TICKS:
                self._warn()
            else:
                # It may be about to ask for much at once, as a browser with a page does.
                self.quiet_tick = self.runtime.tick + QUIET_TICKS

    def _part(self) -> None:
        """Leave when no stream is open."""
        graceful = self.runtime.config.timeout_graceful_shutdown
        self.leaving, self.rest_until = PARTING, min(self.rest_until, 0)
        self.together = len(self.streams)
        self.alone_tick = self.runtime.tick + QUIET_TICKS
        self.leaving_tick = self.runtime.tick + ticks(PARTING_SECONDS if graceful is None else graceful / 2)

    def _warn(self, asks: bool = True) -> None:
        """Tell the client to send no more, while what it has sent already is still served; `asks`: until it answers."""
        self.leaving = WARNED
        self.leaving_tick = self.runtime.tick + ticks(WARNING_SECONDS)
        # PING goes before: to the h2 library a frame behind GOAWAY is an error, and what was read with it is lost.
        if asks:
            self.engine.ping(WARNING_PING)
        self.engine.goaway(MAX_STREAM_ID)
        self.flush_soon()

    def leave(self) -> None:
        """Serve the streams that run, and no other; close when there are none."""
        if self.closing:
            return
        if self.leaving < LEAVING:
            self.leaving, self.rest_until = LEAVING, 0
            self.engine.goaway(self.engine.last_stream_id)
            self.flush_soon()
        if self.streams:
            return
        if self.leaving == ENDED:
            self.close()
        else:
            self.close_in_order()

    @property
    def idle(self) -> bool:
        """Whether no stream is open, and the connection is not being closed."""
        return not self.streams and not self.closing

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way on it, or may be on its way to us."""
        if self.closing:
            self.hasten()
        elif self.streams or unread_in_kernel(self.transport):
            return
        elif self.leaving == PARTING and self.engine.last_stream_id:
            self._warn()
        elif self.leaving != WARNED or (self.runtime.hurries and of_this_machine(self.client)):
            self.leave()


def is_adequate(version: str | None, cipher: tuple[str, str, int] | None) -> bool:
    """Whether HTTP/2 may be spoken: with TLS 1.2 by ephemeral keys and AEAD only (RFC 9113, 9.2.2 and Appendix A)."""
    if version != "TLSv1.2" or cipher is None:
        return True
    name = cipher[0]
    return name.startswith(("ECDHE-", "DHE-")) and any(mode in name for mode in ("GCM", "CCM", "CHACHA20"))


_OTHERS: dict[type[Event], Callable[[Http2Protocol, Any], None]] = {
    TrailersReceived: Http2Protocol._trailers_received,
    StreamReset: Http2Protocol._stream_reset,
    WindowOpened: Http2Protocol._window_opened,
    PriorityUpdated: Http2Protocol._priority_updated,
    PongReceived: Http2Protocol._pong_received,
    GoAwayReceived: Http2Protocol._goaway_received,
    ConnectionFailed: Http2Protocol._connection_failed,
}
