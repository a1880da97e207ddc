"""From HTTP/1.1 to WebSocket: the handshake is answered on the HTTP connection, then the transport changes hands.

Until the application accepts, the request is a `RequestCycle` like any other, so that a denial is an ordinary
response and the connection may go on. What passes over is the transport, the scope and the bytes that were read
already.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn_worker.core.asgi import Event
from uvicorn_worker.core.cycle import DONE
from uvicorn_worker.core.figures import Tally
from uvicorn_worker.core.large_reads import LARGE_READ, LargeReads
from uvicorn_worker.core.output import Output
from uvicorn_worker.core.runtime import Runtime
from uvicorn_worker.http1.cycle import RequestCycle
from uvicorn_worker.http1.response_head import encode_fields, status_line
from uvicorn_worker.websocket import Refusal, WebSocketSession, is_websocket_request, negotiate

if TYPE_CHECKING:
    from uvicorn_worker.websocket.carrier import Carrier, Headers

__all__ = ["upgrade_to_websocket"]


def upgrade_to_websocket(cycle: RequestCycle) -> RequestCycle | None:
    """The cycle that takes the place of a request for WebSocket; None for a request for something else."""
    scope = cycle.scope
    if cycle.conn.body_declared != 0 or not is_websocket_request(scope["method"], scope["headers"]):
        return None
    # One of HTTP/1.0 too, although RFC 6455, 4.1 has it of HTTP/1.1 or later: nginx before 1.29.7 passes a handshake on
    # so where its configuration says nothing of versions, as that in uvicorn's handbook, and takes the answer.
    return HandshakeCycle(cycle)


class HandshakeCycle(RequestCycle):
    """A WebSocket handshake on HTTP/1.1, and then the WebSocket in the application."""

    __slots__ = ("session",)

    websocket = True
    counted_at = Tally.WEBSOCKET

    def __init__(self, cycle: RequestCycle) -> None:
        super().__init__(cycle.conn, cycle.runtime, cycle.scope, cycle.persistent)
        self.started = cycle.started
        self.target = cycle.target
        self.http10 = cycle.http10
        self.complete = True
        self.session: WebSocketSession | None = None

    async def run(self) -> None:
        """Check the handshake, then call the application."""
        scope = self.scope
        try:
            agreement = negotiate(self.runtime.config, scope["headers"])
            if isinstance(agreement, Refusal):
                self.runtime.log.warning("Invalid WebSocket handshake from %s: %s", self.peer, agreement.reason)
                self.reject(agreement.status, agreement.reason.encode("ascii", "replace"), agreement.headers)
            else:
                self.session = WebSocketSession(self.runtime, scope, self, agreement)
                # What the session needs of it is the session's, and this lasts as long as the WebSocket.
                del agreement, scope
                await self.session.run()
        finally:
            self.returned()

    # The handshake -----------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        """The client's address for the log."""
        return super().peer if self.stage == DONE else self.conn.peer

    def accept(self, session: WebSocketSession, headers: list[tuple[bytes, bytes]]) -> tuple[Carrier, bytes]:
        """Answer 101, and take the transport over from HTTP."""
        runtime, conn = self.runtime, self.conn
        defaults = runtime.defaults
        lines = [status_line(101), defaults.lines]
        _, _, present = encode_fields(headers, lines, conn.field_memo, defaults.names)
        if present is not None:
            lines[1] = defaults.without(present)
        # encode_fields leaves the connection's own field to the server.
        lines.append(b"connection: Upgrade\r\n\r\n")
        self.status, self.response_headers, self.body_sent = 101, headers, 0
        self.stage = DONE
        early = conn.release()
        carrier = UpgradedConnection(runtime, conn.transport, session, self, conn.write_paused)
        carrier.gather(b"".join(lines))
        self.finish()
        # Nothing is left to do for the HTTP connection, and nobody looks at the answer any more. Of the two scopes, the
        # application has one.
        upgraded: Any = carrier
        self.conn, self.response_headers, self.scope = upgraded, (), session.scope
        return carrier, early

    async def respond(self, message: Event) -> None:
        """Send a part of a denial response."""
        await self.send(message)

    def reject(self, status: int, text: bytes, headers: Headers = ()) -> None:
        """Answer with a short text, where no answer was begun; else cut the connection."""
        self.fail_with(status, text, headers)

    def give_up(self) -> None:
        """The client has left by half; the connection is of no use to the other half."""
        if not self.lost and self.stage != DONE:
            self.conn.cut(self)

    # What the connection and the server say -----------------------------------------------------------

    def connection_lost(self) -> None:
        """The client left before the handshake was answered."""
        if self.session is not None:
            self.session.connection_lost()
        super().connection_lost()

    def disconnect(self) -> None:
        """The client won't send any more, or the server won't wait."""
        super().disconnect()
        if self.session is not None:
            self.session.disconnect()

    def drain(self) -> None:
        """The server stops: the WebSocket is closed with 1012."""
        if self.session is not None:
            self.session.drain()

    def check_time(self, now: float) -> None:
        """A handshake is to be answered in time; a WebSocket may last, but not for long once the client has left."""
        if self.stage == DONE:
            self.check_left(now)
        else:
            super().check_time(now)

    def carrier_lost(self) -> None:
        """The connection of the open WebSocket is gone."""
        RequestCycle.disconnect(self)

    def abandon(self) -> None:
        """The server stops."""
        if self.session is not None:
            self.session.abandon()
        else:
            super().abandon()


class UpgradedConnection(Output):
    """A transport that carries a WebSocket."""

    __slots__ = ("handshake", "session")

    speaks = "websocket"

    def __init__(
        self,
        runtime: Runtime,
        transport: asyncio.Transport,
        session: WebSocketSession,
        handshake: HandshakeCycle,
        write_paused: bool,
    ) -> None:
        super().__init__(runtime)
        self.use_transport(transport)
        self.session = session
        self.handshake = handshake
        self.write_paused = write_paused
        transport.set_protocol(self)
        runtime.connections.add(self)

    def data_received(self, data: bytes | memoryview) -> None:
        """Frames, until our side is closed."""
        self.rest_until = 0
        if self.closing:
            self.drop(data)
            return
        size = len(data)
        self.runtime.tally.bytes_in += size
        if size >= LARGE_READ and isinstance(data, bytes):
            self.transport.set_protocol(LargeReads(self))
        if self.gathered is not None:
            # What was sent before in this turn has not left yet, and takes the answers along.
            self.session.receive_data(data)
        else:
            # What is sent while this is handled leaves at once, in one write, without waiting for the turn's end.
            self.gathered, self.gathered_size = [], 0
            self.session.receive_data(data)
            if self.gathered:
                self.flush()
            else:
                self.gathered = None

    def eof_received(self) -> bool:
        """A WebSocket has no use for a connection that is closed by half."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The client, or we, closed the connection."""
        self.runtime.connections.discard(self)
        self.closing = True
        self.write_paused = False
        self.gathered = None
        self.deadline = 0
        self.session.connection_lost()
        self.handshake.carrier_lost()
        # It knows this connection.
        del self.handshake

    def resume_writing(self) -> None:
        """There is room again."""
        self.write_paused = False
        self.session.resume_writing()

    def pause_reading(self) -> None:
        """Messages wait for the application."""
        if not self.closing:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The application has taken some."""
        self.transport.resume_reading()

    def close_gently(self) -> None:
        """Close our side first; TLS has no sides, and the client waits for the server to close."""
        if self.tls_overhead:
            self.close()
        else:
            super().close_gently()

    def on_tick(self, tick: int) -> None:
        """Deadlines of the connection and of the session."""
        super().on_tick(tick)
        if not self.closing:
            self.session.on_tick(tick)
            if self.gathered is None and self.all_taken:
                self.rest_until = self.session.rest_until

    def on_deadline(self) -> None:
        """Long enough in lingering."""
        self.end_linger()

    def drain(self) -> None:
        """The server stops, and tells the WebSocket by its cycle when its turn has come."""

    @property
    def idle(self) -> bool:
        """A WebSocket is never idle."""
        return False

    def close_if_idle(self) -> None:
        """A WebSocket is never idle; its closing handshake ends it."""
