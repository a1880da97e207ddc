"""WebSocket over HTTP/2 (RFC 8441): an extended CONNECT, and then frames in DATA."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from tests.http2.conftest import ENGINES, Talk
from tests.memory import counts_references
from tests.scripted import Harness
from uvicorn_worker.http2.engine.codes import MAX_STREAM_ID, FrameType, Setting
from uvicorn_worker.logs.in_flight import census, describe_cycles

Start = Callable[..., "Socket"]


class Socket:
    """A WebSocket on stream 1 of a connection."""

    def __init__(self, harness: Harness, settings: dict[int, int] | None = None) -> None:
        self.talk = Talk(harness, settings=settings)
        self.wire = self.talk.wire
        self.core = Protocol(CLIENT, state=OPEN, max_size=None)
        self.frames: list[Frame] = []
        self._read = 0

    def ask(self, *fields: tuple[bytes, bytes], path: bytes = b"/chat", protocol: bytes = b"websocket") -> Socket:
        pseudo = self.wire.request_fields(path, (b"sec-websocket-version", b"13"), *fields, method=b"CONNECT")
        self.talk.send(self.wire.headers(1, [(b":protocol", protocol), *pseudo], end=False))
        self.wire.next_id = 3
        return self.read()

    def send(self, text: str | bytes, *, end: bool = False) -> Socket:
        (self.core.send_text if isinstance(text, str) else self.core.send_binary)(
            text.encode() if isinstance(text, str) else text
        )
        return self.flush(end=end)

    def flush(self, *, end: bool = False) -> Socket:
        self.talk.send(self.wire.data(1, b"".join(self.core.data_to_send()), end=end))
        return self.read()

    def close(self, code: int = 1000) -> Socket:
        self.core.send_close(code)
        return self.flush()

    def read(self) -> Socket:
        """Take what the server has sent on the stream."""
        data = self.talk.pull().stream(1).body[self._read :]
        self._read += len(data)
        self.core.receive_data(data)
        self.frames += self.core.events_received()  # type: ignore[arg-type]
        return self

    @property
    def texts(self) -> list[str]:
        return [bytes(frame.data).decode() for frame in self.frames if frame.opcode is Opcode.TEXT]

    @property
    def close_code(self) -> int | None:
        return self.core.close_rcvd.code if self.core.close_rcvd is not None else None

    @property
    def stream(self) -> Any:
        return self.talk.stream(1)


@pytest.fixture(params=ENGINES)
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """A connection to an application: `start(app, **options)`."""
    started: list[Harness] = []

    def start(app: Any, *, settings: dict[int, int] | None = None, **options: Any) -> Socket:
        harness = Harness(app, **{"http2": "on", "http2_engine": request.param, **options})
        started.append(harness)
        return Socket(harness, settings)

    yield start
    for harness in started:
        harness.close()


class Echo:
    """Echoes texts, and remembers what it was told."""

    def __init__(self, accept: dict[str, Any] | None = None) -> None:
        self.accept = {"type": "websocket.accept", **(accept or {})}
        self.scope: Any = None
        self.events: list[Any] = []
        self.raised: list[BaseException] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        try:
            while True:
                event = await receive()
                self.events.append(event)
                if event["type"] == "websocket.connect":
                    await send(self.accept)
                elif event["type"] == "websocket.disconnect":
                    return
                elif event.get("text") == "leave":
                    await send({"type": "websocket.close", "code": 4000, "reason": "asked to"})
                    return
                else:
                    await send({"type": "websocket.send", "text": "echo " + event["text"]})
        except BaseException as exc:
            self.raised.append(exc)
            raise


class TestHandshake:
    def test_it_is_answered_200(self, start: Start) -> None:
        app = Echo({"subprotocol": "chat", "headers": [(b"x-own", b"1")]})
        socket = start(app).ask((b"sec-websocket-protocol", b"chat, other"))
        names = [name for name, _ in socket.stream.fields]
        assert socket.stream.status == 200
        assert socket.stream.get(b"sec-websocket-protocol") == b"chat"
        assert socket.stream.get(b"x-own") == b"1"
        assert not {b"sec-websocket-accept", b"upgrade", b"connection"} & set(names)
        assert not socket.stream.ended
        scope = app.scope
        assert (scope["type"], scope["http_version"], scope["scheme"]) == ("websocket", "2", "ws")
        assert (scope["path"], scope["subprotocols"]) == ("/chat", ["chat", "other"])
        assert "method" not in scope
        assert b"sec-websocket-key" not in dict(scope["headers"])
        assert scope["extensions"]["websocket.http.response"] == {}

    def test_an_empty_subprotocol_is_none(self, start: Start) -> None:
        socket = start(Echo({"subprotocol": ""})).ask((b"sec-websocket-protocol", b"chat"))
        assert socket.stream.status == 200
        assert socket.stream.get(b"sec-websocket-protocol") is None

    def test_compression_is_negotiated(self, start: Start) -> None:
        socket = start(Echo()).ask((b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"))
        assert b"permessage-deflate" in (socket.stream.get(b"sec-websocket-extensions") or b"")

    def test_another_version(self, start: Start) -> None:
        socket = start(Echo())
        pseudo = socket.wire.request_fields(b"/", (b"sec-websocket-version", b"8"), method=b"CONNECT")
        socket.talk.send(socket.wire.headers(1, [(b":protocol", b"websocket"), *pseudo], end=False))
        assert socket.stream.status == 400
        assert socket.stream.get(b"sec-websocket-version") == b"13"

    def test_the_name_of_the_protocol_has_no_case(self, start: Start) -> None:
        assert start(Echo()).ask(protocol=b"WebSocket").stream.status == 200

    def test_a_key_is_left_out(self, start: Start) -> None:
        """HAProxy sends one along; RFC 8441 does without. What it is does not matter."""
        for key in (b"AAAAAAAAAAAAAAAAAAAAAA==", b"no key", b"\xff"):
            app = Echo()
            assert start(app).ask((b"sec-websocket-key", key)).stream.status == 200

    def test_a_key_is_answered(self, start: Start) -> None:
        """Envoy passes on the key of a client of HTTP/1.1, which wants it answered (RFC 6455, 1.3)."""
        socket = start(Echo()).ask((b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="))
        assert socket.stream.get(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    def test_another_protocol(self, start: Start) -> None:
        assert start(Echo()).ask(protocol=b"connect-udp").stream.status == 501

    def test_websocket_turned_off(self, start: Start) -> None:
        socket = start(Echo(), ws="none")
        assert Setting.ENABLE_CONNECT_PROTOCOL not in socket.wire.frames[0].settings
        assert socket.ask().stream.status == 501

    def test_denied(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.close"})

        assert start(app).ask().stream.status == 403

    def test_denied_with_a_response(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]})
            await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"are you?"})

        socket = start(app).ask()
        assert (socket.stream.status, socket.stream.body, socket.stream.ended) == (401, b"who are you?", True)

    def test_not_answered(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            """Says nothing."""

        assert start(app).ask().stream.status == 500

    def test_failed(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise RuntimeError("broken")

        assert start(app).ask().stream.status == 500

    def test_frames_that_came_before_the_answer(self, start: Start) -> None:
        socket = start(Echo())
        pseudo = socket.wire.request_fields(b"/", (b"sec-websocket-version", b"13"), method=b"CONNECT")
        socket.core.send_text(b"early")
        head = socket.wire.headers(1, [(b":protocol", b"websocket"), *pseudo], end=False)
        socket.talk.send(head, socket.wire.data(1, b"".join(socket.core.data_to_send())))
        assert socket.read().texts == ["echo early"]

    def test_the_client_leaves_before_the_answer(self, start: Start) -> None:
        events = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            events.append((await receive())["type"])
            events.append((await receive())["type"])

        socket = start(app).ask()
        socket.talk.send(socket.wire.reset(1))
        assert events == ["websocket.connect", "websocket.disconnect"]

    def test_the_client_ends_its_side_before_the_answer(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await receive()

        socket = start(app).ask()
        harness = socket.talk.harness
        for cycle in list(harness.runtime.cycles):
            harness.inside(cycle.disconnect)
        socket.talk.pull()
        assert socket.stream.reset == 8

    def test_a_request_that_has_ended_its_side(self, start: Start) -> None:
        app = Echo()
        socket = start(app)
        pseudo = socket.wire.request_fields(b"/", (b"sec-websocket-version", b"13"), method=b"CONNECT")
        socket.talk.send(socket.wire.headers(1, [(b":protocol", b"websocket"), *pseudo]))
        assert socket.stream.status == 200
        assert socket.stream.reset == 8
        assert app.events[-1]["code"] == 1006


class TestRefused:
    """By us, before there is a WebSocket for the application, while the client does not take the answer."""

    @pytest.fixture
    def socket(self, start: Start) -> Socket:
        socket = start(Echo(), settings={Setting.INITIAL_WINDOW_SIZE: 0})
        pseudo = socket.wire.request_fields(b"/", (b"sec-websocket-version", b"8"), method=b"CONNECT")
        socket.talk.send(socket.wire.headers(1, [(b":protocol", b"websocket"), *pseudo], end=False))
        assert (socket.stream.status, socket.stream.ended) == (400, False)
        return socket

    def test_it_may_take_it_later(self, socket: Socket) -> None:
        socket.talk.send(socket.wire.window(1000, 1))
        assert (socket.stream.ended, socket.stream.body) == (True, b"invalid Sec-WebSocket-Version header: 8")
        assert not socket.talk.harness.runtime.cycles

    @pytest.mark.parametrize("how", ["reset", "gone"])
    def test_it_may_leave(self, socket: Socket, how: str) -> None:
        if how == "gone":
            socket.talk.connection.leave()
        else:
            socket.talk.send(socket.wire.reset(1))
        assert not socket.talk.harness.runtime.cycles

    def test_the_server_may_stop(self, socket: Socket) -> None:
        """It waits for the client as for any answer."""
        socket.talk.each_protocol("drain")
        assert not socket.talk.closed
        socket.talk.send(socket.wire.window(1000, 1))
        socket.talk.send(socket.wire.data(1, end=True))
        assert socket.stream.ended
        # A quiet second, and one for the answer to a PING that does not come.
        socket.talk.tick(3)
        assert socket.talk.closed


class TestMessages:
    def test_both_ways(self, start: Start) -> None:
        socket = start(Echo()).ask().send("one").send("two")
        assert socket.texts == ["echo one", "echo two"]

    @pytest.mark.parametrize("size", [0, pytest.param(64, marks=pytest.mark.long)])
    def test_many_small_messages_are_no_flood(self, start: Start, size: int) -> None:
        """A client opens its windows, and measures, for each of them."""
        socket = start(Echo()).ask()
        text = "x" * size
        for _ in range(2000):
            socket.talk.connection.send(socket.wire.window(70) + socket.wire.window(70, 1) + socket.wire.ping())
            socket.send(text)
        assert len(socket.texts) == 2000
        assert socket.stream.reset is None

    def test_beside_requests(self, start: Start) -> None:
        echo = Echo()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "websocket":
                await echo(scope, receive, send)
            else:
                await send({"type": "http.response.start", "status": 204})
                await send({"type": "http.response.body"})

        socket = start(app).ask().send("one")
        assert socket.talk.get().status == 204
        assert socket.send("two").texts == ["echo one", "echo two"]

    def test_frames_in_pieces(self, start: Start) -> None:
        socket = start(Echo()).ask()
        socket.core.send_text(b"x" * 300)
        data = b"".join(socket.core.data_to_send())
        for at in range(0, len(data), 50):
            socket.talk.send(socket.wire.data(1, data[at : at + 50]))
        assert socket.read().texts == ["echo " + "x" * 300]

    def test_what_is_sent_in_one_turn_is_one_frame(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            for _ in range(5):
                await send({"type": "websocket.send", "text": "x"})
            await receive()

        socket = start(app).ask()
        assert socket.texts == ["x"] * 5
        assert len([size for size in socket.stream.sizes if size]) == 1

    def test_the_window_is_the_backpressure(self, start: Start) -> None:
        sent = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            for number in range(100):
                await send({"type": "websocket.send", "bytes": bytes(50000)})
                sent.append(number)
            await receive()

        socket = start(app).ask()
        assert len(sent) < 10
        for _ in range(100):
            socket.talk.send(socket.wire.window(65535), socket.wire.window(65535, 1))
        assert len(sent) == 100
        assert len(socket.read().frames) == 100

    def test_a_client_whose_messages_are_not_taken_gets_no_credit(self, start: Start) -> None:
        taken: list[Any] = []
        socket = start(_waits(taken), ws_max_queue=2).ask()
        for _ in range(4):
            socket.send("x" * 15000)
        credit = sum(one.number for one in socket.wire.of(FrameType.WINDOW_UPDATE) if one.stream_id == 1)
        assert credit < 60000
        taken[0].set_result(None)
        socket.talk.pull()
        for _ in range(20):
            socket.send("y" * 15000)
        assert len(taken) == 25

    def test_a_client_that_sends_nothing_more_while_its_messages_wait(self, start: Start) -> None:
        taken: list[Any] = []
        socket = start(_waits(taken), ws_max_queue=2).ask()
        for text in ("one", "two"):
            socket.send(text)
        taken[0].set_result(None)
        socket.talk.pull()
        assert [event["text"] for event in taken[1:]] == ["one", "two"]
        socket.send("three")
        assert taken[-1]["text"] == "three"

    def test_one_that_leaves_while_its_messages_wait(self, start: Start) -> None:
        """What it has sent reaches the application, and then that it is gone."""
        taken: list[Any] = []
        socket = start(_waits(taken), ws_max_queue=2).ask()
        for text in ("one", "two", "three"):
            socket.send(text)
        taken[0].set_result(None)
        # In the turn of the loop in which the application goes on.
        socket.talk.connection.push(socket.wire.reset(1))
        socket.talk.pull()
        assert [event["text"] for event in taken[1:]][:2] == ["one", "two"]
        assert not socket.talk.harness.runtime.cycles

    def test_one_that_sends_before_it_is_let_in(self, start: Start) -> None:
        """It can't know whether it will be; nothing of it is lost."""
        decided: list[Any] = []
        echo = Echo()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            decided.append(asyncio.get_running_loop().create_future())
            await decided[0]
            await echo(scope, receive, send)

        socket = start(app).ask().send("early")
        assert not socket.stream.heads
        decided[0].set_result(None)
        socket.talk.pull()
        assert socket.read().texts == ["echo early"]


def _waits(taken: list[Any]) -> Any:
    """Takes no message before the test lets it; remembers them behind the future in `taken`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        taken.append(asyncio.get_running_loop().create_future())
        await taken[0]
        while (event := await receive())["type"] == "websocket.receive":
            taken.append(event)

    return app


class TestClosing:
    def test_by_the_client(self, start: Start) -> None:
        app = Echo()
        socket = start(app).ask().close(1000)
        assert app.events[-1]["type"] == "websocket.disconnect"
        assert app.events[-1]["code"] == 1000
        assert socket.close_code == 1000
        assert socket.stream.ended
        socket.talk.send(socket.wire.data(1, end=True))
        assert socket.stream.reset is None

    def test_by_the_application(self, start: Start) -> None:
        socket = start(Echo()).ask().send("leave")
        assert socket.close_code == 4000
        assert not socket.stream.ended
        socket.flush()
        assert socket.stream.ended

    def test_a_client_that_does_not_end_its_side(self, start: Start) -> None:
        socket = start(Echo()).ask().close()
        socket.talk.tick(4)
        assert socket.stream.reset == 0
        assert socket.talk.harness.runtime.cycles == set()

    @pytest.mark.parametrize("how", ["end", "reset", "gone"])
    def test_without_a_word(self, start: Start, how: str) -> None:
        app = Echo()
        socket = start(app).ask()
        if how == "gone":
            socket.talk.connection.leave()
        else:
            socket.talk.send(socket.wire.data(1, end=True) if how == "end" else socket.wire.reset(1))
        assert (app.events[-1]["type"], app.events[-1]["code"]) == ("websocket.disconnect", 1006)
        if how == "end":
            assert socket.stream.reset == 8

    def test_a_reset_while_messages_wait_for_the_client_is_no_second_access_line(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "bytes": bytes(200_000)})

        socket = start(app)
        runtime, lines = socket.talk.harness.runtime, []
        runtime.access = lambda cycle: lines.append(cycle.status)
        socket.ask()
        socket.talk.send(socket.wire.reset(1))
        assert lines == [200]
        assert runtime.tally.cut == 0

    @counts_references
    def test_one_that_is_closed_is_not_left_to_the_garbage_collector(self, start: Start) -> None:
        socket = start(Echo())
        cycles: list[weakref.ref[Any]] = []
        socket.talk.harness.runtime.access = lambda cycle: cycles.append(weakref.ref(cycle))
        socket.ask().send("hello")
        gc.disable()
        try:
            socket.close().flush(end=True)
            assert [each() for each in cycles] == [None]
        finally:
            gc.enable()

    def test_what_is_not_websocket(self, start: Start) -> None:
        app = Echo()
        socket = start(app).ask()
        socket.talk.send(socket.wire.data(1, b"\xff\xff\xff\xff"))
        assert socket.read().close_code == 1002
        assert app.events[-1]["code"] == 1002
        assert socket.stream.ended

    def test_the_server_stops(self, start: Start) -> None:
        app = Echo()
        socket = start(app).ask()
        socket.talk.each_protocol("drain")
        # Its turn comes one after the other (server/drain.py).
        (cycle,) = socket.talk.harness.runtime.cycles
        assert cycle.websocket
        assert socket.read().close_code is None
        socket.talk.harness.inside(cycle.drain)
        socket.talk.pull()
        assert socket.read().close_code == 1012
        assert app.events[-1]["code"] == 1012
        socket.flush()
        socket.talk.send(socket.wire.data(1, end=True))
        socket.talk.tick(3)
        assert socket.talk.closed

    def test_one_that_comes_while_the_server_stops(self, start: Start) -> None:
        """Its client comes back at once: GOAWAY tells a proxy not to put it on this connection again."""
        socket = start(Echo())
        socket.talk.harness.runtime.draining = True
        socket.talk.each_protocol("drain")
        assert socket.talk.goaways == []
        socket.ask()
        assert socket.talk.goaways == [(MAX_STREAM_ID, 0)]
        assert socket.close_code == 1012

    def test_the_server_stops_before_the_answer(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await receive()

        socket = start(app).ask()
        harness = socket.talk.harness
        harness.runtime.draining = True
        for cycle in list(harness.runtime.cycles):
            harness.inside(cycle.abandon)
        assert socket.talk.pull().stream(1).status == 503

    def test_the_server_gives_up_one_that_is_open(self, start: Start) -> None:
        app = Echo()
        socket = start(app).ask()
        harness = socket.talk.harness
        (cycle,) = harness.runtime.cycles
        cycle.cancel()
        harness.inside(cycle.abandon)
        harness.settle()
        assert socket.read().close_code == 1012
        assert not harness.runtime.cycles

    @pytest.mark.parametrize("coming", [False, True])
    def test_what_comes_after_our_close_reaches_nobody(self, start: Start, coming: bool) -> None:
        """The client may have sent it before it saw the close: that is no fault, and others on the connection go on."""
        app = Echo()
        socket = start(app).ask().send("leave")
        assert socket.close_code == 4000
        told = len(app.events)
        socket.talk.send(socket.wire.data(1, b"\x81\x81\x00\x00\x00\x00x" if coming else b"", end=True))
        assert len(app.events) == told
        other = socket.wire.request()
        socket.talk.send(other)
        assert not socket.talk.closed

    def test_what_comes_after_the_end_reaches_nobody(self, start: Start) -> None:
        """The closing handshake is over, and the client has not ended its side."""
        app = Echo()
        socket = start(app).ask().close()
        assert socket.stream.ended
        told = len(app.events)
        socket.talk.send(socket.wire.data(1, b"\x81\x81\x00\x00\x00\x00x"))
        assert len(app.events) == told
        assert not socket.talk.closed

    def test_pings(self, start: Start) -> None:
        socket = start(Echo(), ws_ping_interval=5, ws_ping_timeout=3).ask()
        socket.talk.tick(6)
        assert [frame.opcode for frame in socket.read().frames] == [Opcode.PING]
        socket.talk.tick(4)
        assert socket.read().close_code == 1011

    def test_a_closing_handshake_that_is_not_answered(self, start: Start) -> None:
        socket = start(Echo(), ws_close_timeout=3).ask().send("leave")
        socket.talk.tick(4)
        assert socket.stream.reset == 8

    def test_an_application_that_fails(self, start: Start) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            raise RuntimeError("broken")

        assert start(app).ask().close_code == 1011


def test_it_is_a_websocket_to_whoever_counts(start: Start) -> None:
    socket = start(Echo()).ask()
    runtime = socket.talk.harness.runtime
    assert census(runtime.cycles, runtime.connections).websockets == 1
    assert describe_cycles(runtime.cycles, 0.0)[0].startswith("WebSocket /chat ")
    assert not any(connection.idle or connection.lingering for connection in runtime.connections)


def test_it_is_counted_and_logged_once(start: Start) -> None:
    socket = start(Echo())
    runtime = socket.talk.harness.runtime
    seen: list[Any] = []
    reached: list[int] = []
    runtime.limit_requests, runtime.on_limit = 1, lambda: reached.append(1)
    runtime.access = lambda cycle: seen.append((cycle.target, cycle.status))
    socket.ask().send("one").close()
    socket.talk.send(socket.wire.data(1, end=True))
    assert (runtime.requests, reached, seen) == (1, [1], [(b"/chat", 200)])


def test_the_server_gives_up_before_it_is_open(start: Start) -> None:
    """What an end of time does to a handshake that the application has not answered."""

    async def undecided(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    socket = start(undecided).ask()
    harness = socket.talk.harness
    (cycle,) = harness.runtime.cycles
    cycle.check_time(0.0)
    cycle.drain()
    cycle.abandon()
    harness.settle()
    assert socket.read().stream.status in (403, 503)


@pytest.mark.parametrize("options", [{"timeout_request": 5}, {"paths": {"/chat": {"timeout_request": 5}}}])
def test_a_handshake_that_is_not_answered_in_time(start: Start, options: dict[str, Any]) -> None:
    async def undecided(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    late, opened = start(undecided, **options).ask(), start(Echo(), ws_ping_interval=None, **options).ask()
    for socket in (late, opened):
        socket.talk.harness.tick(4)
    assert not late.read().stream.heads
    for socket in (late, opened):
        socket.talk.harness.tick(2)
    assert late.read().stream.status == 504
    # One that is open may last.
    assert opened.send("one").texts == ["echo one"]
