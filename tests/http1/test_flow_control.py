"""Flow control: reading waits for the application, sending waits for the client, and leaving ends both waits."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, answer, body, echo, hello, read_body, start
from tests.http1.conftest import Connect
from tests.scripted import HIGH_WATER, Client, get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send

LIMIT = 65536


class Streaming:
    """Sends pieces as fast as it may, and counts them."""

    def __init__(self, piece: bytes = b"x" * 10_000, count: int = 100) -> None:
        self.piece = piece
        self.count = count
        self.sent = 0
        self.error: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(start())
            for _ in range(self.count):
                await send(body(self.piece, more=True))
                self.sent += 1
            await send(body())
        except BaseException as exc:
            self.error = exc
            raise


class TestReading:
    def test_it_goes_on_up_to_the_limit(self, connect: Connect) -> None:
        client = connect(Gate(echo)).send(post(b"x" * LIMIT))
        assert client.transport.reading

    @pytest.mark.parametrize("framing", ["length", "chunked"])
    def test_it_pauses_above(self, connect: Connect, framing: str) -> None:
        app = Gate(echo)
        data = b"x" * 300_000
        if framing == "length":
            head, rest = get("/", f"Content-Length: {len(data)}", method="POST"), data
        else:
            head = get("/", "Transfer-Encoding: chunked", method="POST")
            rest = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        client = connect(app).send(head)
        client.send(rest, each=10_000)
        assert not client.transport.reading
        assert 0 < len(rest) - client.transport.unread <= LIMIT + 10_000
        app.open()
        client.harness.settle()
        assert client.transport.reading
        assert client.transport.unread == 0
        assert client.response().body == b"POST / " + data

    def test_many_small_pieces_take_little_more_than_their_bytes(self, connect: Connect) -> None:
        app = Gate(echo)
        client = connect(app).send(get("/", "Transfer-Encoding: chunked", method="POST"))
        client.send(b"2\r\nxy\r\n" * 40_000, each=16_384)
        assert not client.transport.reading
        (cycle,) = client.harness.runtime.cycles
        chunks = cycle.chunks  # type: ignore[attr-defined]
        if sys.implementation.name == "pypy":
            pytest.skip("it does not say how large an object is")
        assert sum(map(sys.getsizeof, chunks)) < LIMIT + 32_768
        assert len(chunks) < 64
        client.send(b"0\r\n\r\n")
        app.open()
        client.harness.settle()
        assert client.responses()[0].body.endswith(b" " + b"xy" * 40_000)

    def test_it_goes_on_when_the_application_has_taken_what_there_is(self, connect: Connect) -> None:
        takes: list[asyncio.Future[None]] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for _ in range(2):
                future = asyncio.get_running_loop().create_future()
                takes.append(future)
                await future
                await receive()
            await answer(send, await read_body(receive))

        client = connect(app).send(post(bytes(500_000))[:-500_000], b"x" * 100_000)
        assert not client.transport.reading
        takes[0].set_result(None)
        client.harness.settle()
        assert client.transport.reading
        client.send(b"y" * 100_000)
        assert not client.transport.reading
        takes[1].set_result(None)
        client.harness.settle()
        client.send(b"z" * 300_000)
        assert client.response().body == b"z" * 300_000

    def test_a_body_that_nobody_reads_is_dropped_after_the_answer(self, connect: Connect) -> None:
        app = Gate()
        client = connect(app).send(post(b"x" * 200_000)[:-50_000], b"x" * 50_000, get())
        assert not client.transport.reading
        app.open()
        client.harness.settle()
        app.open()
        client.harness.settle()
        assert client.transport.reading
        assert len(client.responses()) == 2

    def test_the_body_of_one_that_waits_counts_too(self, connect: Connect) -> None:
        app = Gate(echo)
        client = connect(app).send(get("/1") + post(b"x" * 300_000, target="/2"), each=10_000)
        assert not client.transport.reading
        while app.waiting:
            app.open()
            client.harness.settle()
        assert client.transport.reading
        assert client.responses()[1].body == b"POST /2 " + b"x" * 300_000

    @pytest.mark.parametrize("how", ["leave", "abort"])
    def test_a_client_that_leaves_meanwhile(self, connect: Connect, how: str) -> None:
        app = Gate(read_and_answer)
        recorder = Recorder(app)
        client = connect(recorder).send(post(b"x" * 300_000), each=10_000)
        if how == "leave":
            client.leave()
        else:
            client.transport.abort()
        app.open()
        client.harness.settle()
        assert recorder.received == [{"type": "http.disconnect"}]


async def read_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await read_body(receive)
    except ConnectionError:
        return
    await answer(send)


class TestSending:
    def test_it_waits_while_the_client_does_not_read(self, connect: Connect) -> None:
        app = Streaming()
        client = connect(app).stall().send(get())
        assert app.sent < app.count
        assert len(client.transport.output) <= 2 * (HIGH_WATER + LIMIT)
        client.drain()
        assert app.sent == app.count
        assert client.response().body == app.piece * app.count

    def test_it_is_woken_as_often_as_it_takes(self, connect: Connect) -> None:
        app = Streaming(count=200)
        client = connect(app).stall().send(get())
        steps = [app.sent]
        while app.sent < app.count:
            client.drain().stall()
            steps.append(app.sent)
            if len(steps) > 2:
                client.harness.settle()
        assert client.drain().response().body == app.piece * app.count

    @pytest.mark.parametrize("size", [100, 10_000, 200_000])
    def test_pieces_of_any_size_are_bounded(self, connect: Connect, size: int) -> None:
        app = Streaming(b"x" * size, 10_000_000 // size)
        client = connect(app).stall().send(get())
        assert app.sent < app.count
        assert len(client.transport.output) <= HIGH_WATER + LIMIT + 2 * size
        client.leave()
        assert isinstance(app.error, OSError)

    @pytest.mark.parametrize("exc", [None, ConnectionResetError("reset")], ids=["end", "reset"])
    def test_it_is_woken_by_a_client_that_leaves(self, connect: Connect, exc: Any) -> None:
        app = Streaming()
        recorder = Recorder(app)
        connect(recorder).stall().send(get()).leave(exc)
        assert isinstance(app.error, OSError)
        assert recorder.done == 1

    def test_the_last_message_does_not_wait(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, b"x" * 1_000_000)

        recorder = Recorder(app)
        client = connect(recorder).stall().send(get())
        assert recorder.done == 1
        assert client.drain().response().body == b"x" * 1_000_000

    def test_the_next_request_waits_too(self, connect: Connect) -> None:
        recorder = Recorder(large)
        client = connect(recorder).stall().send(get("/1") + get("/2"), get("/3") * 500)
        assert recorder.paths == ["/1"]
        assert not client.transport.reading
        while client.transport.get_write_buffer_size():
            client.drain()
            if len(recorder.paths) < 4:
                client.stall()
        assert recorder.paths[:3] == ["/1", "/2", "/3"]

    def test_a_client_that_sends_and_never_reads_is_bounded(self, connect: Connect) -> None:
        recorder = Recorder(large)
        client = connect(recorder).stall()
        for _ in range(100):
            if client.transport.is_reading():
                client.send(get() * 10)
        assert len(recorder.scopes) <= 3
        assert len(client.transport.output) <= 3 * 110_000

    def test_several_tasks_that_send_are_woken_all(self, connect: Connect) -> None:
        done: list[int] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start())
            await send(body(b"x" * 200_000, more=True))

            async def one(number: int) -> None:
                await send(body(b"y", more=True))
                done.append(number)

            await asyncio.gather(*map(one, range(5)))
            await send(body())

        client = connect(app).stall().send(get())
        assert done == []
        client.drain()
        assert sorted(done) == [0, 1, 2, 3, 4]
        assert client.response().body == b"x" * 200_000 + b"y" * 5

    def test_receive_is_not_confused_by_it(self, connect: Connect) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            waiting = asyncio.ensure_future(receive())
            await send(start())
            for _ in range(30):
                await send(body(b"x" * 10_000, more=True))
            assert not waiting.done()
            waiting.cancel()
            await send(body())

        recorder = Recorder(app)
        client = connect(recorder).stall().send(post(b"12345")[:-5])
        client.drain()
        assert recorder.raised == []
        assert client.response().body == b"x" * 300_000

    def test_a_refusal_is_sent_all_the_same(self, connect: Connect) -> None:
        client = connect(large).stall().send(get(), b"nonsense\r\n\r\n").drain()
        assert client.responses()[0].status == 200
        assert client.closed


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"x" * 100_000)


class TestClosing:
    def test_what_was_written_leaves_before_the_close(self, connect: Connect) -> None:
        client = connect(large).stall().send(get("/", "Connection: close"))
        assert not client.transport.lost
        client.drain()
        assert client.transport.lost
        assert client.response().body == b"x" * 100_000

    def test_an_idle_close_does_not_cut_what_a_slow_client_still_reads(self, connect: Connect) -> None:
        client = connect(large, timeout_keep_alive=2).stall().send(get())
        client.harness.tick(10)
        assert client.open
        client.drain()
        # It has been idle only since then.
        client.harness.tick(1)
        assert client.open
        client.harness.tick(2)
        assert client.closed
        assert client.response().body == b"x" * 100_000

    def test_lingering_does_not_cut_what_a_slow_client_still_reads(self, connect: Connect) -> None:
        client = connect(large).stall().send(post(bytes(1_000_000))[:1000])
        assert client.open
        client.harness.tick(10)
        assert not client.transport.lost
        client.drain()
        client.harness.tick(10)
        assert client.transport.lost


def assert_served(client: Client) -> None:
    assert client.response().status == 200


def test_a_connection_that_was_stalled_is_as_good_as_new(connect: Connect) -> None:
    client = connect(large).stall().send(get()).drain()
    client.take()
    assert_served(client.send(get()))
    client.take()
    assert_served(client.send(post(b"12345")))
    assert client.open


def test_hello_is_small_enough_never_to_wait(connect: Connect) -> None:
    client = connect(hello).stall().send(get() * 100)
    assert len(client.responses()) == 100
