"""Large bodies of which the rest is read past the transport, over sockets, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.http1.apps import answer
from tests.http1.conftest import Run
from tests.http1.real import Site, Visitor, serving, until
from tests.scripted import get, parse_responses, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.kernel import unread_in_kernel
from uvicorn_worker.core.large_reads import BUFFER_SIZE
from uvicorn_worker.http1 import protocol, reading_on
from uvicorn_worker.http1.reading_on import MOST_AT_ONCE, can_read_on, read_on

pytestmark = pytest.mark.skipif(not hasattr(socket, "MSG_DONTWAIT"), reason="the system has no such reads")

CONTENT = os.urandom(100_000) * 20


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much each read past the transport has brought."""
    seen: list[int] = []

    def spy(transport: asyncio.Transport, size: int) -> bytes:
        data = read_on(transport, size)
        assert len(data) <= size
        seen.append(len(data))
        return data

    monkeypatch.setattr(protocol, "read_on", spy)
    return seen


class App:
    """Answers with the size of the body; before each message it waits for a while for more to be with the kernel."""

    def __init__(self, wait: int = 20) -> None:
        self.wait = wait
        self.body = b""
        self.pieces: list[int] = []
        self.told: list[str] = []
        self.connections: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        for _ in range(200):
            await self.more(len(CONTENT) - len(body))
            event = await receive()
            self.told.append(event["type"])
            if event["type"] == "http.disconnect":
                return
            assert type(event["body"]) is bytes
            self.pieces.append(len(event["body"]))
            body += event["body"]
            if not event["more_body"]:
                break
        self.body = bytes(body)
        await answer(send, b"%d" % len(body))

    async def more(self, missing: int) -> None:
        (connection,) = self.connections
        for _ in range(self.wait):
            if unread_in_kernel(connection.transport) >= min(missing, BUFFER_SIZE):
                return
            # The kernel has no event for it.
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def visiting(app: App) -> AsyncIterator[tuple[Site, Visitor]]:
    """A server and a client of it; the application is told of the connection."""
    async with serving(app) as site:
        app.connections = site.connections
        with await site.connect() as visitor:
            yield site, visitor


async def upload(visitor: Visitor, *requests: bytes) -> list[bytes]:
    """The bodies of the answers."""
    bodies = []
    for request in requests:
        await visitor.send(request)
        (response,) = parse_responses(await visitor.answer())
        bodies.append(response.body)
    return bodies


def test_all_of_it_comes_in_its_order(run: Run, reads: list[int]) -> None:
    app = App()

    async def main() -> None:
        async with visiting(app) as (_, visitor):
            for _ in range(3):
                assert await upload(visitor, post(CONTENT)) == [b"%d" % len(CONTENT)]
                assert app.body == CONTENT
            # The connection is as it was.
            assert await upload(visitor, get(), post(b"small")) == [b"0", b"5"]

    run(main())
    assert sum(reads) > 0
    assert max(app.pieces) <= MOST_AT_ONCE + BUFFER_SIZE


def test_what_is_behind_it_is_not_touched(run: Run, reads: list[int]) -> None:
    app = App()

    async def main() -> None:
        async with visiting(app) as (_, visitor):
            await upload(visitor, post(CONTENT))
            await visitor.send((post(CONTENT) + post(b"next")) * 2 + get("/", "Connection: close"))
            data = await visitor.rest()
        responses = parse_responses(data, ended=True)
        assert [response.body for response in responses] == [b"%d" % len(CONTENT), b"4"] * 2 + [b"0"]

    run(main())


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_within_it(run: Run, reset: bool) -> None:
    app = App()

    async def main() -> None:
        async with visiting(app) as (site, visitor):
            await upload(visitor, post(CONTENT))
            sending = asyncio.ensure_future(visitor.send(post(CONTENT)[:-100]))
            await until(lambda: len(app.told) and sending.done())
            if reset:
                visitor.reset()
            else:
                visitor.sock.shutdown(socket.SHUT_WR)
            await until(lambda: not site.connections)
            await until(lambda: not site.runtime.cycles)

    run(main())
    assert app.told[-1] == "http.disconnect"


def test_over_tls_it_is_left_to_the_transport(
    run: Run, reads: list[int], certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = certificate
    app = App(0)

    async def main() -> None:
        async with serving(app, tls=server) as site:
            app.connections = site.connections
            reader, writer = await asyncio.open_connection(*site.address, ssl=client, server_hostname="localhost")
            for _ in range(3):
                writer.write(post(CONTENT))
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                assert await reader.readexactly(7) == b"%d" % len(CONTENT)
                assert app.body == CONTENT
            writer.close()

    run(main())
    assert reads == []


def test_where_nothing_is_to_be_had(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert can_read_on(loop)
        here, there = socket.socketpair()
        with there:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=here)
            transport.pause_reading()
            assert read_on(transport, 10) == b""
            there.send(b"some of it")
            assert read_on(transport, 4) == b"some"
            assert read_on(transport, 100) == b" of it"
            there.close()
            assert read_on(transport, 100) == b""
            transport.abort()
            assert read_on(transport, 100) == b""

    run(main())


def test_loops_that_are_not_known_are_left_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_on, "is_known_loop", lambda loop: False)

    async def main() -> None:
        assert not can_read_on(asyncio.get_running_loop())

    run(main())
