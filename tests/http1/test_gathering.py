"""How many writes a response takes: what is sent in one turn of the loop leaves in one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import answer, body, hello, respond, start, stream
from tests.http1.conftest import Connect, Serve
from tests.scripted import Client, Harness, get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send


def test_a_small_response_is_one_write(connect: Connect) -> None:
    client = connect(hello).send(get())
    assert client.transport.calls == ["write"]


def test_it_is_written_at_once(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send)
        await asyncio.get_running_loop().create_future()

    client = connect(app)
    client.push(get())
    client.harness.turn()
    assert client.response().status == 200


class TestManyAnswersInATurn:
    """Clients of one turn of the loop are woken by one burst, when all applications have done what they can."""

    @staticmethod
    def ask(clients: list[Client], harness: Harness) -> None:
        def push() -> None:
            for client in clients:
                client.transport.deliver(get())

        harness.inside(push)
        harness.settle()

    def ask_often(self, clients: list[Client], harness: Harness) -> None:
        """Until it is seen that there are many."""
        for _ in range(4):
            self.ask(clients, harness)

    @staticmethod
    def told(serve: Serve) -> tuple[Harness, list[str]]:
        """What happens, in its order: applications that answer, and what is written."""
        happened: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            happened.append("asked")
            await answer(send)

        return serve(app), happened

    @staticmethod
    def clients(harness: Harness, number: int, happened: list[str]) -> list[Client]:
        clients = [harness.connect() for _ in range(number)]
        for client in clients:
            client.transport.write = noted(client.transport.write, happened)  # type: ignore[assignment,method-assign]
        return clients

    def test_they_leave_one_after_the_other(self, serve: Serve) -> None:
        harness, happened = self.told(serve)
        clients = self.clients(harness, 20, happened)
        self.ask_often(clients, harness)
        happened.clear()
        self.ask(clients, harness)
        assert happened == ["asked"] * 20 + ["written"] * 20
        assert all(len(client.responses()) == 5 for client in clients)

    def test_a_few_leave_at_once_each(self, serve: Serve) -> None:
        harness, happened = self.told(serve)
        clients = self.clients(harness, 20, happened)
        self.ask_often(clients, harness)
        # They wait twice before it is believed.
        for _ in range(2):
            self.ask(clients[:2], harness)
        happened.clear()
        for _ in range(8):
            self.ask(clients[:2], harness)
        assert happened == ["asked", "written"] * 16

    @pytest.mark.parametrize("number", [1, 5])
    def test_a_few_never_wait_for_what_follows_an_answer(self, serve: Serve, number: int) -> None:
        """A background task that blocks, or that ends the process: the client has its answer by then."""
        happened: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send)
            happened.append("went on")

        harness = serve(app)
        clients = self.clients(harness, number, happened)
        for _ in range(100):
            self.ask(clients, harness)
        assert happened == ["written", "went on"] * 100 * number

    def test_what_streams_alone_does_not_hide_that_there_are_many(self, serve: Serve) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            happened.append("asked")
            await (stream(b"a", b"b")(scope, receive, send) if scope["path"] == "/stream" else answer(send))

        happened: list[str] = []
        harness = serve(app)
        streaming, clients = harness.connect(), self.clients(harness, 20, happened)
        for _ in range(5):
            streaming.send(get("/stream"))
            self.ask(clients[:6], harness)
        for _ in range(2):
            self.ask(clients[:6], harness)
        happened.clear()
        self.ask(clients, harness)
        assert happened == ["asked"] * 20 + ["written"] * 20

    def test_one_that_closes_does_not_wait(self, serve: Serve) -> None:
        harness, happened = self.told(serve)
        clients = self.clients(harness, 20, happened)
        self.ask_often(clients, harness)
        happened.clear()

        def push() -> None:
            for client in clients:
                client.transport.deliver(get("/", "Connection: close"))

        harness.inside(push)
        harness.settle()
        assert happened == ["asked", "written"] * 20
        assert all(client.closed for client in clients)

    def test_a_client_that_leaves_meanwhile_is_no_concern_of_the_others(self, serve: Serve) -> None:
        clients: list[Client] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send)
            if scope["path"] == "/leave":
                clients[0].transport.abort()

        harness = serve(app)
        clients += [harness.connect() for _ in range(20)]
        self.ask_often(clients, harness)
        for client in clients:
            client.take()

        def push() -> None:
            for number, client in enumerate(clients):
                client.transport.deliver(get("/leave" if number == 10 else "/"))

        harness.inside(push)
        harness.settle()
        assert all(client.response().status == 200 for client in clients[1:])


def noted(write: Callable[[Any], None], happened: list[str]) -> Callable[[Any], None]:
    def write_and_note(data: Any) -> None:
        happened.append("written")
        write(data)

    return write_and_note


def test_the_head_waits_for_the_body(connect: Connect) -> None:
    client = connect(respond(start(), body(b"a", more=True), body(b"b"))).send(get())
    assert len(client.transport.writes) == 1


def test_ten_chunks_of_one_turn(connect: Connect) -> None:
    client = connect(stream(*[b"x" * 100] * 10)).send(get())
    assert len(client.transport.writes) <= 2
    assert client.response().body == b"x" * 1000


def test_chunks_of_different_turns_leave_as_they_come(connect: Connect) -> None:
    seen: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for _ in range(5):
            await send(body(b"x" * 100, more=True))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen.append(len(client.transport.output))
        await send(body())

    client = connect(app)
    client.send(get())
    assert seen == sorted(set(seen))
    assert seen[0] > 100
    assert client.response().body == b"x" * 500


def test_sixteen_pipelined_requests(connect: Connect) -> None:
    client = connect(hello).send(get() * 16)
    assert len(client.responses()) == 16
    assert len(client.transport.writes) <= 2


def test_sixteen_pipelined_requests_with_bodies(connect: Connect) -> None:
    client = connect(hello).send(post(b"x" * 50) * 16)
    assert len(client.responses()) == 16
    assert len(client.transport.writes) <= 2


def test_a_100_and_a_response_may_share_one(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await answer(send)
        waiting.cancel()

    client = connect(app).send(get("/", "Content-Length: 5", "Expect: 100-continue", method="POST"))
    assert [response.status for response in client.responses()] == [100, 200]


@pytest.mark.parametrize("size", [65536, 1_000_000])
def test_a_large_body_is_not_copied(connect: Connect, size: int) -> None:
    client = connect(stream(b"x" * size)).send(get())
    assert client.transport.calls == ["writelines" if client.harness.runtime.can_writelines else "write"]
    assert client.response().body == b"x" * size


def test_large_chunks_are_not_copied(connect: Connect) -> None:
    client = connect(stream(*[b"x" * 100_000] * 3)).send(get())
    assert set(client.transport.calls) <= {"writelines", "write"}
    assert ("writelines" in client.transport.calls) == client.harness.runtime.can_writelines
    assert client.response().body == b"x" * 300_000


def test_a_large_body_behind_gathered_chunks_keeps_the_order(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/1":
            await stream(b"a", b"b")(scope, receive, send)
        else:
            await stream(b"x" * 100_000)(scope, receive, send)

    client = connect(app).send(get("/1") + get("/2") + get("/1"))
    assert [response.body for response in client.responses()] == [b"ab", b"x" * 100_000, b"ab"]


def test_what_was_gathered_leaves_when_it_is_much(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        for _ in range(200):
            await send(body(b"x" * 1000, more=True))
        assert len(client.transport.output) >= 100_000
        await send(body())

    client = connect(app)
    assert client.send(get()).response().body == b"x" * 200_000


def test_sixteen_large_pieces_are_few_writes(connect: Connect) -> None:
    """A gate on system calls: the client's socket takes all that it is given."""
    client = connect(stream(*[b"%02d" % number * 32768 for number in range(16)]))
    client.send(get())
    assert len(client.transport.writes) <= 7
    client.take()
    client.send(get())
    assert len(client.transport.writes) <= 6
    assert client.response().body == b"".join(b"%02d" % number * 32768 for number in range(16))


def test_what_was_gathered_leaves_before_a_close(connect: Connect) -> None:
    client = connect(stream(*[b"x"] * 10)).send(get("/", "Connection: close"))
    assert client.response().body == b"x" * 10
    assert client.transport.calls == ["write", "close"]


def test_what_was_gathered_for_a_client_that_left_is_dropped(connect: Connect) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"x", more=True))
        client.transport.abort()
        await send(body(b"x"))

    client = connect(app)
    client.send(get())
    assert client.transport.calls in (["abort"], ["abort", "close"])
