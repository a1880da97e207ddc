"""One WebSocket in the application (ASGI websocket 2.5).

    CONNECTING ─► OPEN ─► CLOSING ─► CLOSED
        │   accept     close, or the client's close frame
        └─► DENYING ─► CLOSED          close before accept, or websocket.http.response

Both directions are bounded: reading pauses while messages wait for the application, and send() waits while
the client does not read.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.asgi import TOLD_AT_ONCE, Event
from uvicorn_worker.core.clock import ticks
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected, comes_from_disconnect
from uvicorn_worker.core.response_fields import as_fields, as_pair, missing
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.websocket.control import Closed
from uvicorn_worker.websocket.errors import ProtocolError
from uvicorn_worker.websocket.frames import BINARY, BINARY_HEADS, TEXT, TEXT_HEADS, FrameConnection, medium_head
from uvicorn_worker.websocket.handshake import Agreement, websocket_scope
from uvicorn_worker.websocket.waiter import make_waiter

if TYPE_CHECKING:
    from uvicorn_worker.websocket.carrier import Carrier, Handshake

__all__ = ["WebSocketSession"]

CONNECTING, OPEN, CLOSING, DENYING, CLOSED = range(5)
EXPECTED = {
    CONNECTING: "websocket.accept, websocket.close or websocket.http.response.start",
    OPEN: "websocket.send or websocket.close",
    DENYING: "websocket.http.response.body",
}

# Reading pauses while messages of more bytes than this wait for the application, however few they are.
QUEUE_BYTES = 1048576

# The heads of the frames of smaller messages are made already.
SMALL = len(TEXT_HEADS)

# Messages of up to so many bytes are put together, and so many of them, before they are sent.
MOST_TOGETHER = 1024
MOST_OUT = 64

# A message above this size is not copied behind the head of its frame.
COPY_LIMIT = 16384

NORMAL, GOING_AWAY, NO_STATUS, ABNORMAL, INTERNAL_ERROR, SERVICE_RESTART = 1000, 1001, 1005, 1006, 1011, 1012


class WebSocketSession:
    """Runs the application for one WebSocket; the carrier's connection calls `receive_data` and its siblings."""

    __slots__ = (
        "__weakref__",
        "_agreement",
        "_batch",
        "_bytes",
        "_carrier",
        "_close_deadline",
        "_connected",
        "_disconnect",
        "_frames",
        "_goes_on",
        "_handshake",
        "_messages",
        "_out",
        "_ping_payload",
        "_ping_tick",
        "_pong_deadline",
        "_read_paused",
        "_runtime",
        "_stage",
        "_told",
        "_waiter",
        "_waiters",
        "scope",
    )

    def __init__(self, runtime: Runtime, scope: dict[str, Any], handshake: Handshake, agreement: Agreement) -> None:
        self._runtime = runtime
        self._handshake = handshake
        self._agreement = agreement
        self._carrier: Carrier | None = None
        self._frames: FrameConnection | None = None
        self._stage = CONNECTING
        self._connected = False
        # There is none while nothing waits: an empty one is 700 bytes.
        self._messages: deque[str | bytes] | None = None
        self._bytes = 0
        # While the application answers the messages of a read: those of them that it has not taken, the next one last,
        # and the frames of what it has sent, where that is not compressed and the client takes it.
        self._batch: list[str | bytes] | None = None
        self._out: list[bytes] | None = None
        self._read_paused = False
        # Whether what the frames have deferred is read in the next turn of the loop.
        self._goes_on = False
        # What websocket.disconnect says once the messages before it are taken.
        self._disconnect: Closed | None = None
        # The task in receive(), and all others that wait: more of these, and those in send().
        self._waiter = make_waiter(runtime.loop)
        self._waiters: list[asyncio.Future[None]] = []
        self._ping_payload = b""
        # `told`: how often it was said.
        self._ping_tick = self._pong_deadline = self._close_deadline = self._told = 0
        self.scope = websocket_scope(scope)

    # The application ---------------------------------------------------------------------------------

    @property
    def transport(self) -> Any:
        """The connection's, for applications that reach for `send.__self__.transport`, as with uvicorn."""
        return self._handshake.conn.transport

    async def run(self) -> None:
        """Call the application, and end the WebSocket as its end asks for."""
        try:
            await self._runtime.app(self.scope, self._receive, self._send)
        except BaseException as exc:
            # Whatever the application raises is logged and answered here.
            if not isinstance(exc, Exception) and self._handshake.is_ended_by(exc):
                if isinstance(exc, asyncio.CancelledError):
                    self.abandon()
                raise
            self._application_failed(exc)
        else:
            if self._stage == OPEN:
                self._close(NORMAL, "")
            elif self._stage in (CONNECTING, DENYING):
                self._returned_early()
        finally:
            # It knows this object: only the garbage collector would end the two, and what they hold of TLS and zlib.
            del self._handshake

    def _returned_early(self) -> None:
        if self._disconnect is not None:
            self._handshake.give_up()
            return
        self._runtime.tally.failed += 1
        self._runtime.log.error(
            "ASGI application returned without answering the WebSocket handshake: %s", self.scope["path"]
        )
        self._refuse(500, b"Internal Server Error")

    def _application_failed(self, exc: BaseException) -> None:
        log = self._runtime.log
        if self._disconnect is not None and comes_from_disconnect(exc):
            log.debug("WebSocket %s: the client left", self.scope["path"])
            if self._stage in (CONNECTING, DENYING):
                self._handshake.give_up()
            return
        self._runtime.tally.failed += 1
        try:
            log.error("Exception in ASGI application: WebSocket %s", self.scope["path"], exc_info=exc)
        finally:
            if self._stage == OPEN:
                self._close(INTERNAL_ERROR, "")
            elif self._stage in (CONNECTING, DENYING):
                self._refuse(500, b"Internal Server Error")

    def _refuse(self, status: int, text: bytes) -> None:
        self._stage = CLOSED
        self._handshake.reject(status, text)

    # receive() ---------------------------------------------------------------------------------------

    async def _receive(self) -> Event:
        message: str | bytes | None = None
        if batch := self._batch:
            message = batch.pop()
        elif not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        while message is None:
            if self._batch:
                message = self._batch.pop()
            elif self._messages:
                message = self._take_message(self._messages)
            elif self._disconnect is not None:
                closed = self._disconnect
                self._told += 1
                if self._told % TOLD_AT_ONCE == 0:
                    await asyncio.sleep(0)
                return {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}
            elif self._waiter.busy:
                await self._wait()
            else:
                message = await self._waiter
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    def _take_message(self, messages: deque[str | bytes]) -> str | bytes:
        message = messages.popleft()
        if not messages:
            self._messages = None
        self._bytes -= len(message)
        if self._read_paused:
            self._resume_if_possible()
        return message

    def _resume_if_possible(self) -> None:
        carrier, frames = self._carrier, self._frames
        if self._read_paused and carrier is not None and not carrier.write_paused and not self._queue_is_full():
            if frames is not None and frames.deferred:
                self._go_on_soon()
                if frames.crowded:
                    return
            self._read_paused = False
            if self._pong_deadline:
                # The pong may have been there for long.
                self._pong_deadline = self._runtime.tick + ticks(self._runtime.config.ws_ping_timeout or 0)
            else:
                self._schedule_ping()
            carrier.resume_reading()

    def _go_on_soon(self) -> None:
        """Read what the frames have deferred, behind the application's turn, in which it may take what was before."""
        if not self._goes_on:
            self._goes_on = True
            self._runtime.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        self.receive_data(b"")
        self._resume_if_possible()

    def _queue_is_full(self) -> bool:
        messages = self._messages
        return messages is not None and (
            len(messages) >= self._runtime.config.ws_max_queue or self._bytes > QUEUE_BYTES
        )

    async def _wait(self) -> None:
        """Wait until something changes: a message, the end, room to write."""
        waiter = self._runtime.loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def resume_writing(self) -> None:
        """The carrier has room again."""
        self._resume_if_possible()
        self.wake()

    def wake(self) -> None:
        """Let everything that waits look again."""
        self._waiter.wake()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # send() ------------------------------------------------------------------------------------------

    async def _send(self, message: Event) -> None:  # noqa: C901, PLR0912 - a call more costs more than a branch
        try:
            kind = message["type"]
        except (KeyError, TypeError):
            raise missing(message, "type") from None
        out = self._out
        if out is not None:
            if kind == "websocket.send":
                # As below: all that is asked there for each message is known here, until one is large.
                text = message.get("text")
                if isinstance(text, str):
                    payload = text.encode()
                    size = len(payload)
                    if size <= MOST_TOGETHER:
                        out.append((TEXT_HEADS[size] if size < SMALL else medium_head(TEXT, size)) + payload)
                        if len(out) == MOST_OUT:
                            self._gather_out(go_on=True)
                        return
                elif text is None and isinstance(data := message.get("bytes"), bytes):
                    size = len(data)
                    if size <= MOST_TOGETHER:
                        out.append((BINARY_HEADS[size] if size < SMALL else medium_head(BINARY, size)) + data)
                        if len(out) == MOST_OUT:
                            self._gather_out(go_on=True)
                        return
            self._gather_out()
        carrier, frames = self._carrier, self._frames
        if kind != "websocket.send" or self._stage != OPEN or carrier is None or frames is None:
            await self._send_other(message)
            return
        content = message.get("text")
        if content is None:
            content = message.get("bytes")
        # It is what its type says, as with uvicorn: `send_text(orjson.dumps(...))` of Starlette has bytes as text.
        if isinstance(content, str):
            if len(content) <= COPY_LIMIT:
                carrier.gather(frames.text(content))
            else:
                for piece in frames.large(TEXT, content.encode()):
                    carrier.gather(piece)
        elif isinstance(content, (bytes, bytearray, memoryview)):
            if len(content) <= COPY_LIMIT:
                carrier.gather(frames.binary(bytes(content)))
            else:
                for piece in frames.large(BINARY, bytes(content)):
                    carrier.gather(piece)
        elif content is not None:
            raise ApplicationError("websocket.send must have text, or bytes")
        if carrier.write_paused:
            await self._wait_for_room(carrier)

    async def _wait_for_room(self, carrier: Carrier) -> None:
        while carrier.write_paused:
            await self._wait()
            if self._disconnect is not None:
                raise ClientDisconnected("the client left while a message was being sent")

    async def _send_other(self, message: Event) -> None:
        kind, stage = message["type"], self._stage
        if self._disconnect is not None and stage != DENYING:
            if kind == "websocket.close":
                # Many say so in their clean-up, and what is behind it is to be done as well.
                return
            raise ClientDisconnected("the WebSocket is closed")
        if kind == "websocket.accept" and stage == CONNECTING:
            self._accept(message)
        elif kind == "websocket.close" and stage == OPEN:
            self._close(message.get("code", NORMAL), message.get("reason") or "")
        elif kind == "websocket.close" and stage == CONNECTING:
            # ASGI: a close before accept is a 403.
            self._refuse(403, b"Forbidden")
            self.end(ABNORMAL, "")
        elif (kind == "websocket.http.response.start" and stage == CONNECTING) or (
            kind == "websocket.http.response.body" and stage == DENYING
        ):
            await self._deny(message, kind)
        elif stage in (CLOSING, CLOSED):
            raise ClientDisconnected("the WebSocket is closed")
        else:
            raise ApplicationError(f"got the ASGI message {kind!r} where the server expects {EXPECTED[stage]}")

    def _accept(self, message: Event) -> None:
        headers = list(self._agreement.headers)
        # An empty one is none: a client takes an empty field for a fault.
        subprotocol = message.get("subprotocol")
        if subprotocol:
            if not isinstance(subprotocol, str):
                raise ApplicationError(f"subprotocol of websocket.accept must be text, not {subprotocol!r}")
            headers.append((b"sec-websocket-protocol", subprotocol.encode("latin-1")))
        own = {b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-extensions"}
        if subprotocol:
            own.add(b"sec-websocket-protocol")
        given = map(as_pair, as_fields(message.get("headers") or ()))
        headers += [field for field in given if field[0].lower() not in own]
        # Raises for a header that must not reach the wire; then nothing was answered yet.
        self._carrier, early = self._handshake.accept(self, headers)
        self._frames = FrameConnection(self._agreement.deflate, self._runtime.config.ws_max_size)
        # It is not asked for again.
        del self._agreement
        self._stage = OPEN
        self._schedule_ping()
        self._runtime.log.debug("WebSocket %s from %s is open", self.scope["path"], self._handshake.peer)
        if early:
            # Frames that the client has sent without waiting for the answer.
            self.receive_data(early)
        if self._runtime.draining:
            self.drain()

    async def _deny(self, message: Event, kind: str) -> None:
        self._stage = DENYING
        await self._handshake.respond({**message, "type": kind.removeprefix("websocket.")})
        if kind == "websocket.http.response.body" and not message.get("more_body", False):
            self._stage = CLOSED
            self.end(ABNORMAL, "")

    # The client --------------------------------------------------------------------------------------

    def receive_data(self, data: bytes | memoryview) -> None:
        """Take bytes that the carrier has read; an application that waits for them goes on within this call.

        The memory of a memoryview may be written over afterwards.
        """
        waiter, frames = self._waiter, self._frames
        if frames is None:
            return
        events: list[Any] | None = None
        if waiter.wakeup is not None and self._stage == OPEN:
            # The common cases: nothing is kept, and there is nothing to be looked at afterwards.
            message = frames.whole_message(data)
            if message is None:
                events = frames.receive_part(bytes(data))
                if not (frames.answered or frames.deferred) and self._hand_over_batch(events):
                    return
            elif waiter.hand_over(message):
                return
        if events is None:
            events = frames.receive_part(bytes(data))
        # One that waits goes on now. If others wait too, they look again.
        if self._take_events(events, frames) and (not waiter.hand_over(None) or self._waiters):
            self.wake()
        self._look_after_reading()

    def _hand_over_batch(self, messages: list[Any]) -> bool:
        """Let the task that waits go on with the messages of a read; False where it has left some, which are in there.

        What it sends meanwhile is put together, since it leaves in one write anyway.
        """
        if len(messages) <= 1:
            return not messages or self._waiter.hand_over(messages[0])
        messages.reverse()
        self._batch = messages
        if self._carrier is not None and not self._carrier.write_paused and self._frames is not None:
            self._out = [] if self._frames.plain else None
        try:
            self._waiter.hand_over(None)
        finally:
            self._batch = None
            self._gather_out()
            messages.reverse()
        return not messages

    def _gather_out(self, *, go_on: bool = False) -> None:
        """Send what was put together; where it does not `go_on`, each frame is sent by itself from then on."""
        out, carrier = self._out, self._carrier
        self._out = None
        if out and carrier is not None:
            carrier.gather(b"".join(out))
            if go_on and not carrier.write_paused:
                self._out = []

    def _take_events(self, events: list[Any], frames: FrameConnection) -> bool:
        """Queue messages, answer control frames; give whether there is anything new for the application."""
        anything = bool(events)
        self._queue(events, frames)
        while frames.deferred and self._stage != OPEN:
            # Nobody wants the messages any more.
            self._queue(frames.receive_part(b""), frames)
        if frames.answered:
            if self._pong_deadline and frames.pong == self._ping_payload:
                self._pong_deadline = 0
                self._schedule_ping()
            if self._flush_control() and self._carrier is not None and self._carrier.write_paused:
                # A client that pings and does not read is not read from either: each ping would leave a pong.
                self._pause_reading()
        return anything

    def _queue(self, events: list[Any], frames: FrameConnection) -> None:
        closed: Closed | None = events.pop() if events and isinstance(events[-1], Closed) else None
        if events and self._stage == OPEN:
            if self._messages is None:
                self._messages = deque(events)
            else:
                self._messages += events
            self._bytes += sum(map(len, events))
        if closed is not None:
            self._stage = CLOSED if self._stage == CLOSED else CLOSING
            if self._carrier is not None:
                self._carrier.allow_dropping(frames.excess)
            self.end(closed.code, closed.reason)

    def _look_after_reading(self) -> None:
        """Pause if more waits than should; go on with what was deferred if there is room."""
        full = False
        if self._messages and (full := self._queue_is_full()):
            self._pause_reading()
        frames = self._frames
        if frames is not None and frames.deferred:
            if frames.crowded:
                # What comes would only wait behind this.
                self._pause_reading()
            if not (frames.crowded and full):
                self._go_on_soon()

    def _pause_reading(self) -> None:
        if self._stage == OPEN and not self._read_paused and self._carrier is not None:
            self._read_paused = True
            self._carrier.pause_reading()

    def _flush_control(self) -> bool:
        """Send what the frames have to say beside messages, if anything; close when the closing handshake is over."""
        frames, carrier = self._frames, self._carrier
        if frames is None or carrier is None:
            return False
        data = frames.data_to_send()
        if data:
            self._gather_out()
            carrier.gather(data)
        if frames.finished and self._stage != CLOSED:
            self._stage = CLOSED
            self._close_deadline = 0
            carrier.close_gently()
        return bool(data)

    def end(self, code: int, reason: str) -> None:
        """No message comes any more: receive() says websocket.disconnect when those before it are taken."""
        if self._disconnect is None:
            self._disconnect = Closed(code, reason)
            self._runtime.log.debug("WebSocket %s is closed: %d %s", self.scope["path"], code, reason)
        self.wake()

    def connection_lost(self) -> None:
        """The carrier is gone."""
        self._stage = CLOSED
        self._close_deadline = self._pong_deadline = 0
        self.end(ABNORMAL, "")
        # As the handshake.
        self._carrier = None
        self._frames = None

    def disconnect(self) -> None:
        """The client won't send any more; or the server stops, and won't wait much longer."""
        self.end(SERVICE_RESTART if self._runtime.draining else ABNORMAL, "")

    def abandon(self) -> None:
        """The server stops and won't wait for the application any longer."""
        if self._stage in (CONNECTING, DENYING):
            self._refuse(503, b"Service Unavailable")
        elif self._stage == OPEN:
            self._close(SERVICE_RESTART, "")

    def drain(self) -> None:
        """The server stops: close with 1012, and await the reply."""
        if self._stage == OPEN:
            self._close(SERVICE_RESTART, "")
            self.end(SERVICE_RESTART, "")

    # Closing and pings -------------------------------------------------------------------------------

    def _close(self, code: int, reason: str) -> None:
        """Begin the closing handshake from our side."""
        frames, runtime = self._frames, self._runtime
        if frames is None or not frames.open:
            return
        try:
            # 5.5.1: the reason has room for 123 bytes.
            frames.close(code, reason.encode()[:123].decode("utf-8", "ignore"))
        except ProtocolError as exc:
            raise ApplicationError(f"code of websocket.close can't be sent: {exc}") from None
        except (AttributeError, TypeError):
            text = f"code and reason of websocket.close must be a number and text, not {code!r} and {reason!r}"
            raise ApplicationError(text) from None
        self._stage = CLOSING
        self._close_deadline = runtime.tick + ticks(runtime.config.ws_close_timeout)
        if self._read_paused and self._carrier is not None:
            # The reply is behind the messages that nobody wants any more.
            self._read_paused = False
            self._carrier.resume_reading()
        self._messages = self._batch = None
        self._bytes = 0
        self._flush_control()
        if frames.deferred:
            # The reply may be there already.
            self._go_on_soon()

    def _schedule_ping(self) -> None:
        interval = self._runtime.config.ws_ping_interval
        self._ping_tick = self._runtime.tick + ticks(interval) if interval else 0

    @property
    def rest_until(self) -> int:
        """The next tick at which on_tick() has something to do, unless something comes or is sent; 0: it may have."""
        if self._stage != OPEN or self._frames is None or self._read_paused:
            return 0
        return self._pong_deadline or self._ping_tick or sys.maxsize

    def on_tick(self, tick: int) -> None:
        """Twice a second: pings, and the deadlines of pongs and of the closing handshake."""
        if 0 < self._close_deadline <= tick:
            self._close_deadline = 0
            self.end(ABNORMAL, "")
            if self._carrier is not None:
                self._carrier.abort()
        elif self._stage != OPEN or self._frames is None:
            return
        elif self._read_paused:
            # A pong could not be seen: whether the client is there is not asked for now.
            return
        elif 0 < self._pong_deadline <= tick:
            self._pong_deadline = 0
            self._frames.fail(INTERNAL_ERROR, "keepalive ping timeout")
            self.end(INTERNAL_ERROR, "keepalive ping timeout")
            self._flush_control()
        elif 0 < self._ping_tick <= tick:
            self._ping_tick = 0
            self._ping_payload = os.urandom(4)
            self._frames.ping(self._ping_payload)
            self._flush_control()
            timeout = self._runtime.config.ws_ping_timeout
            if timeout:
                self._pong_deadline = tick + ticks(timeout)
            else:
                self._schedule_ping()
