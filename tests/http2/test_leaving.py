"""How HTTP/2 connections end: drain, idleness, deadlines, faults."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.http1.apps import Gate, answer, body, hello, read_body, start, stream
from tests.http2.conftest import Converse, Serve, Talk
from tests.memory import counts_references
from uvicorn_worker.http2.engine.codes import MAX_STREAM_ID, FrameType, Setting
from uvicorn_worker.http2.protocol import is_adequate


class TestDrain:
    def test_the_warning_then_the_real_one(self, talk: Converse) -> None:
        """6.8: requests that were on their way are served, and the last stream is told when none can be any more."""
        gate = Gate(hello)
        connection = talk(gate)
        wire = connection.wire
        connection.get(b"/before")
        gate.open()
        assert connection.pull().stream(1).whole
        connection.tick(2)
        connection.each_protocol("drain")
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        connection.get(b"/on-its-way")
        (ping,) = wire.of(FrameType.PING)
        connection.send(wire.ping(ping.payload, 1))
        assert connection.goaways == [(MAX_STREAM_ID, 0), (3, 0)]
        assert connection.get(b"/late").reset == 7
        assert not connection.closed
        gate.open()
        connection.pull()
        assert connection.stream(3).whole
        assert connection.closed
        assert gate.paths == ["/before", "/on-its-way"]

    @pytest.mark.parametrize("stream_id", [9, 8])
    def test_a_reset_of_what_was_never_sent(self, talk: Converse, stream_id: int) -> None:
        """nghttpx had numbered a request that it does not send behind GOAWAY; others on the connection go on."""
        gate = Gate(hello)
        connection = talk(gate)
        connection.get()
        connection.each_protocol("drain")
        connection.tick(16)
        connection.get()
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        connection.send(connection.wire.reset(stream_id))
        gate.open()
        gate.open()
        connection.pull()
        ours_to_open = not stream_id % 2
        assert connection.stream(1).whole is not ours_to_open
        assert connection.stream(3).whole is not ours_to_open
        assert connection.goaways[1:] == ([(3, 1)] if ours_to_open else [])

    def test_nothing_is_said_while_streams_run(self, talk: Converse) -> None:
        """httpx and undici fail each of them at any GOAWAY; httpx even those that it has read along with it."""
        gate = Gate(hello)
        connection = talk(gate)
        for _ in range(10):
            connection.get()
        connection.each_protocol("drain")
        connection.tick(2)
        for _ in range(10):
            gate.open()
        connection.pull()
        assert all(connection.stream(number).whole for number in range(1, 21, 2))
        assert connection.goaways == []
        connection.tick(1)
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        # Clients around h2 fail at any frame behind it.
        assert [frame.kind for frame in connection.wire.frames[-2:]] == [FrameType.PING, FrameType.GOAWAY]
        (ping,) = connection.wire.of(FrameType.PING)
        connection.send(connection.wire.ping(ping.payload, 1))
        assert connection.closed

    def test_a_client_with_one_request_after_the_other(self, talk: Converse) -> None:
        """GOAWAY comes in one write with the end of a response, when there has been no more than one for a moment."""
        gate = Gate(hello)
        connection = talk(gate)
        connection.get()
        connection.each_protocol("drain")
        gate.open()
        connection.pull()
        connection.tick(0.5)
        connection.get()
        gate.open()
        connection.pull()
        assert connection.goaways == []
        connection.tick(0.5)
        connection.get()
        gate.open()
        connection.harness.settle()
        assert len(connection.transport.writes) == 1
        connection.pull()
        assert connection.stream(5).whole
        assert connection.goaways == [(MAX_STREAM_ID, 0)]

    def test_the_first_of_many(self, talk: Converse) -> None:
        """It is answered before the others are here, which a browser is about to send."""
        connection = talk(hello)
        connection.get()
        connection.each_protocol("drain")
        for _ in range(10):
            connection.tick(0.5)
            for _ in range(3):
                connection.get()
            assert connection.goaways == []
            connection.send(b"".join(connection.wire.request() for _ in range(10)))
            assert connection.goaways == []
        connection.tick(1)
        assert connection.goaways == [(MAX_STREAM_ID, 0)]

    def test_where_there_is_no_moment_without_streams(self, talk: Converse) -> None:
        """Half of the time later it comes with the next stream beside others."""
        gate = Gate(hello)
        connection = talk(gate, timeout_graceful_shutdown=20)
        connection.get()
        connection.each_protocol("drain")
        connection.tick(9)
        connection.get()
        gate.open()
        connection.pull()
        connection.tick(2)
        assert connection.goaways == []
        connection.get()
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        connection.tick(2)
        assert connection.goaways == [(MAX_STREAM_ID, 0), (5, 0)]

    def test_where_all_end_after_half_of_the_time(self, talk: Converse) -> None:
        gate = Gate(hello)
        connection = talk(gate, timeout_graceful_shutdown=20)
        connection.get()
        connection.get()
        connection.each_protocol("drain")
        connection.tick(11)
        gate.open()
        gate.open()
        connection.pull()
        assert connection.goaways == [(MAX_STREAM_ID, 0)]

    def test_without_a_time_limit(self, talk: Converse) -> None:
        connection = talk(Gate(hello), timeout_graceful_shutdown=None)
        connection.get()
        connection.each_protocol("drain")
        connection.tick(16)
        connection.get()
        assert connection.goaways == [(MAX_STREAM_ID, 0)]

    def test_a_client_that_does_not_answer_the_ping(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.get()
        connection.each_protocol("drain")
        connection.tick(3)
        assert connection.goaways == [(MAX_STREAM_ID, 0), (1, 0)]
        assert connection.closed

    def test_a_connection_that_begins_meanwhile(self, serve: Serve) -> None:
        """A client that is never idle must not hold up the stop, and gets its first answer before GOAWAY."""
        harness = serve(hello)
        harness.runtime.draining = True
        connection = Talk(harness)
        for _ in range(2):
            assert connection.goaways == []
            assert connection.get().whole
            connection.tick(0.5)
        assert connection.goaways == []
        assert connection.get().whole
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        connection.tick(0.5)
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        connection.tick(1)
        assert connection.goaways == [(MAX_STREAM_ID, 0), (5, 0)]
        assert connection.closed

    def test_no_ping_comes_along_with_an_answer(self, serve: Serve) -> None:
        """Apache's mod_proxy_http2, which has it to answer, goes on with the connection, and answers 502 by itself."""
        harness = serve(hello)
        harness.runtime.draining = True
        connection = Talk(harness)
        for _ in range(3):
            assert connection.get().whole
            connection.tick(0.5)
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        assert connection.wire.of(FrameType.PING) == []

    def test_a_client_that_was_there_a_moment_ago(self, talk: Converse) -> None:
        """Chromium fails what it was about to send when GOAWAY comes: as much as is on a page."""
        connection = talk(hello)
        connection.get()
        connection.each_protocol("drain")
        assert connection.goaways == []
        connection.send(b"".join(connection.wire.request() for _ in range(10)))
        assert all(connection.stream(number).whole for number in range(3, 23, 2))
        connection.tick(0.5)
        assert connection.goaways == []
        connection.tick(0.5)
        assert connection.goaways == [(MAX_STREAM_ID, 0)]

    def test_one_that_has_been_quiet(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.get()
        connection.tick(2)
        connection.each_protocol("drain")
        assert connection.goaways == [(MAX_STREAM_ID, 0)]

    @pytest.mark.parametrize("quiet", [0, 2])
    def test_an_idle_connection_closes(self, talk: Converse, quiet: int) -> None:
        """In two steps: what was on its way when it was warned is served."""
        connection = talk(hello)
        connection.get()
        connection.tick(quiet)
        connection.each_protocol("drain").each_protocol("close_if_idle").each_protocol("close_if_idle")
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        connection.get()
        assert connection.stream(3).whole
        (ping,) = connection.wire.of(FrameType.PING)
        connection.send(connection.wire.ping(ping.payload, 1))
        assert connection.closed
        assert connection.goaways == [(MAX_STREAM_ID, 0), (3, 0)]

    @pytest.mark.parametrize(("host", "hurries"), [("127.0.0.1", True), ("127.0.0.1", False), ("192.0.2.7", True)])
    def test_one_of_this_machine_is_not_waited_for(self, serve: Serve, host: str, hurries: bool) -> None:
        """Where the server ends by Ctrl+C, or in code: most clients read nothing between their requests."""
        harness = serve(hello)
        connection = Talk(harness, peername=(host, 50123))
        connection.get()
        harness.runtime.hurries = hurries
        connection.each_protocol("drain").each_protocol("close_if_idle")
        assert connection.goaways == [(MAX_STREAM_ID, 0)]
        connection.get()
        assert connection.stream(3).whole
        connection.each_protocol("close_if_idle")
        assert connection.closed == (hurries and host == "127.0.0.1")

    def test_one_without_a_request_closes_at_once(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.each_protocol("drain").each_protocol("close_if_idle")
        assert connection.closed
        assert connection.goaways == [(0, 0)]

    def test_a_busy_one_does_not(self, talk: Converse) -> None:
        connection = talk(Gate(hello))
        connection.get()
        connection.each_protocol("close_if_idle")
        assert not connection.closed

    def test_what_comes_behind_the_end_is_dropped(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.each_protocol("close_if_idle")
        connection.send(connection.wire.request())
        assert 1 not in connection.wire.streams

    def test_a_second_drain_says_nothing_new(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.get()
        connection.tick(2)
        connection.each_protocol("drain").each_protocol("drain")
        assert len(connection.goaways) == 1

    def test_what_is_told_to_applications_near_the_end(self, talk: Converse) -> None:
        events = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            events.append((await receive())["type"])
            await answer(send, b"bye")

        connection = talk(app)
        connection.get()
        for cycle in list(connection.harness.runtime.cycles):
            connection.harness.inside(cycle.disconnect)
        connection.pull()
        assert events == ["http.disconnect"]
        assert connection.stream(1).body == b"bye"

    def test_abort(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.each_protocol("abort")
        assert connection.transport.lost


class TestCiphers:
    @pytest.mark.parametrize(
        ("version", "name", "adequate"),
        [
            ("TLSv1.3", "TLS_AES_256_GCM_SHA384", True),
            ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", True),
            ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305", True),
            ("TLSv1.2", "DHE-RSA-AES256-CCM", True),
            ("TLSv1.2", "ECDHE-RSA-AES128-SHA256", False),
            ("TLSv1.2", "ECDHE-RSA-AES256-SHA", False),
            ("TLSv1.2", "AES128-GCM-SHA256", False),
        ],
    )
    def test_of_tls(self, version: str, name: str, adequate: bool) -> None:
        assert is_adequate(version, (name, version, 128)) is adequate


class TestIdle:
    def test_it_gets_goaway_and_is_closed(self, talk: Converse) -> None:
        connection = talk(hello, timeout_keep_alive=5)
        connection.get()
        connection.tick(4.5)
        assert connection.goaways == []
        connection.tick(1.5)
        assert connection.goaways == [(1, 0)]
        assert connection.closed

    def test_a_request_begins_the_time_anew(self, talk: Converse) -> None:
        connection = talk(hello, timeout_keep_alive=5)
        for _ in range(4):
            connection.get()
            connection.tick(4)
        assert not connection.closed

    def test_a_running_request_has_none(self, talk: Converse) -> None:
        connection = talk(Gate(hello), timeout_keep_alive=1)
        connection.get()
        connection.tick(30)
        assert not connection.closed

    def test_no_keep_alive(self, talk: Converse) -> None:
        connection = talk(hello, timeout_keep_alive=0)
        connection.send(*[connection.wire.request() for _ in range(3)])
        assert all(connection.stream(number).whole for number in (1, 3, 5))
        assert connection.goaways == [(5, 0)]
        assert connection.closed

    def test_the_client_says_goodbye(self, talk: Converse, log: Callable[..., list[str]]) -> None:
        gate = Gate(hello)
        connection = talk(gate)
        connection.get()
        connection.send(connection.wire.goaway(0, 0))
        connection.send(connection.wire.goaway(0, 2))
        assert not connection.closed
        gate.open()
        connection.pull()
        assert connection.stream(1).whole
        assert connection.closed
        assert any("INTERNAL_ERROR" in line for line in log())

    @pytest.mark.parametrize("goodbye", [False, True])
    def test_a_client_that_has_closed_is_not_lingered_on(self, talk: Converse, goodbye: bool) -> None:
        """As most do, with GOAWAY or without: neither a place in worker_connections nor a descriptor is held for it."""
        connection = talk(hello)
        connection.get()
        if goodbye:
            connection.send(connection.wire.goaway(0, 0))
            assert connection.closed
            assert not connection.transport.lost
        connection.connection.eof()
        assert connection.transport.lost
        assert not connection.harness.runtime.connections


class TestDeadlines:
    def test_the_preface_is_awaited_for_a_while(self, serve: Serve) -> None:
        """timeout_request_head, from accept to the first request."""
        connection = Talk(serve(hello, timeout_request_head=3, timeout_keep_alive=1), begin=False)
        connection.connection.send(b"PRI * HTTP")
        connection.harness.tick(4)
        assert connection.connection.closed

    def test_so_is_the_first_request(self, talk: Converse) -> None:
        connection = talk(hello, timeout_request_head=3, timeout_keep_alive=1)
        connection.tick(4)
        assert connection.closed

    def test_one_that_was_opened_ahead_waits_as_long_as_an_idle_one(self, talk: Converse) -> None:
        connection = talk(hello, timeout_request_head=3, timeout_keep_alive=100)
        connection.tick(99)
        assert not connection.closed
        connection.tick(2)
        assert connection.closed

    def test_no_limit(self, talk: Converse) -> None:
        connection = talk(hello, timeout_request_head=0)
        connection.tick(100)
        assert not connection.closed

    def test_a_body_that_does_not_come(self, talk: Converse) -> None:
        received = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/other":
                await hello(scope, receive, send)
                return
            received.append(await receive())
            received.append(await receive())

        connection = talk(app, timeout_request_body=3, timeout_keep_alive=100)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False), wire.data(1, b"some"))
        connection.tick(2)
        assert connection.stream(1).heads == []
        connection.tick(2)
        assert connection.stream(1).status == 408
        assert [event["type"] for event in received] == ["http.request", "http.disconnect"]
        assert connection.get(b"/other").whole

    def test_an_application_that_does_not_wait_any_longer(self, talk: Converse) -> None:
        gate = Gate(hello)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await asyncio.wait_for(receive(), 0.001)
            except asyncio.TimeoutError:
                await gate(scope, receive, send)

        connection = talk(app, timeout_request_body=3)
        connection.send(connection.wire.request(method=b"POST", end=False))
        while not gate.waiting:
            connection.harness.turn()
        connection.tick(10)
        assert connection.stream(1).heads == []
        gate.open()
        assert connection.pull().stream(1).whole

    def test_one_of_two_that_wait_is_cancelled(self, talk: Converse) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            reading = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            asking = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            asking.cancel()
            await reading

        connection = talk(app, timeout_request_body=3)
        connection.send(connection.wire.request(method=b"POST", end=False))
        for _ in range(5):
            connection.harness.turn()
        connection.tick(4)
        assert connection.stream(1).status == 408

    def test_each_piece_begins_the_time_anew(self, talk: Converse) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await answer(send, await read_body(receive))

        connection = talk(app, timeout_request_body=3)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False))
        for _ in range(5):
            connection.tick(2)
            connection.send(wire.data(1, b"x"))
        connection.send(wire.data(1, b"", end=True))
        assert connection.stream(1).body == b"xxxxx"

    def test_a_body_that_stops_once_the_response_has_begun(self, talk: Converse) -> None:
        received = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            await send(body(b"x", True))
            received.append((await receive())["type"])
            await send(body(b"y"))

        connection = talk(app, timeout_request_body=3)
        connection.send(connection.wire.request(method=b"POST", end=False))
        connection.tick(4)
        assert received == ["http.disconnect"]
        assert connection.stream(1).body == b"xy"

    def test_a_client_that_does_not_open_its_window(self, talk: Converse) -> None:
        """Window-stall: the stream ends, the connection does not."""
        raised = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await send(start())
                await send(body(b"x" * 100, True))
            except OSError as exc:
                raised.append(exc)

        connection = talk(app, settings={Setting.INITIAL_WINDOW_SIZE: 10}, timeout_write=5)
        connection.get()
        connection.tick(4)
        connection.send(connection.wire.window(1, 1))
        connection.tick(4)
        assert connection.stream(1).reset is None
        connection.tick(2)
        assert connection.stream(1).reset == 8
        assert len(raised) == 1
        assert not connection.closed

    def test_nor_does_an_upload_make_up_for_it(self, talk: Converse) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            await asyncio.gather(read_body(receive), send(body(b"x" * 100, True)))

        connection = talk(app, settings={Setting.INITIAL_WINDOW_SIZE: 10}, timeout_write=5, timeout_request_body=100)
        connection.send(connection.wire.request(method=b"POST", end=False))
        for _ in range(4):
            connection.tick(2)
            connection.send(connection.wire.data(1, b"more"))
        assert connection.stream(1).reset == 8

    def test_a_client_that_does_not_read(self, talk: Converse) -> None:
        connection = talk(stream(bytes(2**20)), settings={Setting.INITIAL_WINDOW_SIZE: 2**30}, timeout_write=5).stall()
        connection.send(connection.wire.window(2**30))
        connection.get()
        connection.tick(5)
        assert not connection.transport.lost
        connection.tick(2)
        assert connection.transport.lost

    def test_timeout_request(self, talk: Converse) -> None:
        ended = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/begun":
                await send(start())
                await send(body(b"x", True))
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                ended.append(scope["path"])
                raise

        connection = talk(app, timeout_request=3)
        connection.get(b"/silent")
        connection.get(b"/begun")
        connection.tick(2)
        assert ended == []
        connection.tick(2)
        assert sorted(ended) == ["/begun", "/silent"]
        assert connection.stream(1).status == 504
        assert connection.stream(3).reset == 2


class TestPing:
    def test_a_client_that_is_there(self, talk: Converse) -> None:
        connection = talk(Gate(hello), http2_ping_interval=5, http2_ping_timeout=3)
        connection.get()
        for count in range(1, 4):
            connection.tick(6)
            pings = connection.wire.of(FrameType.PING)
            assert len(pings) == count
            connection.send(connection.wire.ping(pings[-1].payload, 1))
        connection.tick(4)
        assert not connection.transport.lost

    def test_a_client_that_is_not(self, talk: Converse) -> None:
        connection = talk(Gate(hello), http2_ping_interval=5, http2_ping_timeout=3)
        connection.get()
        connection.tick(6)
        assert not connection.transport.lost
        connection.tick(4)
        assert connection.transport.lost

    def test_none_by_default_nor_on_idle_connections(self, talk: Converse) -> None:
        connection = talk(Gate(hello))
        connection.get()
        idle = talk(hello, http2_ping_interval=1, timeout_keep_alive=10)
        idle.get()
        for each in (connection, idle):
            each.tick(5)
            assert each.wire.of(FrameType.PING) == []


class TestFaults:
    def test_a_fault_of_the_connection(self, talk: Converse, log: Callable[..., list[str]]) -> None:
        events = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            events.append((await receive())["type"])

        connection = talk(app)
        connection.get()
        connection.send(connection.wire.window(0))
        assert connection.goaways == [(1, 1)]
        assert connection.wire.of(FrameType.GOAWAY)[0].debug == b"WINDOW_UPDATE by 0"
        assert connection.closed
        assert events == ["http.disconnect"]
        assert log()[-1] == "Invalid HTTP/2 from 192.0.2.7:50123: WINDOW_UPDATE by 0 (PROTOCOL_ERROR)"

    def test_a_malformed_request_is_logged(self, talk: Converse, log: Callable[..., list[str]]) -> None:
        connection = talk(hello)
        assert connection.get(b"/", (b"connection", b"close")).reset == 1
        assert log()[-1].startswith("Invalid request from 192.0.2.7:50123: connection is a field of HTTP/1.1")
        assert connection.get().whole

    @pytest.mark.parametrize("each", [1, 7])
    def test_in_small_reads(self, talk: Converse, each: int) -> None:
        connection = talk(stream(b"one", b"two"))
        wire = connection.wire
        connection.send(wire.post(b"body" * 30, b"/", (b"x", b"y" * 100)), wire.request(), each=each)
        assert [connection.stream(number).body for number in (1, 3)] == [b"onetwo"] * 2


@counts_references
def test_a_connection_that_is_lost_is_not_left_to_the_garbage_collector(talk: Converse) -> None:
    """Nor is it where an answer waits for its turn."""
    connection = talk(stream(bytes(200_000)), settings={Setting.INITIAL_WINDOW_SIZE: 1_000_000})
    connection.transport.stall()
    connection.get()
    (protocol,) = connection.harness.runtime.connections
    state: Any = protocol
    assert state.scheduler.count
    known = weakref.ref(protocol)
    gc.disable()
    try:
        connection.connection.leave()
        connection.transport.set_protocol(None)  # type: ignore[arg-type]
        del protocol, state, connection.connection.protocol
        assert known() is None
    finally:
        gc.enable()
