"""A WebSocket in the application (ASGI websocket 2.5): scope, connect, messages, the end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.websocket.conftest import Log, Open, deflate
from tests.websocket.scripted_socket import Socket, echo, hold, ponder
from tests.websocket.wire import BINARY, PONG, TEXT, Deflater, Frame, binary, close, cont, frame, ping, text
from uvicorn_worker.core.asgi import TOLD_AT_ONCE, Receive, Scope, Send
from uvicorn_worker.core.errors import ApplicationError, ClientDisconnected
from uvicorn_worker.websocket.waiter import PlainWaiter

DISCONNECT = "websocket.disconnect"


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": DISCONNECT, "code": code, "reason": reason}


class TestScope:
    def test_it_is_that_of_the_request_as_a_websocket(self, connect: Open) -> None:
        state = {"pool": object()}
        http = {
            "path": "/chat/ü",
            "raw_path": b"/chat/%C3%BC",
            "query_string": b"room=1",
            "root_path": "",
            "client": ("192.0.2.7", 50123),
            "server": ("127.0.0.1", 8000),
            "state": state,
        }
        headers = [(b"host", b"example.org"), (b"x-one", b"1"), (b"x-one", b"2")]
        scope = connect(hold, scope=http, headers=headers).app.scope
        assert scope == {
            **http,
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "scheme": "ws",
            "headers": headers,
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        assert scope["state"]["pool"] is state["pool"]

    def test_the_transport_that_applications_reach_for(self, connect: Open) -> None:
        """By `send.__self__`, as with uvicorn."""
        socket = connect(hold)
        connection: Any = type("Connection", (), {"transport": "its own"})
        socket.handshake.conn = connection()
        assert socket.session.transport == "its own"

    def test_over_tls_it_is_wss(self, connect: Open) -> None:
        assert connect(hold, scope={"scheme": "https"}).app.scope["scheme"] == "wss"

    @pytest.mark.parametrize(
        ("values", "offered"),
        [
            ([b"chat"], ["chat"]),
            ([b"chat, superchat"], ["chat", "superchat"]),
            ([b"chat,superchat", b"v1.json"], ["chat", "superchat", "v1.json"]),
            ([b"b", b"a"], ["b", "a"]),
        ],
    )
    def test_subprotocols(self, connect: Open, values: list[bytes], offered: list[str]) -> None:
        headers = [(b"sec-websocket-protocol", value) for value in values]
        assert connect(hold, headers=headers).app.scope["subprotocols"] == offered

    def test_the_scope_of_the_request_stays_as_it_is(self, connect: Open) -> None:
        http: dict[str, Any] = {"type": "http", "method": "GET"}
        connect(hold, scope=http)
        assert http == {"type": "http", "method": "GET"}


class TestAccept:
    def test_connect_comes_first_and_once(self, connect: Open) -> None:
        socket = connect(ponder)
        assert socket.app.received == [{"type": "websocket.connect"}]
        assert socket.take() is None
        assert socket.handshake.accepted is None

    def test_it_sends_what_was_agreed_on(self, connect: Open) -> None:
        socket = connect(hold)
        assert socket.handshake.accepted == [(b"upgrade", b"websocket"), (b"sec-websocket-accept", b"...")]

    def test_before_connect_is_received(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "a"})
            await receive()

        assert connect(app).texts == ["a"]

    def test_a_subprotocol(self, connect: Open) -> None:
        socket = connect(ponder)
        assert socket.tell("accept", subprotocol="chat") is None
        assert (b"sec-websocket-protocol", b"chat") in (socket.handshake.accepted or [])

    @pytest.mark.parametrize("headers", [None, [], ()])
    def test_no_headers(self, connect: Open, headers: Any) -> None:
        socket = connect(ponder)
        assert socket.tell("accept", subprotocol=None, headers=headers) is None
        assert len(socket.handshake.accepted or []) == 2

    @pytest.mark.parametrize("pair", [tuple, list])
    def test_headers(self, connect: Open, pair: Any) -> None:
        socket = connect(ponder)
        assert socket.tell("accept", headers=[pair((b"X-One", b"1")), pair((b"set-cookie", b"a=b"))]) is None
        assert (socket.handshake.accepted or [])[2:] == [(b"X-One", b"1"), (b"set-cookie", b"a=b")]

    @pytest.mark.parametrize(
        "name", [b"Upgrade", b"Connection", b"Sec-WebSocket-Accept", b"sec-websocket-extensions", b"CONNECTION"]
    )
    def test_the_fields_of_the_handshake_are_not_the_applications(self, connect: Open, name: bytes) -> None:
        socket = connect(ponder)
        socket.tell("accept", headers=[(name, b"x"), (b"x-one", b"1")])
        assert (socket.handshake.accepted or [])[2:] == [(b"x-one", b"1")]

    def test_headers_that_are_text(self, connect: Open) -> None:
        socket = connect(ponder)
        assert socket.tell("accept", headers=[("X-One", "1"), ("Upgrade", "x"), ["a", b"b"]]) is None
        assert (socket.handshake.accepted or [])[2:] == [(b"X-One", b"1"), (b"a", b"b")]

    def test_the_subprotocol_is_said_once(self, connect: Open) -> None:
        socket = connect(ponder)
        socket.tell("accept", subprotocol="chat", headers=[(b"Sec-WebSocket-Protocol", b"other")])
        said = [value for name, value in socket.handshake.accepted or [] if name.lower() == b"sec-websocket-protocol"]
        assert said == [b"chat"]

    def test_it_may_be_said_with_the_headers(self, connect: Open) -> None:
        socket = connect(ponder)
        socket.tell("accept", headers=[(b"Sec-WebSocket-Protocol", b"chat")])
        assert (socket.handshake.accepted or [])[2:] == [(b"Sec-WebSocket-Protocol", b"chat")]

    def test_frames_that_came_early(self, connect: Open) -> None:
        socket = connect(echo, early=text("a") + text("b") + text("c")[:3])
        assert socket.texts == ["a", "b"]
        socket.send(text("c")[3:])
        assert socket.texts == ["a", "b", "c"]

    def test_a_close_that_came_early(self, connect: Open) -> None:
        socket = connect(hold, early=text("a") + close(1001))
        assert (socket.take() or {})["text"] == "a"
        assert socket.take() == disconnect(1001)
        assert socket.closes == [(1001, "")]

    @pytest.mark.parametrize("subprotocol", ["€", 5])
    def test_a_subprotocol_that_can_not_be_sent_is_a_500(self, connect: Open, log: Log, subprotocol: Any) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept", "subprotocol": subprotocol})

        socket = connect(app)
        assert socket.handshake.refused == 500
        assert len(log(logging.ERROR)) == 1

    def test_an_answer_that_can_not_be_sent_is_a_500(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept", "headers": [(b"x", b"\n")]})

        socket = connect(app, error=ApplicationError("value of response header x has a control character"))
        assert socket.handshake.refused == 500
        assert len(log(logging.ERROR)) == 1


class TestMessages:
    @pytest.mark.parametrize("message", ["", "a", "κόσμε 𝄞", "x" * 70_000])
    def test_text_from_the_client(self, connect: Open, message: str) -> None:
        socket = connect(hold).send(text(message))
        assert socket.take() == {"type": "websocket.receive", "text": message}

    @pytest.mark.parametrize("message", [b"", b"\xff\x00", bytes(70_000)])
    def test_bytes_from_the_client(self, connect: Open, message: bytes) -> None:
        socket = connect(hold).send(binary(message))
        assert socket.take() == {"type": "websocket.receive", "bytes": message}

    def test_a_message_in_fragments_is_one_event(self, connect: Open) -> None:
        socket = connect(hold).send(text("a", fin=False), ping(b"1"), cont("b"))
        assert socket.take() == {"type": "websocket.receive", "text": "ab"}
        assert socket.take() is None
        assert socket.frames == [Frame(PONG, b"1")]

    def test_in_their_order(self, connect: Open) -> None:
        socket = connect(hold).send(text("a") + binary(b"b"), text("c"))
        assert [socket.take() for _ in range(4)] == [
            {"type": "websocket.receive", "text": "a"},
            {"type": "websocket.receive", "bytes": b"b"},
            {"type": "websocket.receive", "text": "c"},
            None,
        ]

    def test_where_its_task_can_not_be_let_go_on_at_once(self, connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("uvicorn_worker.websocket.session.make_waiter", PlainWaiter)
        socket = connect(echo).send(text("a")[:2], text("a")[2:], text("b"), binary(b"c"))
        assert socket.frames == [Frame(TEXT, b"a"), Frame(TEXT, b"b"), Frame(BINARY, b"c")]
        assert socket.send(close(1000)).frames[-1].code == 1000

    def test_an_application_that_waits_for_them(self, connect: Open) -> None:
        socket = connect(echo).send(text("a")[:2], text("a")[2:], text("b"))
        assert socket.texts == ["a", "b"]

    def test_the_application_has_it_when_the_read_is_over(self, connect: Open) -> None:
        socket = connect(echo)
        socket.harness.inside(socket.session.receive_data, text("a"))
        socket.harness.inside(socket.session.receive_data, text("b") + text("c"))
        assert socket.texts == ["a", "b", "c"]

    @pytest.mark.parametrize("reads", [[text("a")], [text("a") + text("b")], [text("a"), text("b")]])
    def test_reads_within_a_task(self, connect: Open, reads: list[bytes]) -> None:
        socket = connect(echo)

        async def read() -> None:
            for data in reads:
                socket.session.receive_data(data)

        task = socket.start(read())
        assert task.exception() is None
        assert socket.texts == ["a", "b"][: len(b"".join(reads)) // len(text("a"))]

    @pytest.mark.parametrize("reads", [[text("a")], [text("a") + text("b")]])
    def test_none_is_lost_to_one_that_does_not_want_it_any_more(self, connect: Open, reads: list[bytes]) -> None:
        socket = connect(hold)
        task = socket.start(_receive(socket))
        task.cancel()
        socket.send(*reads)
        assert task.cancelled()
        assert socket.take() == {"type": "websocket.receive", "text": "a"}

    def test_one_that_waits_again_while_another_gives_up(self, connect: Open) -> None:
        socket = connect(hold)
        first = socket.start(_receive(socket))
        first.cancel()
        second = socket.harness.loop.create_task(_receive(socket))
        socket.harness.turn()
        socket.send(text("a"))
        assert first.cancelled()
        assert second.result()["text"] == "a"

    def test_two_that_wait_get_one_each(self, connect: Open) -> None:
        socket = connect(hold)
        first, second = (socket.start(_receive(socket)) for _ in range(2))
        socket.send(text("a"))
        assert first.result()["text"] == "a"
        assert not second.done()
        socket.send(text("b"))
        assert second.result()["text"] == "b"

    @pytest.mark.parametrize("given_up", [0, 1])
    def test_one_of_two_that_wait_gives_up(self, connect: Open, given_up: int) -> None:
        socket = connect(hold)
        tasks = [socket.start(_receive(socket)) for _ in range(2)]
        tasks[given_up].cancel()
        socket.settle()
        assert tasks[given_up].cancelled()
        socket.send(text("a"))
        assert tasks[1 - given_up].result()["text"] == "a"

    @pytest.mark.parametrize("message", ["", "a", "κόσμε 𝄞", "x" * 125, "x" * 126, "x" * 70_000])
    def test_text_to_the_client(self, connect: Open, message: str) -> None:
        socket = connect(hold)
        assert socket.tell("send", text=message) is None
        assert socket.frames == [Frame(TEXT, message.encode())]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytes_to_the_client(self, connect: Open, kind: Any) -> None:
        socket = connect(hold)
        assert socket.tell("send", bytes=kind(b"\xff\x00")) is None
        assert socket.frames == [Frame(BINARY, b"\xff\x00")]

    @pytest.mark.parametrize("size", [1, 100_000])
    def test_a_message_is_what_its_type_says(self, connect: Open, size: int) -> None:
        socket = connect(hold)
        socket.tell("send", text=b"a" * size)
        socket.tell("send", bytes="b" * size)
        assert [(item.opcode, item.payload) for item in socket.frames] == [
            (BINARY, b"a" * size),
            (TEXT, b"b" * size),
        ]

    def test_a_key_of_none_is_no_key(self, connect: Open) -> None:
        socket = connect(hold)
        socket.tell("send", text=None, bytes=b"a")
        socket.tell("send", text="b", bytes=None)
        assert socket.frames == [Frame(BINARY, b"a"), Frame(TEXT, b"b")]

    @pytest.mark.parametrize("message", [{}, {"text": None}, {"text": None, "bytes": None}])
    def test_nothing_is_sent_of_nothing(self, connect: Open, message: dict[str, Any]) -> None:
        socket = connect(hold)
        assert socket.tell("send", **message) is None
        assert socket.frames == []

    @pytest.mark.parametrize("message", [{"text": 5}, {"bytes": 5}])
    def test_neither_text_nor_bytes_is_an_error(self, connect: Open, message: dict[str, Any]) -> None:
        socket = connect(hold)
        error = socket.tell("send", **message)
        assert isinstance(error, ApplicationError)
        assert "text" in str(error)
        assert socket.frames == []

    def test_text_that_has_no_utf_8_is_an_error(self, connect: Open) -> None:
        assert isinstance(connect(hold).tell("send", text="\ud800"), UnicodeError)

    def test_compressed(self, connect: Open) -> None:
        deflater = Deflater()
        socket = connect(echo, compression=deflate())
        socket.send(*[deflater.message(b"Hello, Hello, Hello") for _ in range(3)])
        assert socket.inflated() == [b"Hello, Hello, Hello"] * 3

    def test_above_the_largest_size(self, connect: Open) -> None:
        socket = connect(echo, ws_max_size=10).send(text("0123456789"), text("0123456789a"))
        assert socket.texts == ["0123456789"]
        assert socket.closes[0][0] == 1009
        assert socket.received[-1]["code"] == 1009
        assert socket.ended == "close_gently"

    def test_the_rest_of_it_may_come(self, connect: Open) -> None:
        socket = connect(hold, ws_max_size=1000).send(binary(bytes(5_000_000))[:100])
        assert socket.closes[0][0] == 1009
        assert socket.carrier.allowed >= 5_000_000 - 100

    def test_above_it_when_decompressed(self, connect: Open) -> None:
        socket = connect(hold, ws_max_size=1000, compression=deflate())
        socket.send(Deflater().message(bytes(100_000)))
        assert socket.closes[0][0] == 1009


async def _receive(socket: Socket) -> Any:
    return await socket.receive()


class TestTheClientCloses:
    @pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going home"), (4321, "Käse ✓")])
    def test_with_a_code(self, connect: Open, code: int, reason: str) -> None:
        socket = connect(hold).send(close(code, reason))
        assert socket.take() == disconnect(code, reason)
        assert socket.closes[0][0] == code
        assert socket.ended == "close_gently"

    def test_without_one(self, connect: Open) -> None:
        socket = connect(hold).send(close())
        assert socket.take() == disconnect(1005)

    def test_messages_before_it_come_first(self, connect: Open) -> None:
        socket = connect(hold).send(text("a") + binary(b"b") + close(1001))
        assert [event["type"] for event in (socket.take(), socket.take()) if event] == ["websocket.receive"] * 2
        assert socket.take() == disconnect(1001)

    def test_who_asks_on_gives_others_a_turn(self, connect: Open) -> None:
        turned: list[int] = []
        asked: list[Any] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            asked.append(await receive())
            asyncio.get_running_loop().call_soon(turned.append, 1)
            while not turned and len(asked) < 10 * TOLD_AT_ONCE:
                asked.append(await receive())

        connect(app).send(close(1001))
        assert asked == [disconnect(1001)] * TOLD_AT_ONCE

    def test_disconnect_is_said_again(self, connect: Open) -> None:
        socket = connect(hold).send(close(1001))
        assert [socket.take() for _ in range(3)] == [disconnect(1001)] * 3

    def test_the_end_of_the_connection_does_not_change_it(self, connect: Open) -> None:
        socket = connect(hold).send(close(3000, "bye")).leave()
        assert socket.take() == disconnect(3000, "bye")

    def test_all_that_wait_are_told(self, connect: Open) -> None:
        socket = connect(hold)
        tasks = [socket.start(_receive(socket)) for _ in range(3)]
        socket.send(close(1000))
        assert [task.result() for task in tasks] == [disconnect(1000)] * 3

    def test_an_application_that_returns_then(self, connect: Open, log: Log) -> None:
        socket = connect(echo).send(close(1000))
        assert socket.done
        assert socket.closes == [(1000, "")]
        assert log(logging.WARNING) == []

    @pytest.mark.parametrize("data", [frame(3), b"\x81\x01a"], ids=["opcode", "mask"])
    def test_what_it_may_not_send_ends_it(self, connect: Open, data: bytes) -> None:
        socket = connect(hold).send(text("a") + data)
        assert (socket.take() or {})["text"] == "a"
        event = socket.take() or {}
        assert (event["type"], event["code"]) == (DISCONNECT, 1002)
        assert socket.closes[0][0] == 1002
        assert socket.ended == "close_gently"

    def test_text_that_is_not_utf_8_ends_it(self, connect: Open) -> None:
        socket = connect(hold).send(text(b"\xff"))
        assert (socket.take() or {})["code"] == 1007
        assert socket.closes[0][0] == 1007


class TestTheClientLeaves:
    def test_without_a_word(self, connect: Open) -> None:
        socket = connect(hold).leave()
        assert socket.take() == disconnect(1006)

    def test_messages_before_it_come_first(self, connect: Open) -> None:
        socket = connect(hold).send(text("a")).leave()
        assert (socket.take() or {})["text"] == "a"
        assert socket.take() == disconnect(1006)

    def test_before_the_handshake_was_answered(self, connect: Open) -> None:
        socket = connect(ponder).leave()
        assert socket.take() == disconnect(1006)
        assert isinstance(socket.tell("accept"), ClientDisconnected)
        assert socket.handshake.accepted is None

    def test_before_connect_was_received(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (await receive())["type"] == "websocket.connect"
            assert (await receive()) == disconnect(1006)

        socket = connect(app, settle=False)
        socket.session.connection_lost()
        socket.settle()
        assert socket.app.raised == []
        assert socket.done

    def test_an_application_that_does_not_answer_then(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != DISCONNECT:
                pass

        socket = connect(app)
        socket.session.disconnect()
        socket.settle()
        assert socket.done
        assert socket.handshake.gave_up
        assert socket.handshake.refused is None
        assert log() == []

    def test_an_application_that_answers_too_late(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != DISCONNECT:
                pass
            await send({"type": "websocket.accept"})

        socket = connect(app)
        socket.session.disconnect()
        socket.settle()
        assert isinstance(socket.app.raised[0], ClientDisconnected)
        assert socket.handshake.gave_up
        assert log() == []

    @pytest.mark.parametrize(
        ("kind", "message"),
        [("send", {"text": "a"}), ("send", {"bytes": b"a"}), ("accept", {})],
    )
    @pytest.mark.parametrize("how", ["leaves", "closes"])
    def test_send_raises_an_os_error(self, connect: Open, kind: str, message: dict[str, Any], how: str) -> None:
        socket = connect(hold)
        socket.leave() if how == "leaves" else socket.send(close(1000))
        before = len(socket.frames)
        error = socket.tell(kind, **message)
        assert isinstance(error, ClientDisconnected)
        assert isinstance(error, OSError)
        assert len(socket.frames) == before

    @pytest.mark.parametrize("message", [{}, {"code": 1001}])
    @pytest.mark.parametrize("how", ["leaves", "closes", "is told by a stop"])
    def test_a_close_is_let_pass(self, connect: Open, message: dict[str, Any], how: str, log: Log) -> None:
        done: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != DISCONNECT:
                pass
            await send({"type": "websocket.close", **message})
            done.append("cleaned up")

        socket = connect(app)
        if how == "leaves":
            socket.leave()
        elif how == "closes":
            socket.send(close(1000))
        else:
            socket.session.drain()
            socket.settle()
        assert done == ["cleaned up"]
        assert len(socket.closes) <= 1
        assert log() == []

    def test_a_close_before_the_handshake_was_answered_is_too(self, connect: Open, log: Log) -> None:
        done: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            while (await receive())["type"] != DISCONNECT:
                pass
            await send({"type": "websocket.close"})
            done.append("cleaned up")

        socket = connect(app)
        socket.session.disconnect()
        socket.settle()
        assert done == ["cleaned up"]
        assert socket.handshake.gave_up
        assert socket.handshake.refused is None
        assert log() == []

    def test_the_end_of_an_application_by_it_is_quiet(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            while True:
                await receive()
                await send({"type": "websocket.send", "text": "a"})

        socket = connect(app).leave()
        assert isinstance(socket.app.raised[0], ClientDisconnected)
        assert log() == []

    def test_another_error_is_logged(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != DISCONNECT:
                pass
            raise LookupError

        connect(app).leave()
        assert len(log(logging.ERROR)) == 1


class TestTheApplicationCloses:
    @pytest.mark.parametrize(
        ("message", "sent"),
        [
            ({}, (1000, "")),
            ({"code": 4000}, (4000, "")),
            ({"code": 1001, "reason": "bye"}, (1001, "bye")),
            ({"code": 1001, "reason": None}, (1001, "")),
        ],
    )
    def test_with_code_and_reason(self, connect: Open, message: dict[str, Any], sent: tuple[int, str]) -> None:
        socket = connect(hold)
        assert socket.tell("close", **message) is None
        assert socket.closes == [sent]
        # The client's answer is waited for.
        assert socket.ended == ""

    @pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "€" * 100, "𝄞" * 31])
    def test_a_reason_that_is_too_long_is_cut(self, connect: Open, reason: str) -> None:
        socket = connect(hold)
        assert socket.tell("close", code=1000, reason=reason) is None
        ((_, sent),) = socket.closes
        assert reason.startswith(sent)
        assert 120 <= len(sent.encode()) <= 123

    @pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 2000, 5000])
    def test_a_code_that_can_not_be_sent_is_an_error(self, connect: Open, code: int) -> None:
        socket = connect(hold)
        error = socket.tell("close", code=code)
        assert isinstance(error, ApplicationError)
        assert "code" in str(error)
        assert socket.closes == []

    def test_such_an_error_ends_in_1011(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1005})

        assert connect(app).closes == [(1011, "")]

    def test_the_answer_ends_it(self, connect: Open) -> None:
        socket = connect(hold)
        socket.tell("close", code=3000, reason="bye")
        assert socket.take() is None
        socket.send(close(3000, "bye too"))
        assert socket.ended == "close_gently"
        assert socket.take() == disconnect(3000, "bye too")
        assert socket.closes == [(3000, "bye")]

    def test_messages_meanwhile_are_dropped(self, connect: Open) -> None:
        socket = connect(hold)
        socket.tell("close")
        socket.send(text("a"), ping(b"1"), close(1000))
        assert socket.take() == disconnect(1000)

    def test_messages_that_waited_are_dropped(self, connect: Open) -> None:
        socket = connect(hold).send(text("a"))
        socket.tell("close")
        assert socket.take() is None

    @pytest.mark.parametrize("kind", ["send", "close", "accept"])
    def test_nothing_can_be_sent_after_it(self, connect: Open, kind: str) -> None:
        socket = connect(hold)
        socket.tell("close")
        error = socket.tell(kind, text="a")
        assert error is not None
        assert len(socket.frames) == 1

    def test_messages_before_it_are_sent_first(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "a"})
            await send({"type": "websocket.close"})

        socket = connect(app)
        assert [item.payload for item in socket.frames] == [b"a", b"\x03\xe8"]

    def test_returning_closes_with_1000(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})

        socket = connect(app)
        assert socket.closes == [(1000, "")]
        assert socket.ended == ""
        socket.send(close(1000))
        assert socket.ended == "close_gently"
        assert log(logging.WARNING) == []

    def test_returning_after_a_close_sends_no_second_one(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4000})

        assert connect(app).closes == [(4000, "")]

    def test_an_error_closes_with_1011(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            raise LookupError

        socket = connect(app, scope={"path": "/chat"})
        assert socket.closes == [(1011, "")]
        assert log(logging.ERROR) == ["Exception in ASGI application: WebSocket /chat"]

    def test_an_error_after_a_close_is_only_logged(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4000})
            raise LookupError

        assert connect(app).closes == [(4000, "")]
        assert len(log(logging.ERROR)) == 1


class TestDenial:
    def test_a_close_before_accept_is_a_403(self, connect: Open) -> None:
        socket = connect(ponder)
        assert socket.tell("close", code=4000) is None
        assert socket.handshake.refused == 403
        assert socket.take() == disconnect(1006)

    def test_an_application_that_returns_after_it(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.close"})

        assert connect(app).handshake.refused == 403
        assert log(logging.WARNING) == []

    def test_an_error_before_accept_is_a_500(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            raise LookupError

        assert connect(app).handshake.refused == 500
        assert len(log(logging.ERROR)) == 1

    def test_returning_without_an_answer_is_a_500(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()

        assert connect(app, scope={"path": "/chat"}).handshake.refused == 500
        assert "/chat" in log(logging.ERROR)[0]

    def test_a_response(self, connect: Open) -> None:
        socket = connect(ponder)
        headers = [(b"content-type", b"text/plain")]
        assert socket.tell("http.response.start", status=401, headers=headers) is None
        assert socket.tell("http.response.body", body=b"no") is None
        assert socket.handshake.responses == [
            {"type": "http.response.start", "status": 401, "headers": headers},
            {"type": "http.response.body", "body": b"no"},
        ]
        assert socket.handshake.refused is None
        assert socket.take() == disconnect(1006)

    def test_a_streamed_response(self, connect: Open) -> None:
        socket = connect(ponder)
        socket.tell("http.response.start", status=200)
        socket.tell("http.response.body", body=b"a", more_body=True)
        assert socket.take() is None
        socket.tell("http.response.body", body=b"b", more_body=True)
        socket.tell("http.response.body")
        assert [event.get("body") for event in socket.handshake.responses] == [None, b"a", b"b", None]
        assert socket.take() == disconnect(1006)

    def test_an_error_within_it(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 401})
            raise LookupError

        assert connect(app).handshake.refused == 500
        assert len(log(logging.ERROR)) == 1

    def test_returning_within_it(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.http.response.start", "status": 401})

        assert connect(app).handshake.refused == 500
        assert len(log(logging.ERROR)) == 1

    def test_a_response_that_can_not_be_sent(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.http.response.start", "status": 1})

        socket = connect(app, error=ApplicationError("no status"))
        assert socket.handshake.refused == 500

    def test_after_it_send_raises_an_os_error(self, connect: Open) -> None:
        socket = connect(ponder)
        socket.tell("close")
        assert isinstance(socket.tell("send", text="a"), OSError)
        assert isinstance(socket.tell("accept"), OSError)

    def test_what_the_carrier_says_later_means_nothing(self, connect: Open) -> None:
        socket = connect(ponder)
        socket.tell("close")
        socket.session.receive_data(text("a"))
        socket.tick(60)
        socket.leave()
        assert socket.take() == disconnect(1006)
        assert socket.handshake.refused == 403


class TestOrder:
    """A message that has no place names what has."""

    @pytest.mark.parametrize("kind", ["send", "http.response.body", "receive", "http.response.stop"])
    def test_before_accept(self, connect: Open, kind: str) -> None:
        error = connect(ponder).tell(kind, text="a")
        assert isinstance(error, ApplicationError)
        assert f"'websocket.{kind}'" in str(error)
        assert "websocket.accept, websocket.close or websocket.http.response.start" in str(error)

    @pytest.mark.parametrize("kind", ["accept", "http.response.start", "http.response.body", "disconnect"])
    def test_after_accept(self, connect: Open, kind: str) -> None:
        error = connect(hold).tell(kind)
        assert isinstance(error, ApplicationError)
        assert f"'websocket.{kind}'" in str(error)
        assert "websocket.send or websocket.close" in str(error)

    @pytest.mark.parametrize("kind", ["accept", "send", "close", "http.response.start"])
    def test_within_a_response(self, connect: Open, kind: str) -> None:
        socket = connect(ponder)
        socket.tell("http.response.start", status=401)
        error = socket.tell(kind)
        assert isinstance(error, ApplicationError)
        assert f"'websocket.{kind}'" in str(error)
        assert "websocket.http.response.body" in str(error)

    def test_a_message_of_http(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200})

        socket = connect(app)
        assert isinstance(socket.app.raised[0], ApplicationError)
        assert socket.handshake.refused == 500

    def test_such_an_error_ends_in_1011(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.accept"})

        assert connect(app).closes == [(1011, "")]

    def test_the_application_may_go_on_after_it(self, connect: Open) -> None:
        socket = connect(hold)
        socket.tell("accept")
        assert socket.tell("send", text="a") is None
        assert socket.texts == ["a"]


class TestLog:
    def test_open_and_close_are_told_at_debug(self, connect: Open, log: Log) -> None:
        connect(hold, scope={"path": "/chat"}).send(close(1001, "bye"))
        assert log() == []
        opened, closed = log(logging.DEBUG)
        assert "/chat" in opened
        assert "192.0.2.7:50123" in opened
        assert "1001 bye" in closed
