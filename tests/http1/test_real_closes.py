"""How connections end on real sockets: in an order in which no client loses an answer to a reset."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.http1.apps import Gate, Recorder, answer, body, echo, hello, respond, start
from tests.http1.conftest import Run
from tests.http1.real import Visitor, serving, until
from tests.scripted import get, post
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.kernel import unsent_by_kernel

MEBIBYTE = 1048576
Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def closing(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, headers=[(b"connection", b"close")])


class TestIdle:
    def test_the_client_sees_an_end(self, run: Run, parser: str) -> None:
        async def main() -> None:
            async with serving(hello, http=parser, timeout_keep_alive=5) as site:
                with await site.connect() as visitor:
                    await visitor.send(get())
                    await visitor.answer()
                    site.tick(5)
                    # Nothing has come to the client that was not for it.
                    with pytest.raises(BlockingIOError):
                        visitor.sock.recv(1)
                    site.tick(1)
                    assert await visitor.rest() == b""
                await until(lambda: not site.connections)

        run(main())

    def test_one_that_keeps_its_side_open_is_not_waited_for(self, run: Run, parser: str) -> None:
        async def main() -> None:
            async with serving(hello, http=parser, timeout_keep_alive=5) as site:
                with await site.connect() as visitor:
                    await visitor.send(get())
                    await visitor.answer()
                    site.tick(6)
                    assert await visitor.rest() == b""
                    site.tick(3)
                    await until(lambda: not site.connections)
                    assert await visitor.rest() == b""

        run(main())

    def test_a_request_that_came_before_the_end_is_answered(self, run: Run, parser: str) -> None:
        async def main() -> None:
            async with serving(hello, http=parser, timeout_keep_alive=5) as site:
                with await site.connect() as visitor:
                    await visitor.send(get())
                    await visitor.answer()
                    site.tick(5)
                    # It is in the kernel when the time is up, and has not been read.
                    visitor.send_now(get())
                    site.tick(0.5)
                    assert b"Hello, world!" in await visitor.answer()
                    site.tick(5)
                    await visitor.send(get())
                    assert b"Hello, world!" in await visitor.answer()

        run(main())

    def test_nor_is_one_lost_at_a_stop(self, run: Run, parser: str) -> None:
        async def main() -> None:
            async with serving(hello, http=parser) as site:
                with await site.connect() as visitor:
                    await visitor.send(get())
                    await visitor.answer()
                    site.runtime.draining = True
                    visitor.send_now(get())
                    for connection in list(site.connections):
                        connection.close_if_idle()
                    response = await visitor.answer()
                    assert b"connection: close" in response
                    assert await visitor.rest() == b""
                    # A client that does not leave by itself does not hold up the stop.
                    await until(lambda: not site.connections)

        run(main())

    def test_a_stop_ends_idle_ones(self, run: Run, parser: str) -> None:
        async def main() -> None:
            async with serving(hello, http=parser, timeout_keep_alive=1) as site:
                with await site.connect() as idle, await site.connect() as ended, await site.connect() as silent:
                    for visitor in (idle, ended):
                        await visitor.send(get())
                        await visitor.answer()
                        site.tick(1)
                    assert await idle.rest() == b""
                    site.runtime.draining = True
                    for _ in range(3):
                        for connection in list(site.connections):
                            connection.close_if_idle()
                        await asyncio.sleep(0)
                    assert await ended.rest() == await silent.rest() == b""
                    await until(lambda: not site.connections)

        run(main())

    def test_a_request_after_the_end_is_no_cause_for_a_reset(self, run: Run, parser: str) -> None:
        async def main() -> None:
            recorder = Recorder(hello)
            async with serving(recorder, http=parser, timeout_keep_alive=5) as site:
                with await site.connect() as visitor:
                    await visitor.send(get())
                    await visitor.answer()
                    site.tick(5.5)
                    # It crosses the end on its way.
                    visitor.send_now(get())
                    assert await visitor.rest() == b""
                    (connection,) = site.connections
                    await until(lambda: connection.dropped)
                    assert await visitor.rest() == b""
                await until(lambda: not site.connections)
            assert len(recorder.scopes) == 1

        run(main())

    def test_a_download_that_is_still_under_way_is_not_idle(self, run: Run, parser: str) -> None:
        async def large(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(send, bytes(8 * MEBIBYTE))

        async def main() -> None:
            async with serving(large, http=parser, timeout_keep_alive=2) as site:
                with await site.connect(receive_buffer=65536) as visitor:
                    await visitor.send(get())
                    taken = len(await visitor.receive())
                    (connection,) = site.connections
                    while taken < 8 * MEBIBYTE:
                        site.tick(1)
                        assert not connection.closing
                        taken += len(await visitor.receive(MEBIBYTE))
                        # Half of the data is with the kernel and none with the transport, towards the end.
                        await asyncio.sleep(0)
                    await site.taken()
                    site.tick(1)
                    assert not connection.closing
                    site.tick(4)
                    assert connection.closing

        run(main())

    def test_tls(self, run: Run, certificate: Contexts, parser: str) -> None:
        async def main() -> None:
            async with serving(hello, certificate[0], http=parser, timeout_keep_alive=5) as site:
                reader, writer = await connect_tls(site.address, certificate[1])
                for _ in range(2):
                    writer.write(get())
                    await reader.readuntil(b"Hello, world!")
                    await site.taken()
                    site.tick(4)
                site.tick(2)
                # A connection that is cut without a close_notify would be an error here.
                assert await reader.read() == b""
                writer.close()
                await until(lambda: not site.connections)

        run(main())


async def connect_tls(
    address: tuple[str, int], context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*address, ssl=context, server_hostname="localhost")


class TestTheLastAnswer:
    def test_a_next_request_that_comes_behind_it(self, run: Run, parser: str) -> None:
        async def main() -> None:
            gate = Gate(closing)
            async with serving(gate, http=parser) as site:
                with await site.connect() as visitor:
                    await visitor.send(get())
                    await until(lambda: gate.waiting)
                    # The client can't know yet that the answer to the first will be the last.
                    gate.open()
                    await asyncio.sleep(0)
                    await visitor.send(get())
                    assert (await visitor.rest()).endswith(b"Hello, world!")
                await until(lambda: not site.connections)

        run(main())

    @pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
    @pytest.mark.parametrize(
        "behind",
        [get("/2"), post(b"12345"), post(b"12345")[:-1], get("/2")[:20], get("/2") * 2],
        ids=["a request", "a body", "a part of a body", "a part of a head", "two requests"],
    )
    def test_a_client_that_sends_on_although_it_asked_for_the_end(
        self, run: Run, parser: str, behind: bytes, known: bool
    ) -> None:
        gate = Gate()
        recorder = Recorder(gate)

        async def main() -> None:
            async with serving(recorder, http=parser) as site:
                if known:
                    # Its lines and names were read before, so that the last request is none of the parser's.
                    with await site.connect() as visitor:
                        for request in (get(), post(b"12345")):
                            await visitor.send(request)
                            await until(lambda: gate.waiting)
                            gate.open()
                            await visitor.answer()
                    await until(lambda: not site.connections)
                    recorder.scopes.clear()
                tally = site.runtime.tally
                with await site.connect() as visitor:
                    await visitor.send(get("/1", "Connection: close"))
                    await until(lambda: gate.waiting)
                    expected = tally.bytes_in + len(behind)
                    await visitor.send(behind)
                    await until(lambda: tally.bytes_in == expected)
                    gate.open()
                    await until(lambda: any(connection.closing for connection in site.connections))
                    await visitor.send(get("/3"))
                    assert (await visitor.rest()).endswith(b"Hello, world!")
                await until(lambda: not site.connections)

        run(main())
        assert recorder.paths == ["/1"]

    def test_one_that_the_client_asked_for_is_over_at_once(self, run: Run, parser: str) -> None:
        async def main() -> None:
            async with serving(hello, http=parser) as site:
                with await site.connect() as visitor:
                    await visitor.send(get("/", "Connection: close"))
                    assert (await visitor.rest()).endswith(b"Hello, world!")
                    await until(lambda: not site.connections)

        run(main())


async def unauthorized(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"who are you?", 401)


CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


class TestEarlyAnswers:
    """The client sends all of its upload before it reads the answer, as many libraries do."""

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_the_application_does_not_read(self, run: Run, parser: str, chunked: bool) -> None:
        async def main() -> None:
            async with serving(unauthorized, http=parser) as site:
                with await site.connect() as visitor:
                    await upload(visitor, chunked)
                    assert (await visitor.rest()).endswith(b"who are you?")
                await until(lambda: not site.connections)

        run(main())

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_413(self, run: Run, parser: str, chunked: bool) -> None:
        async def main() -> None:
            recorder = Recorder(echo)
            async with serving(recorder, http=parser, limit_request_body=1000) as site:
                with await site.connect() as visitor:
                    await upload(visitor, chunked)
                    response = await visitor.rest()
                    assert response.startswith(b"HTTP/1.1 413 ")
                    assert response.endswith(b"longer than 1000 bytes\n")
                await until(lambda: not site.connections)
            # Whether it was called before the body was too long depends on how the reads fell.
            assert len(recorder.scopes) <= chunked

        run(main())

    @pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
    def test_behind_a_proxy_that_has_no_half_closed_connections(self, run: Run, parser: str, chunked: bool) -> None:
        """Most that end TLS have none, hitch among them: the end of one side is that of both."""

        async def main() -> None:
            async with serving(unauthorized, http=parser) as site:
                over = asyncio.Event()

                async def relay(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
                    server, forth = await asyncio.open_connection(*site.address)
                    sides = [
                        asyncio.ensure_future(pass_on(client, forth)),
                        asyncio.ensure_future(pass_on(server, back)),
                    ]
                    await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
                    for side, writer in zip(sides, (forth, back), strict=True):
                        side.cancel()
                        writer.close()
                    await asyncio.gather(*sides, forth.wait_closed(), back.wait_closed(), return_exceptions=True)
                    over.set()

                proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
                reader, writer = await asyncio.open_connection(*proxy.sockets[0].getsockname())
                if chunked:
                    writer.write(CHUNKED + (b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n") * 8 + b"0\r\n\r\n")
                else:
                    writer.write(post(bytes(8 * MEBIBYTE)))
                await asyncio.wait_for(writer.drain(), 20)
                assert (await reader.read()).endswith(b"who are you?")
                writer.close()
                await writer.wait_closed()
                await over.wait()
                proxy.close()
                await until(lambda: not site.connections)

        run(main())

    def test_tls(self, run: Run, certificate: Contexts, parser: str) -> None:
        async def main() -> None:
            async with serving(unauthorized, certificate[0], http=parser) as site:
                reader, writer = await connect_tls(site.address, certificate[1])
                writer.write(post(bytes(8 * MEBIBYTE)))
                await asyncio.wait_for(writer.drain(), 20)
                await reader.readuntil(b"who are you?")
                # TLS has no half-closed connections: the end comes when all of the body has.
                assert await reader.read() == b""
                writer.close()
                await until(lambda: not site.connections)

        run(main())


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def upload(visitor: Visitor, chunked: bool) -> None:
    if chunked:
        await visitor.send(CHUNKED)
        for _ in range(8):
            await visitor.send(b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n")
        await visitor.send(b"0\r\n\r\n")
    else:
        await visitor.send(post(bytes(8 * MEBIBYTE)))


class TestWrite:
    def test_a_client_that_takes_nothing_is_reset(self, run: Run, parser: str) -> None:
        async def main() -> None:
            recorder = Recorder(endless)
            async with serving(recorder, http=parser, timeout_write=10) as site:
                with await site.connect() as visitor:
                    await visitor.send(get())
                    (connection,) = site.connections
                    await until(lambda: connection.write_paused)
                    site.tick(10)
                    assert connection in site.connections
                    site.tick(1.5)
                    await until(lambda: recorder.done)
                    assert isinstance(recorder.raised[0], OSError)
                    with pytest.raises(ConnectionResetError):
                        await visitor.rest()

        run(main())

    def test_a_slow_one_is_not(self, run: Run, parser: str) -> None:
        async def main() -> None:
            async with serving(
                respond(start(), body(bytes(8 * MEBIBYTE), more=True)), http=parser, timeout_write=10
            ) as site:
                with await site.connect(receive_buffer=65536) as visitor:
                    await visitor.send(get())
                    (connection,) = site.connections
                    await until(lambda: connection.write_paused)

                    def left() -> int:
                        buffered: int = connection.transport.get_write_buffer_size()
                        return buffered + unsent_by_kernel(connection.transport)

                    for _ in range(10):
                        site.tick(9)
                        # What was there when it looked: acknowledgements come at any time. Mostly too little for the
                        # transport to see anything of it.
                        seen = connection.unsent
                        while left() == seen:
                            await visitor.receive()
                            await asyncio.sleep(0)
                    assert connection in site.connections
                    assert connection.write_paused

        run(main())

    def test_tls(self, run: Run, certificate: Contexts, parser: str) -> None:
        async def main() -> None:
            recorder = Recorder(endless)
            async with serving(recorder, certificate[0], http=parser, timeout_write=10) as site:
                reader, writer = await connect_tls(site.address, certificate[1])
                writer.write(get())
                await reader.readexactly(1000)
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
                (connection,) = site.connections
                await until(lambda: connection.write_paused)
                site.tick(12)
                await until(lambda: recorder.done)
                assert isinstance(recorder.raised[0], OSError)
                writer.transport.abort()
                await until(lambda: not site.connections)

        run(main())


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start())
    while True:
        await send(body(bytes(65536), more=True))
