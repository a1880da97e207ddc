"""A WebSocket on a stream of HTTP/2 (RFC 8441): an extended CONNECT that is answered 200 becomes one.

What was the connection is the stream: END_STREAM closes it, RST_STREAM cuts it, its window is the backpressure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn_worker.core.asgi import Event
from uvicorn_worker.core.cycle import BODY, DONE
from uvicorn_worker.core.figures import Tally
from uvicorn_worker.core.output import GATHER_LIMIT
from uvicorn_worker.http2 import ErrorCode, StreamCycle
from uvicorn_worker.websocket import Refusal, WebSocketSession, accept_key, negotiate

if TYPE_CHECKING:
    from uvicorn_worker.websocket.carrier import Carrier, Headers

__all__ = ["connect_to_websocket"]

# The fields that make a handshake of HTTP/1.1 of an extended CONNECT, which does without them (RFC 8441, 5); the key
# is that of RFC 6455, 1.3, and its answer is not sent, but that to a key of the client's: Envoy passes on the key of a
# client of HTTP/1.1, which waits for the answer.
_HANDSHAKE_FIELDS = [
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]
_NOT_SENT = frozenset([b"connection", b"upgrade", b"sec-websocket-accept"])


def connect_to_websocket(cycle: StreamCycle) -> StreamCycle | None:
    """The cycle that takes the place of an extended CONNECT for WebSocket; None for another protocol."""
    # Names of protocols are compared without regard to case (RFC 9110, 7.8).
    return HandshakeStream(cycle) if (cycle.head.protocol or "").lower() == "websocket" else None


class HandshakeStream(StreamCycle):
    """A WebSocket handshake on HTTP/2, and then the WebSocket in the application."""

    __slots__ = ("accepted", "gathered", "held", "key", "session", "size")

    websocket = True
    counted_at = Tally.WEBSOCKET

    def __init__(self, cycle: StreamCycle) -> None:
        self.set_up(cycle.conn, cycle.runtime, cycle.scope, cycle.stream_id, cycle.head, cycle.complete)
        self.started = cycle.started
        self.urgency, self.serial = cycle.urgency, cycle.serial
        self.chunks = cycle.chunks
        self.session: WebSocketSession | None = None
        # What the client sent as sec-websocket-key, although nobody asked for it.
        self.key: bytes | None = None
        self.accepted = False
        # Whether the session does not want to be given more.
        self.held = False
        # What the session has sent in this turn of the loop.
        self.gathered: list[bytes] = []
        self.size = 0

    async def run(self) -> None:
        """Check the handshake, then call the application."""
        scope = self.scope
        try:
            headers = [field for field in scope["headers"] if field[0] != b"sec-websocket-key"]
            if len(headers) < len(scope["headers"]):
                self.key = next(value for name, value in scope["headers"] if name == b"sec-websocket-key")
            headers += _HANDSHAKE_FIELDS
            agreement = negotiate(self.runtime.config, headers)
            if isinstance(agreement, Refusal):
                self.runtime.log.warning("Invalid WebSocket handshake from %s: %s", self.peer, agreement.reason)
                fields = [field for field in agreement.headers if field[0] not in _NOT_SENT]
                self.reject(agreement.status, agreement.reason.encode("ascii", "replace"), fields)
            else:
                self.session = WebSocketSession(self.runtime, scope, self, agreement)
                await self.session.run()
        finally:
            self.returned()

    def check_time(self, now: float) -> None:
        """A handshake is to be answered in time; a WebSocket may last, but not for long once the client has left."""
        if self.accepted:
            self.check_left(now)
        else:
            super().check_time(now)

    # The handshake of the session --------------------------------------------------------------------

    async def respond(self, message: Event) -> None:
        """Send a part of a denial response."""
        await self.send(message)

    def reject(self, status: int, text: bytes, headers: Headers = ()) -> None:
        """Answer with a short text, where no answer was begun; else reset the stream."""
        # 426 asks for an upgrade, which HTTP/2 has not.
        self.fail_with(400 if status == 426 else status, text, headers)

    def give_up(self) -> None:
        """The client has left by half; the stream is of no use to the other half."""
        self.abort()

    def accept(self, session: WebSocketSession, headers: list[tuple[bytes, bytes]]) -> tuple[Carrier, bytes]:
        """Answer 200: the stream is the carrier. Gives it, and the bytes that came already."""
        runtime, conn = self.runtime, self.conn
        fields = [field for field in headers if field[0] not in _NOT_SENT]
        if self.key is not None:
            fields.append((b"sec-websocket-accept", accept_key(self.key)))
        self.hold_head(200, fields)
        conn.send_head(self, self.fields)
        self.stage = BODY
        self.response_headers = headers
        self.accepted = True
        super().finish()
        if self.complete:
            # There is nothing to come, and nobody to speak to for long.
            runtime.loop.call_soon(self._deliver)
        return self, self.take_body()

    # The carrier of the session -----------------------------------------------------------------------

    @property
    def write_paused(self) -> bool:
        """Whether the client does not take what is sent."""
        return bool(self.pending) or self.conn.write_paused

    def gather(self, data: bytes) -> None:
        """Keep `data` until this turn of the loop ends: it leaves in one frame with what follows."""
        if not self.gathered:
            self.runtime.loop.call_soon(self.flush)
        self.gathered.append(data)
        self.size += len(data)
        if self.size > GATHER_LIMIT:
            self.flush()

    def flush(self) -> None:
        """Hand what was gathered to the connection."""
        gathered, self.gathered, self.size = self.gathered, [], 0
        if gathered and not self.lost and self.stage == BODY:
            self.conn.send_body(self, b"".join(gathered), False)

    def pause_reading(self) -> None:
        """Messages wait for the application: the client gets no credit for more."""
        self.held = True

    def resume_reading(self) -> None:
        """The application has taken some."""
        self.held = False
        if self.chunks or self.complete:
            self.runtime.loop.call_soon(self._deliver)

    def allow_dropping(self, size: int) -> None:
        """What nobody wants is dropped up to a limit, and then the stream is reset: the others are not in its way."""

    def close_gently(self) -> None:
        """End our side of the stream; the client's end is waited for a little."""
        self.flush()
        if not self.lost and self.stage == BODY:
            self.stage = DONE
            self.conn.send_body(self, b"", True)

    def abort(self) -> None:
        """Cut the stream."""
        if not self.lost:
            self.conn.reset_stream(self, ErrorCode.CANCEL)

    # What the connection and the server say -----------------------------------------------------------

    def receive_data(self, data: bytes, end: bool) -> None:
        """Bytes of the WebSocket, or before it is open."""
        if data:
            self.keep_chunk(data)
        self.complete = end
        if self.accepted:
            self._deliver()

    def _deliver(self) -> None:
        """Give the session what has come, unless it has enough."""
        session = self.session
        if session is None or self.lost:
            return
        while self.chunks and not self.held:
            data = self.take_body()
            if self.stage != DONE:
                session.receive_data(data)
        if self.complete and not self.chunks and self.stage != DONE:
            # The end of a connection that was not said by a close frame.
            session.connection_lost()
            self.abort()

    def finish(self) -> None:
        """The stream was ended; what was counted and logged when the WebSocket opened is not so again."""
        if not self.accepted:
            super().finish()
        elif self.session is not None:
            # It has said all that it had to, and knows this object: only the garbage collector would end the two.
            self.session.connection_lost()

    def drained(self) -> None:
        """There is room again."""
        super().drained()
        if self.session is not None:
            self.session.resume_writing()

    def on_tick(self, tick: int) -> None:
        """Deadlines of the stream and of the session."""
        super().on_tick(tick)
        if self.accepted and self.session is not None and not self.lost:
            self.session.on_tick(tick)

    def connection_lost(self) -> None:
        """The stream is gone."""
        if self.session is not None:
            self.session.connection_lost()
        self.gathered.clear()
        if self.accepted:
            # It is in the access log already, and what waits for the client is not the rest of an answer.
            self.stage, self.pending = DONE, None
        super().connection_lost()

    def disconnect(self) -> None:
        """The client won't send any more, or the server won't wait."""
        super().disconnect()
        if self.session is not None:
            self.session.disconnect()

    def abandon(self) -> None:
        """The server stops."""
        if self.session is not None:
            self.session.abandon()
        else:
            super().abandon()

    def drain(self) -> None:
        """The server stops: the WebSocket is closed with 1012."""
        if self.session is not None:
            self.session.drain()
