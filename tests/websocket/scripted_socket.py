"""A WebSocket without a connection: the session on a carrier that records what it is told.

`Socket` runs an application in a `WebSocketSession`, turn by turn of an event loop that never sleeps; the test
plays the client, the connection and the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from tests.http1.apps import Recorder
from tests.scripted import Harness
from tests.websocket.wire import CLOSE, Frame, Inflater, parse_frames
from uvicorn_worker.core.asgi import ASGIApp, Event, Receive, Scope, Send
from uvicorn_worker.websocket import WebSocketSession
from uvicorn_worker.websocket.carrier import Carrier, Headers
from uvicorn_worker.websocket.handshake import Agreement

if TYPE_CHECKING:
    from uvicorn_worker.websocket.deflate import PerMessageDeflate

__all__ = ["ScriptedCarrier", "ScriptedHandshake", "Socket", "echo", "hold", "ponder"]


class BareHarness(Harness):
    """An application without any connection."""

    def protocols(self) -> Callable[[], asyncio.Protocol]:
        return asyncio.Protocol


class ScriptedCarrier:
    """Records what the session sends."""

    def __init__(self) -> None:
        self.write_paused = False
        self.calls: list[str] = []
        self.sent: list[bytes] = []
        self.reading = True
        # How much more the client may send after the end.
        self.allowed = 0

    def gather(self, data: bytes) -> None:
        assert data
        assert not {"close_gently", "abort"} & set(self.calls), "sent after the end"
        self.sent.append(data)

    def pause_reading(self) -> None:
        assert self.reading
        self.calls.append("pause_reading")
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.calls.append("resume_reading")
        self.reading = True

    def allow_dropping(self, size: int) -> None:
        self.allowed += size

    def close_gently(self) -> None:
        self.calls.append("close_gently")

    def abort(self) -> None:
        self.calls.append("abort")


class ScriptedHandshake:
    """Records the answer to the handshake."""

    peer = "192.0.2.7:50123"
    conn: Any = None

    def __init__(self, early: bytes = b"", error: Exception | None = None) -> None:
        self.early = early
        # What accept() and respond() raise.
        self.error = error
        self.carrier = ScriptedCarrier()
        # The fields of the 101; None before.
        self.accepted: list[tuple[bytes, bytes]] | None = None
        self.responses: list[Event] = []
        self.refused: int | None = None
        self.gave_up = False
        # Whether the server has cancelled the task, which Python 3.10 does not tell.
        self.cancelled = False

    def accept(self, session: WebSocketSession, headers: list[tuple[bytes, bytes]]) -> tuple[Carrier, bytes]:
        if self.error is not None:
            raise self.error
        self.accepted = headers
        return self.carrier, self.early

    async def respond(self, message: Event) -> None:
        if self.error is not None:
            raise self.error
        self.responses.append(message)

    def reject(self, status: int, text: bytes, headers: Headers = ()) -> None:
        assert text
        self.refused = status

    def is_ended_by(self, exc: BaseException) -> bool:
        return isinstance(exc, asyncio.CancelledError) and self.cancelled

    def give_up(self) -> None:
        self.gave_up = True


class Socket:
    """A WebSocket that an application was called for."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        headers: list[tuple[bytes, bytes]] | None = None,
        compression: PerMessageDeflate | None = None,
        early: bytes = b"",
        error: Exception | None = None,
        scope: dict[str, Any] | None = None,
        loop: Any = None,
        **options: Any,
    ) -> None:
        self.receive: Receive
        self.send_message: Send

        async def remember_calls(scope: Scope, receive: Receive, send: Send) -> None:
            self.receive, self.send_message = receive, send
            await app(scope, receive, send)

        self.app = Recorder(remember_calls)
        self.harness = BareHarness(self.app, loop=loop, **options)
        self.handshake = ScriptedHandshake(early, error)
        self.carrier = self.handshake.carrier
        http = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "extensions": {},
            "headers": headers or [],
            **(scope or {}),
        }
        agreed = Agreement([(b"upgrade", b"websocket"), (b"sec-websocket-accept", b"...")], compression)
        runtime = self.harness.runtime
        self.session = WebSocketSession(runtime, http, self.handshake, agreed)
        self.task = runtime.make_task(self.session.run(), name="websocket", context=runtime.context.copy())

    # The client --------------------------------------------------------------------------------------

    def send(self, *reads: bytes) -> Socket:
        """Each is one read; the application does what it can after each."""
        for data in reads:
            assert self.carrier.reading, "reading is paused"
            self.harness.inside(self.session.receive_data, data)
            self.harness.settle()
        return self

    def leave(self) -> Socket:
        """The connection is gone."""
        self.carrier.write_paused = False
        self.session.connection_lost()
        self.harness.settle()
        return self

    def stall(self) -> None:
        """The client does not read: the connection takes no more."""
        self.carrier.write_paused = True

    def read(self) -> Socket:
        """It reads again."""
        self.carrier.write_paused = False
        self.session.resume_writing()
        self.harness.settle()
        return self

    # The application ---------------------------------------------------------------------------------

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something of the application beside it, as far as it comes."""
        task = self.harness.loop.create_task(coroutine)
        self.harness.settle()
        return task

    def take(self) -> Event | None:
        """The application asks for the next event; None when it has to wait."""
        task: asyncio.Task[Event] = self.start(_call(self.receive))
        if task.done():
            return task.result()
        task.cancel()
        self.harness.settle()
        return None

    def tell(self, kind: str, **message: Any) -> Exception | None:
        """The application sends a message; gives what send() raises."""
        task = self.start(_call(self.send_message, {"type": f"websocket.{kind}", **message}))
        assert task.done(), "send() waits"
        error = task.exception()
        assert error is None or isinstance(error, Exception)
        return error

    # The server --------------------------------------------------------------------------------------

    def tick(self, seconds: float) -> Socket:
        runtime = self.harness.runtime
        for _ in range(round(seconds / 0.5)):
            runtime.tick += 1
            if "abort" not in self.carrier.calls:
                self.session.on_tick(runtime.tick)
            self.harness.settle()
        return self

    def cancel(self) -> Socket:
        """The application's task is cancelled."""
        assert self.task is not None
        self.handshake.cancelled = True
        self.task.cancel()
        return self.settle()

    def settle(self) -> Socket:
        self.harness.settle()
        return self

    # What became of it -------------------------------------------------------------------------------

    @property
    def frames(self) -> list[Frame]:
        """All that was sent."""
        return parse_frames(b"".join(self.carrier.sent))

    @property
    def texts(self) -> list[str]:
        """The messages that were sent, none of which is compressed."""
        return [item.payload.decode() for item in self.frames if item.opcode < CLOSE]

    def inflated(self) -> list[bytes]:
        """The messages that were sent, all of which are compressed."""
        inflater = Inflater()
        return [inflater.message(item) for item in self.frames if item.opcode < CLOSE]

    @property
    def closes(self) -> list[tuple[int | None, str]]:
        """Code and reason of the close frames that were sent."""
        return [(item.code, item.reason) for item in self.frames if item.opcode == CLOSE]

    @property
    def ended(self) -> str:
        """How the carrier was ended: "close_gently", "abort", or "" if it was not."""
        (end,) = [call for call in self.carrier.calls if call in ("close_gently", "abort")] or [""]
        return end

    @property
    def received(self) -> list[Event]:
        """What the application received, but for websocket.connect."""
        first, *rest = self.app.received
        assert first == {"type": "websocket.connect"}
        return rest

    @property
    def done(self) -> bool:
        """Whether the application's call is over."""
        return bool(self.app.done)


async def _call(function: Any, *args: Any) -> Any:
    return await function(*args)


async def hold(scope: Scope, receive: Receive, send: Send) -> None:
    """Accepts, and leaves the rest to the test: `Socket.take` and `Socket.tell`."""
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.get_running_loop().create_future()


async def ponder(scope: Scope, receive: Receive, send: Send) -> None:
    """Leaves all but websocket.connect to the test."""
    await receive()
    await asyncio.get_running_loop().create_future()


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends back what comes, until the WebSocket ends."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
