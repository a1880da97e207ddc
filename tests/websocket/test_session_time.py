"""Pings, the time that a closing handshake may take, and a server that stops."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.websocket.conftest import Log, Open
from tests.websocket.scripted_socket import Socket, echo, hold, ponder
from tests.websocket.wire import PING, close, pong, text
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ClientDisconnected


def pings(socket: Socket) -> list[bytes]:
    """The payloads of the pings that were sent."""
    return [item.payload for item in socket.frames if item.opcode == PING]


def answer(socket: Socket) -> None:
    socket.send(pong(pings(socket)[-1]))


class TestPings:
    def test_one_after_the_interval(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=10).tick(10)
        assert pings(socket) == []
        socket.tick(1)
        assert len(pings(socket)) == 1

    def test_by_default_after_20_seconds(self, connect: Open) -> None:
        socket = connect(hold).tick(20)
        assert pings(socket) == []
        assert len(pings(socket.tick(1))) == 1

    def test_one_after_each_answer(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=10)
        for count in range(1, 5):
            socket.tick(11)
            assert len(pings(socket)) == count
            answer(socket)
        assert socket.closes == []

    def test_each_has_its_own_payload(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=1)
        for _ in range(5):
            socket.tick(2)
            answer(socket)
        assert len(set(pings(socket))) == 5

    def test_none_before_the_answer(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=1, ws_ping_timeout=20).tick(15)
        assert len(pings(socket)) == 1

    def test_without_an_answer_it_ends_with_1011(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=10, ws_ping_timeout=5).tick(15.5)
        assert socket.closes == []
        socket.tick(1)
        assert socket.closes == [(1011, "keepalive ping timeout")]
        assert socket.ended == "close_gently"
        event = socket.take() or {}
        assert (event["type"], event["code"]) == ("websocket.disconnect", 1011)
        assert isinstance(socket.tell("send", text="a"), ClientDisconnected)

    def test_messages_before_that_are_received(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=10, ws_ping_timeout=5).send(text("a")).tick(30)
        assert (socket.take() or {})["text"] == "a"
        assert (socket.take() or {})["code"] == 1011

    @pytest.mark.parametrize("payload", [b"", b"other"])
    def test_another_pong_is_no_answer(self, connect: Open, payload: bytes) -> None:
        socket = connect(hold, ws_ping_interval=10, ws_ping_timeout=5).tick(11)
        socket.send(pong(payload)).tick(10)
        assert socket.closes[0][0] == 1011

    def test_an_answer_of_before_is_none(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=10, ws_ping_timeout=5).tick(11)
        answer(socket)
        socket.tick(11).send(pong(pings(socket)[0])).tick(10)
        assert len(pings(socket)) == 2
        assert socket.closes[0][0] == 1011

    def test_an_answer_within_the_time(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=10, ws_ping_timeout=5).tick(15)
        answer(socket)
        assert socket.tick(10).closes == []

    def test_without_a_timeout_no_answer_is_needed(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=10, ws_ping_timeout=None).tick(100)
        assert 8 <= len(pings(socket)) <= 10
        assert socket.closes == []

    @pytest.mark.parametrize("timeout", [None, 5])
    def test_without_an_interval_there_are_none(self, connect: Open, timeout: float | None) -> None:
        socket = connect(hold, ws_ping_interval=None, ws_ping_timeout=timeout).tick(1000)
        assert socket.frames == []

    def test_none_before_accept(self, connect: Open) -> None:
        socket = connect(ponder, ws_ping_interval=1).tick(100)
        assert socket.frames == []

    def test_none_after_a_close(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=1, ws_close_timeout=100)
        socket.tell("close")
        assert pings(socket.tick(10)) == []

    def test_a_close_ends_the_wait_for_the_answer(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=1, ws_ping_timeout=1, ws_close_timeout=100).tick(2)
        socket.tell("close", code=4000)
        socket.tick(10)
        assert socket.closes == [(4000, "")]
        assert socket.ended == ""

    def test_a_slow_application_is_not_the_clients_fault(self, connect: Open) -> None:
        # Reading is paused, so that the pong can't be seen; the client is alive as far as anybody knows.
        socket = connect(hold, ws_max_queue=2, ws_ping_interval=10, ws_ping_timeout=5).send(text("a") * 3)
        assert not socket.carrier.reading
        socket.tick(60)
        assert socket.closes == []
        for _ in range(3):
            assert (socket.take() or {})["text"] == "a"
        if pings(socket):
            answer(socket)
        socket.tick(14)
        assert socket.closes == []

    def test_nor_is_one_that_became_slow_after_the_ping(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=2, ws_ping_interval=10, ws_ping_timeout=5).tick(11)
        assert len(pings(socket)) == 1
        socket.send(text("a") * 3).tick(60)
        assert socket.closes == []

    def test_it_is_when_the_application_reads_again(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=2, ws_ping_interval=10, ws_ping_timeout=5).tick(11)
        socket.send(text("a") * 2).tick(60)
        socket.take()
        socket.tick(60)
        assert socket.closes[0][0] == 1011


class TestAnEndBehindMessages:
    """A close in the same read as messages: the application may answer them before it counts."""

    def test_the_answers_are_sent(self, connect: Open) -> None:
        socket = connect(echo).send(text("a") + text("b") + close(4000))
        assert socket.texts == ["a", "b"]
        assert socket.closes == [(4000, "")]
        assert socket.ended == "close_gently"
        assert socket.received[-1] == {"type": "websocket.disconnect", "code": 4000, "reason": ""}

    def test_those_before_an_error_too(self, connect: Open) -> None:
        socket = connect(echo).send(text("a") + b"\xff\xff")
        assert socket.texts == ["a"]
        assert socket.closes[0][0] == 1002
        assert socket.ended == "close_gently"

    def test_an_application_that_closes_meanwhile(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await receive()
            await receive()
            await send({"type": "websocket.close", "code": 3000})
            assert (await receive())["code"] == 4000

        socket = connect(app).send(text("a") + close(4000))
        assert socket.closes == [(3000, "")]
        assert socket.ended == "close_gently"
        assert socket.app.raised == []

    def test_a_drain_meanwhile(self, connect: Open) -> None:
        socket = connect(hold)
        socket.session.receive_data(text("a") + close(4000))
        socket.session.drain()
        socket.settle()
        assert len(socket.closes) == 1
        assert socket.ended == "close_gently"

    def test_a_timeout_meanwhile(self, connect: Open) -> None:
        socket = connect(hold, ws_ping_interval=1, ws_ping_timeout=1).tick(2)
        assert len(pings(socket)) == 1
        socket.harness.runtime.tick += 10
        socket.session.receive_data(text("a") + close(4000))
        socket.session.on_tick(socket.harness.runtime.tick)
        # Comes to rest, with one close frame.
        socket.settle()
        assert len(socket.closes) == 1
        assert socket.ended == "close_gently"


class TestCloseTimeout:
    def test_a_client_that_does_not_answer_is_cut_off(self, connect: Open) -> None:
        socket = connect(hold, ws_close_timeout=5)
        socket.tell("close")
        assert socket.tick(5).ended == ""
        assert socket.tick(1).ended == "abort"
        event = socket.take() or {}
        assert (event["type"], event["code"]) == ("websocket.disconnect", 1006)

    def test_by_default_after_10_seconds(self, connect: Open) -> None:
        socket = connect(hold)
        socket.tell("close")
        assert socket.tick(10).ended == ""
        assert socket.tick(1).ended == "abort"

    def test_one_that_answers_is_not(self, connect: Open) -> None:
        socket = connect(hold, ws_close_timeout=5)
        socket.tell("close")
        socket.tick(4).send(close(1000)).tick(20)
        assert socket.ended == "close_gently"

    def test_one_that_left_is_not(self, connect: Open) -> None:
        socket = connect(hold, ws_close_timeout=5)
        socket.tell("close")
        socket.leave().tick(20)
        assert socket.ended == ""

    def test_one_that_goes_on_sending_is(self, connect: Open) -> None:
        socket = connect(hold, ws_close_timeout=5)
        socket.tell("close")
        for _ in range(10):
            socket.send(text("a")).tick(0.5)
        assert socket.tick(1).ended == "abort"

    def test_no_time_at_all(self, connect: Open) -> None:
        socket = connect(hold, ws_close_timeout=0)
        socket.tell("close", code=4000)
        assert socket.closes == [(4000, "")]
        assert socket.tick(1).ended == "abort"


class TestDrain:
    """The server stops."""

    def test_the_client_gets_1012_and_its_answer_is_awaited(self, connect: Open) -> None:
        socket = connect(hold)
        socket.session.drain()
        socket.settle()
        assert socket.closes == [(1012, "")]
        assert socket.ended == ""
        socket.send(close(1012))
        assert socket.ended == "close_gently"

    def test_the_application_is_told_at_once(self, connect: Open) -> None:
        socket = connect(echo)
        socket.session.drain()
        socket.settle()
        assert socket.received == [{"type": "websocket.disconnect", "code": 1012, "reason": ""}]
        assert socket.done

    def test_and_can_not_send_any_more(self, connect: Open) -> None:
        socket = connect(hold)
        socket.session.drain()
        assert isinstance(socket.tell("send", text="a"), ClientDisconnected)
        assert socket.tell("close") is None
        assert socket.closes == [(1012, "")]

    def test_an_application_that_ends_by_that_is_quiet(self, connect: Open, log: Log) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            await receive()
            while (await receive())["type"] == "websocket.receive":
                pass
            await send({"type": "websocket.send", "text": "a"})

        socket = connect(app)
        socket.session.drain()
        socket.settle()
        assert isinstance(socket.app.raised[0], ClientDisconnected)
        assert log() == []

    def test_a_client_that_does_not_answer_is_cut_off(self, connect: Open) -> None:
        socket = connect(hold, ws_close_timeout=2)
        socket.session.drain()
        assert socket.tick(3).ended == "abort"

    def test_one_that_closed_before_gets_no_second_close(self, connect: Open) -> None:
        socket = connect(hold).send(close(1000))
        socket.session.drain()
        assert socket.closes == [(1000, "")]
        assert (socket.take() or {})["code"] == 1000

    def test_nor_one_to_which_the_application_closed(self, connect: Open) -> None:
        socket = connect(hold)
        socket.tell("close", code=4000)
        socket.session.drain()
        assert socket.closes == [(4000, "")]

    def test_a_client_that_left(self, connect: Open) -> None:
        socket = connect(hold).leave()
        socket.session.drain()
        assert socket.frames == []
        assert (socket.take() or {})["code"] == 1006

    def test_messages_that_waited_are_dropped(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=2).send(text("a") * 3)
        socket.session.drain()
        assert (socket.take() or {})["type"] == "websocket.disconnect"
        assert socket.carrier.reading


class TestAbandon:
    """The server does not wait for the application any longer."""

    def test_before_accept_it_is_a_503(self, connect: Open) -> None:
        socket = connect(ponder)
        socket.session.abandon()
        assert socket.handshake.refused == 503

    def test_within_a_denial(self, connect: Open) -> None:
        socket = connect(ponder)
        socket.tell("http.response.start", status=401)
        socket.session.abandon()
        assert socket.handshake.refused == 503

    def test_an_open_one_gets_1012(self, connect: Open) -> None:
        socket = connect(hold)
        socket.session.abandon()
        assert socket.closes == [(1012, "")]

    def test_after_the_end_nothing_is_sent(self, connect: Open) -> None:
        socket = connect(hold).send(close(1000))
        socket.session.abandon()
        assert socket.closes == [(1000, "")]

    @pytest.mark.parametrize("app", [ponder, hold])
    def test_a_task_that_is_cancelled(self, connect: Open, app: Any, log: Log) -> None:
        socket = connect(app).cancel()
        assert socket.task is not None
        assert socket.task.cancelled()
        assert socket.handshake.refused == (503 if app is ponder else None)
        assert socket.closes == ([] if app is ponder else [(1012, "")])
        # As the server does for tasks that had no turn to clean up.
        socket.session.abandon()
        assert len(socket.closes) < 2
        assert log(logging.WARNING) == []

    def test_an_application_that_does_not_let_itself_be_cancelled(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                await send({"type": "websocket.send", "text": "so late"})

        socket = connect(app).cancel()
        assert socket.texts == ["so late"]
        assert socket.closes == [(1000, "")]

    def test_disconnect_tells_the_application_to_end(self, connect: Open) -> None:
        socket = connect(hold).send(text("a"))
        socket.session._runtime.draining = True
        socket.session.disconnect()
        assert (socket.take() or {})["text"] == "a"
        assert (socket.take() or {})["code"] == 1012
