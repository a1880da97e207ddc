"""Backpressure of a WebSocket, both ways: what is held for a connection is bounded."""

from __future__ import annotations

import asyncio

import pytest

from tests.memory import SLACK, held_after, tracer
from tests.websocket.conftest import Open, deflate
from tests.websocket.scripted_socket import Socket, echo, hold
from tests.websocket.wire import BINARY, PONG, Deflater, binary, close, cont, ping, text
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ClientDisconnected


def taken(socket: Socket) -> str | bytes:
    event = socket.take()
    assert event is not None
    message: str | bytes = event["text"] if "text" in event else event["bytes"]
    return message


class TestReading:
    """It pauses while messages wait for the application."""

    def test_it_pauses_when_the_queue_is_full(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=3).send(text("1"), text("2"))
        assert socket.carrier.reading
        socket.send(text("3"))
        assert not socket.carrier.reading

    def test_it_goes_on_when_one_is_taken(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=3).send(text("1"), text("2"), text("3"))
        assert taken(socket) == "1"
        assert socket.carrier.reading
        socket.send(text("4"))
        assert not socket.carrier.reading
        assert [taken(socket) for _ in range(3)] == ["2", "3", "4"]
        assert socket.carrier.calls == ["pause_reading", "resume_reading"] * 2

    def test_all_of_one_read_is_taken(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=3).send(text("a") * 10)
        assert socket.carrier.calls == ["pause_reading"]
        assert [taken(socket) for _ in range(7)] == ["a"] * 7
        assert not socket.carrier.reading
        taken(socket)
        assert socket.carrier.reading
        assert [taken(socket) for _ in range(2)] == ["a"] * 2

    def test_a_queue_of_one(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=1)
        for _ in range(5):
            socket.send(text("a"))
            assert not socket.carrier.reading
            assert taken(socket) == "a"

    def test_it_does_not_pause_for_an_application_that_waits(self, connect: Open) -> None:
        socket = connect(echo, ws_max_queue=2).send(*[text("a")] * 10)
        assert socket.texts == ["a"] * 10
        assert "pause_reading" not in socket.carrier.calls

    @pytest.mark.parametrize("size", [400_000, 1_000_000])
    def test_few_large_messages_are_enough(self, connect: Open, size: int) -> None:
        socket = connect(hold)
        count = 0
        while socket.carrier.reading:
            socket.send(binary(bytes(size)))
            count += 1
        assert count * size < 3_000_000
        for _ in range(count):
            assert len(taken(socket)) == size
        assert socket.carrier.reading

    def test_those_that_were_small_on_the_wire_too(self, connect: Open) -> None:
        socket = connect(hold, compression=deflate())
        socket.send(Deflater().message(bytes(2_000_000)))
        assert not socket.carrier.reading
        assert len(taken(socket)) == 2_000_000
        assert socket.carrier.reading

    def test_what_one_read_becomes_is_bounded(self, connect: Open) -> None:
        tracemalloc = tracer()
        # A kilobyte each on the wire. Messages that nobody has room for are not decompressed yet.
        deflater = Deflater()
        count, size = 50, 1_000_000
        data = b"".join(deflater.message(bytes(size), opcode=BINARY) for _ in range(count))
        assert len(data) < 65536
        socket = connect(hold, compression=deflate())
        tracemalloc.start()
        try:
            socket.send(data)
            assert tracemalloc.get_traced_memory()[0] < 5_000_000
        finally:
            tracemalloc.stop()
        # All of them are received in the end.
        assert [len(taken(socket)) for _ in range(count)] == [size] * count
        assert socket.carrier.reading
        socket.send(text("a"))
        assert taken(socket) == "a"

    def test_a_close_behind_all_that(self, connect: Open) -> None:
        deflater = Deflater()
        data = b"".join(deflater.message(bytes(1_000_000)) for _ in range(10)) + close(4000)
        socket = connect(hold, compression=deflate()).send(data)
        assert [len(taken(socket)) for _ in range(10)] == [1_000_000] * 10
        assert socket.take() == {"type": "websocket.disconnect", "code": 4000, "reason": ""}
        assert socket.ended == "close_gently"

    def test_a_read_full_of_small_messages(self, connect: Open) -> None:
        """They are made as there is room for them, and none is lost."""
        count = 5000
        socket = connect(hold).send(text("xy") * count + close(4000))
        assert not socket.carrier.reading
        assert [taken(socket) for _ in range(count)] == ["xy"] * count
        assert (socket.take() or {})["code"] == 4000
        assert socket.ended == "close_gently"

    def test_one_whose_application_is_fast(self, connect: Open) -> None:
        socket = connect(echo).send(text("xy") * 5000)
        assert socket.texts == ["xy"] * 5000
        assert socket.carrier.reading
        socket.send(text("last"))
        assert socket.texts[-1] == "last"

    def test_an_end_of_ours_in_the_middle_of_it(self, connect: Open) -> None:
        """The client's reply is behind messages that nobody wants any more."""
        socket = connect(hold).send(text("xy") * 5000 + close(1000))
        assert socket.tell("close") is None
        socket.settle()
        assert socket.ended == "close_gently"

    def test_a_flood_after_our_end(self, connect: Open) -> None:
        socket = connect(hold)
        assert socket.tell("close") is None
        for _ in range(3):
            assert held_after(lambda: socket.send(text("xy") * 5000)) <= SLACK
        socket.send(close(1000))
        assert socket.ended == "close_gently"

    def test_fragments_do_not_count(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=2)
        socket.send(text("a", fin=False), *[cont("b", fin=False)] * 10)
        assert socket.carrier.reading
        socket.send(cont("c"), text("d"))
        assert not socket.carrier.reading

    def test_frames_that_came_early_pause_it_too(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=2, early=text("a") * 5)
        assert not socket.carrier.reading

    def test_a_close_behind_the_messages_of_a_read(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=2).send(text("a") * 3 + close(1001))
        assert socket.ended == "close_gently"
        assert [taken(socket) for _ in range(3)] == ["a"] * 3
        assert (socket.take() or {})["code"] == 1001

    def test_a_client_that_left_meanwhile(self, connect: Open) -> None:
        socket = connect(hold, ws_max_queue=2).send(text("a") * 5).leave()
        assert [taken(socket) for _ in range(5)] == ["a"] * 5
        assert (socket.take() or {})["code"] == 1006

    def test_our_close_reads_on(self, connect: Open) -> None:
        # The client's answer is behind the messages that nobody wants any more.
        socket = connect(hold, ws_max_queue=2).send(text("a") * 5)
        socket.tell("close")
        assert socket.carrier.reading
        socket.send(text("a") * 100, close(1000))
        assert socket.ended == "close_gently"
        assert (socket.take() or {})["code"] == 1000


class TestSending:
    """It waits while the client does not read."""

    def test_it_waits(self, connect: Open) -> None:
        socket = connect(hold)
        socket.stall()
        task = socket.start(_send(socket, "a"))
        assert not task.done()
        socket.read()
        assert task.done()
        assert socket.texts == ["a"]

    def test_it_does_not_wait_while_the_client_reads(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            for _ in range(1000):
                await send({"type": "websocket.send", "text": "a"})

        assert connect(app).texts == ["a"] * 1000

    @pytest.mark.parametrize("compressed", [False, True])
    def test_large_messages(self, connect: Open, compressed: bool) -> None:
        socket = connect(hold, compression=deflate() if compressed else None)
        assert socket.tell("send", bytes=bytes(100_000)) is None
        assert socket.tell("send", text="é" * 100_000) is None
        sent = socket.inflated() if compressed else [item.payload for item in socket.frames]
        assert sent == [bytes(100_000), "é".encode() * 100_000]

    def test_an_application_that_sends_without_end(self, connect: Open) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            while True:
                await asyncio.sleep(0)
                await send({"type": "websocket.send", "bytes": bytes(1000)})

        socket = connect(app, settle=False)
        socket.stall()
        for _ in range(100):
            socket.harness.turn()
        assert len(socket.carrier.sent) == 1
        socket.leave()
        assert isinstance(socket.app.raised[0], ClientDisconnected)

    def test_each_that_waits_goes_on(self, connect: Open) -> None:
        socket = connect(hold)
        socket.stall()
        tasks = [socket.start(_send(socket, str(at))) for at in range(3)]
        assert not any(task.done() for task in tasks)
        socket.read()
        assert all(task.done() for task in tasks)
        assert socket.texts == ["0", "1", "2"]

    def test_it_looks_again_before_it_goes_on(self, connect: Open) -> None:
        socket = connect(hold)
        socket.stall()
        task = socket.start(_send(socket, "a"))
        socket.session.wake()
        socket.settle()
        assert not task.done()
        socket.read()
        assert task.done()

    def test_messages_are_received_meanwhile(self, connect: Open) -> None:
        socket = connect(hold)
        socket.stall()
        task = socket.start(_send(socket, "a"))
        socket.send(text("b"))
        assert taken(socket) == "b"
        assert not task.done()
        socket.read()

    @pytest.mark.parametrize("how", ["leaves", "closes", "fails"])
    def test_a_client_that_does_not_come_back(self, connect: Open, how: str) -> None:
        socket = connect(hold)
        socket.stall()
        task = socket.start(_send(socket, "a"))
        if how == "leaves":
            socket.leave()
        else:
            socket.send(close(1001) if how == "closes" else b"\xff\xff")
        assert isinstance(task.exception(), ClientDisconnected)

    def test_a_drain_ends_the_wait(self, connect: Open) -> None:
        socket = connect(hold)
        socket.stall()
        task = socket.start(_send(socket, "a"))
        socket.session.drain()
        socket.settle()
        assert isinstance(task.exception(), ClientDisconnected)

    def test_one_that_is_cancelled(self, connect: Open) -> None:
        socket = connect(hold)
        socket.stall()
        first, second = (socket.start(_send(socket, "a")) for _ in range(2))
        first.cancel()
        socket.read()
        assert first.cancelled()
        assert second.done()

    @pytest.mark.parametrize("count", [1, 20])
    def test_a_client_that_pings_and_never_reads(self, connect: Open, count: int) -> None:
        # Each ping has a pong to be sent: either reading pauses, or only the last is answered (5.5.3).
        socket = connect(hold)
        socket.stall()
        for _ in range(10_000 // count):
            if not socket.carrier.reading:
                break
            socket.send(ping(b"x" * 125) * count)
        assert sum(map(len, socket.carrier.sent)) < 131_072

    def test_its_pings_are_answered_when_it_reads(self, connect: Open) -> None:
        socket = connect(hold)
        socket.stall()
        for at in range(100):
            if socket.carrier.reading:
                socket.send(ping(b"%d" % at))
        socket.read()
        assert socket.carrier.reading
        socket.send(ping(b"last"))
        assert socket.frames[-1].opcode == PONG
        assert socket.frames[-1].payload == b"last"


async def _send(socket: Socket, message: str) -> None:
    await socket.send_message({"type": "websocket.send", "text": message})
