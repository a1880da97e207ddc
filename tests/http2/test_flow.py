"""Flow control both ways on HTTP/2, who sends first, and that nothing piles up."""

from __future__ import annotations

import asyncio
import sys
from itertools import groupby
from typing import Any

import pytest

from tests.http1.apps import Gate, Recorder, body, hello, read_body, respond, start, stream
from tests.http2.conftest import Converse, Talk
from uvicorn_worker.core.asgi import Receive, Scope, Send
from uvicorn_worker.core.errors import ClientDisconnected
from uvicorn_worker.http2.cycle import StreamCycle
from uvicorn_worker.http2.engine.codes import FrameType, Setting
from uvicorn_worker.http2.protocol import DISCARD_RATE

MEGABYTE = 2**20


def download(size: int) -> Any:
    """Sends pieces of 64 KiB, and tells how many it has got rid of."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/small":
            await hello(scope, receive, send)
            return
        await send(start())
        for _ in range(size // 65536):
            await send(body(bytes(65536), True))
            app.sent += 65536  # type: ignore[attr-defined]
        await send(body())

    app.sent = 0  # type: ignore[attr-defined]
    return app


def open_windows(connection: Talk, size: int, *streams: int) -> None:
    wire = connection.wire
    connection.send(wire.window(size), *[wire.window(size, number) for number in streams])


class TestDownload:
    def test_the_windows_are_kept(self, talk: Converse) -> None:
        connection = talk(download(MEGABYTE))
        connection.get(b"/big")
        assert len(connection.stream(1).body) == 65535
        open_windows(connection, 1000, 1)
        assert len(connection.stream(1).body) == 66535

    def test_send_waits_for_the_window(self, talk: Converse) -> None:
        app = download(MEGABYTE)
        connection = talk(app)
        connection.get(b"/big")
        assert app.sent <= 65536
        for _ in range(100):
            open_windows(connection, 65536, 1)
        assert app.sent == MEGABYTE
        assert connection.stream(1).whole
        assert len(connection.stream(1).body) == MEGABYTE

    def test_send_waits_for_the_socket(self, talk: Converse) -> None:
        app = download(4 * MEGABYTE)
        connection = talk(app, settings={Setting.INITIAL_WINDOW_SIZE: 2**30}).stall()
        open_windows(connection, 2**30)
        connection.get(b"/big")
        held = app.sent
        assert held < MEGABYTE
        connection.harness.settle()
        assert app.sent == held
        connection.drain()
        assert app.sent == 4 * MEGABYTE
        assert len(connection.stream(1).body) == 4 * MEGABYTE

    def test_frames_are_full(self, talk: Converse) -> None:
        connection = talk(stream(bytes(MEGABYTE)), settings={Setting.INITIAL_WINDOW_SIZE: 2**30})
        open_windows(connection, 2**30)
        connection.get()
        assert connection.stream(1).sizes == [16384] * 64
        assert connection.stream(1).whole

    def test_one_large_message_does_not_go_to_the_transport_at_once(self, talk: Converse) -> None:
        connection = talk(stream(bytes(4 * MEGABYTE)), settings={Setting.INITIAL_WINDOW_SIZE: 2**30}).stall()
        open_windows(connection, 2**30)
        connection.get()
        assert connection.transport.get_write_buffer_size() < MEGABYTE
        connection.drain()
        assert connection.stream(1).whole

    def test_the_end_comes_with_the_last_byte(self, talk: Converse) -> None:
        connection = talk(stream(b"0123456789"), settings={Setting.INITIAL_WINDOW_SIZE: 4})
        for _ in range(3):
            assert not connection.get().whole if not connection.wire.streams else True
            connection.send(connection.wire.window(3, 1))
        assert connection.stream(1).whole
        assert connection.stream(1).sizes == [4, 3, 3]

    def test_a_change_of_the_initial_window(self, talk: Converse) -> None:
        connection = talk(stream(b"0123456789"), settings={Setting.INITIAL_WINDOW_SIZE: 0})
        assert connection.get().body == b""
        connection.send(connection.wire.settings({Setting.INITIAL_WINDOW_SIZE: 10}))
        assert connection.stream(1).whole

    def test_a_task_beside_it_may_send_too(self, talk: Converse) -> None:
        """ASGI does not forbid two tasks of one request to send."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            await asyncio.gather(*[send(body(b"%d" % number * 8, True)) for number in range(3)])
            await send(body())

        connection = talk(app, settings={Setting.INITIAL_WINDOW_SIZE: 4})
        connection.get()
        connection.send(connection.wire.window(100, 1))
        assert connection.stream(1).body == b"0" * 8 + b"1" * 8 + b"2" * 8
        assert connection.stream(1).whole


class TestUpload:
    def test_no_credit_before_the_application_reads(self, talk: Converse) -> None:
        gate = Gate()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()
            data = await read_body(receive)
            await send(start())
            await send(body(b"%d" % len(data)))

        connection = talk(app, http2_initial_window_size=65535)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False))
        connection.send(*[wire.data(1, bytes(16383)) for _ in range(4)])
        assert [one for one in wire.of(FrameType.WINDOW_UPDATE) if one.stream_id == 1] == []
        gate.open()
        connection.pull()
        credit = sum(one.number for one in wire.of(FrameType.WINDOW_UPDATE) if one.stream_id == 1)
        assert credit == 4 * 16383
        connection.send(wire.data(1, b"x", end=True))
        assert connection.stream(1).body == b"65533"

    def test_a_stream_that_is_not_read_does_not_stop_another(self, talk: Converse) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/stuck":
                await asyncio.get_running_loop().create_future()
            await send(start())
            await send(body(b"%d" % len(await read_body(receive))))

        connection = talk(app)
        wire = connection.wire
        connection.send(wire.request(b"/stuck", method=b"POST", end=False))
        connection.send(*[wire.data(1, bytes(16383)) for _ in range(4)])
        stream_id = wire.next_id
        connection.send(wire.request(b"/read", method=b"POST", end=False))
        for _ in range(100):
            connection.send(wire.data(stream_id, bytes(16000)))
        connection.send(wire.data(stream_id, end=True))
        assert connection.stream(stream_id).body == b"1600000"

    def test_a_small_body_is_there_when_the_application_begins(self, talk: Converse) -> None:
        events = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            events.append(await receive())
            await hello(scope, receive, send)

        connection = talk(app)
        connection.post(b"body")
        assert events == [{"type": "http.request", "body": b"body", "more_body": False}]
        assert all(one.stream_id == 0 for one in connection.wire.of(FrameType.WINDOW_UPDATE))

    def test_expect_100_continue(self, talk: Converse) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            await send(body(await read_body(receive)))

        async def late(scope: Any, receive: Any, send: Any) -> None:
            data = await read_body(receive)
            await send(start())
            await send(body(data))

        for application, expect, statuses in (
            (late, b"100-continue", [100, 200]),
            (late, b"100-Continue, 100-continue", [100, 200]),
            (hello, b"100-continue", [200]),
            (hello, b"", [200]),
        ):
            connection = talk(application)
            wire = connection.wire
            connection.send(wire.request(b"/", (b"expect", expect), method=b"POST", end=False))
            assert connection.stream(1).statuses == statuses[:1]
            connection.send(wire.data(1, b"body", end=True))
            assert connection.stream(1).statuses == statuses

    def test_trailers_are_not_in_the_headers(self, talk: Converse) -> None:
        seen = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            data = await read_body(receive)
            seen.append((data, scope["headers"]))
            await hello(scope, receive, send)

        connection = talk(app)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False), wire.data(1, b"body"))
        connection.send(wire.headers(1, [(b"x-late", b"1")]))
        assert seen == [(b"body", [(b"host", b"example.org")])]
        assert connection.stream(1).whole


class TestSmallPieces:
    def test_a_body_in_tiny_frames_is_joined(self, talk: Converse) -> None:
        """As many objects as there are frames would cost twenty times what they hold."""
        gate = Gate(hello)
        connection = talk(gate)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False))
        for _ in range(30):
            connection.send(*[wire.data(1, b"ab") for _ in range(1000)])
        (cycle,) = connection.harness.runtime.cycles
        assert isinstance(cycle, StreamCycle)
        assert b"".join(cycle.chunks) == b"ab" * 30_000
        if sys.implementation.name == "pypy":
            pytest.skip("it does not say how large an object is")
        assert sum(map(sys.getsizeof, cycle.chunks)) < 65_000
        connection.send(wire.data(1, b"", end=True))
        gate.open()
        assert connection.pull().stream(1).whole

    def test_priorities_of_streams_to_come(self, talk: Converse) -> None:
        """What they say is kept, not what was sent."""
        connection = talk(hello)
        connection.send(*[connection.wire.priority_update(2 * n + 1, b"u=1" + b" " * 16000) for n in range(150)])
        (protocol,) = connection.harness.runtime.connections
        early = protocol.scheduler.early  # type: ignore[attr-defined]
        assert len(early) == 100
        assert set(early.values()) == {(3, True)}
        connection.send(connection.wire.priority_update(301, b"u=0"), connection.wire.priority_update(1, b"u=2"))
        assert early[1] == (2, True)
        assert 301 not in early


class TestEarlyAnswer:
    def test_a_little_more_is_read_and_dropped(self, talk: Converse) -> None:
        connection = talk(hello)
        wire = connection.wire
        connection.send(wire.request(b"/", (b"content-length", b"100000"), method=b"POST", end=False))
        assert connection.stream(1).whole
        for at in range(10):
            connection.send(wire.data(1, bytes(10000), end=at == 9))
        assert connection.stream(1).reset is None
        assert connection.get().whole

    @pytest.mark.parametrize("declared", [True, False])
    def test_the_rest_is_taken(self, talk: Converse, declared: bool) -> None:
        """A client that has to send all of it before it looks at the answer (curl, httpx) gets the answer."""
        connection = talk(hello, http2_initial_window_size=200_000)
        wire, size = connection.wire, 5_000_000
        fields = [(b"content-length", b"%d" % size)] if declared else []
        connection.send(wire.request(b"/", *fields, method=b"POST", end=False))
        assert connection.stream(1).ended
        window = 200_000
        for at in range(0, size, 10_000):
            connection.send(wire.data(1, bytes(10_000), end=at + 10_000 == size))
            window -= 10_000
            window += sum(one.number for one in wire.of(FrameType.WINDOW_UPDATE) if one.stream_id == 1)
            wire.frames.clear()
            assert window > 0
        assert connection.stream(1).reset is None
        assert connection.get().whole

    def test_a_declared_rest_that_is_too_large(self, talk: Converse, monkeypatch: pytest.MonkeyPatch) -> None:
        """8.1: RST_STREAM with NO_ERROR, behind the whole response."""
        monkeypatch.setattr("uvicorn_worker.http2.protocol.ALLOWED_BYTES", 100_000)
        monkeypatch.setattr("uvicorn_worker.http2.protocol.DISCARD_LIMIT", 50_000)
        connection = talk(hello)
        wire = connection.wire
        connection.send(wire.request(b"/", (b"content-length", b"10000000"), method=b"POST", end=False))
        for _ in range(15):
            connection.send(wire.data(1, bytes(10_000)))
        assert connection.stream(1).ended
        assert connection.stream(1).reset is None
        connection.send(wire.data(1, bytes(10_000)))
        assert connection.stream(1).reset == 0

    def test_a_declared_rest_has_time(self, talk: Converse) -> None:
        """httpx sends all of it before it reads: it must not be stopped after half a minute."""
        connection = talk(hello)
        wire = connection.wire
        connection.send(
            wire.request(b"/", (b"content-length", b"%d" % (100 * DISCARD_RATE)), method=b"POST", end=False),
            wire.data(1, bytes(10)),
        )
        for _ in range(90):
            connection.send(wire.data(1, bytes(10))).tick(1)
        assert connection.stream(1).whole
        assert not connection.wire.of(FrameType.RST_STREAM)
        for _ in range(20):
            connection.send(wire.data(1, bytes(10))).tick(1)
        assert connection.stream(1).reset == 0  # NO_ERROR

    def test_a_rest_of_unknown_length_has_time_as_it_comes(
        self, talk: Converse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("uvicorn_worker.http2.protocol.DISCARD_RATE", 10_000)
        connection = talk(hello)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False))
        for _ in range(60):
            connection.send(wire.data(1, bytes(10_000))).tick(1)
        assert connection.stream(1).reset is None
        # Sixty seconds' worth has come, beside the thirty that there are for all; then it comes too slowly.
        for _ in range(20):
            connection.send(wire.data(1, b"x")).tick(1)
        assert connection.stream(1).reset is None
        for _ in range(30):
            connection.send(wire.data(1, b"x")).tick(1)
        assert connection.stream(1).reset == 0  # NO_ERROR

    def test_a_rest_that_does_not_end(self, talk: Converse, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("uvicorn_worker.http2.protocol.ALLOWED_BYTES", 100_000)
        connection = talk(hello)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False))
        assert connection.stream(1).reset is None
        for _ in range(72):
            connection.send(wire.data(1, bytes(16384)))
        assert connection.stream(1).reset == 0
        assert connection.get().whole

    def test_a_rest_that_comes_slowly(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.send(connection.wire.request(method=b"POST", end=False))
        seconds = 0
        while connection.stream(1).reset is None:
            seconds += 1
            connection.tick(1).send(connection.wire.data(1, b"x"))
        assert connection.stream(1).reset == 0
        assert 25 < seconds < 35

    def test_a_rest_that_ends_with_trailers(self, talk: Converse) -> None:
        connection = talk(hello)
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False))
        connection.send(wire.headers(1, [(b"x", b"y")]))
        connection.tick(4)
        assert connection.stream(1).reset is None
        assert connection.stream(1).whole

    def test_a_rest_that_does_not_come(self, talk: Converse) -> None:
        connection = talk(hello)
        connection.send(connection.wire.request(method=b"POST", end=False))
        connection.tick(4)
        assert connection.stream(1).reset == 0

    def test_what_waits_unread_is_given_back(self, talk: Converse) -> None:
        """The window of the connection must not shrink with each early answer."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await hello(scope, receive, send)

        connection = talk(app, http2_initial_window_size=65535)
        wire = connection.wire
        for _ in range(40):
            number = wire.next_id
            head = wire.request(method=b"POST", end=False)
            connection.send(head, *[wire.data(number, bytes(16000)) for _ in range(4)])
            connection.send(wire.reset(number))
        assert connection.get().whole
        assert connection.goaways == []

    @pytest.mark.parametrize("reads", ["nothing", "a piece"])
    def test_what_has_come_whole_and_is_not_read_is_given_back(self, talk: Converse, reads: str) -> None:
        """Uploads that are answered without being read (401, 404, 405) leave the connection as it was."""
        gate = Gate(hello)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if reads == "a piece":
                await receive()
            await gate(scope, receive, send)

        connection = talk(app, http2_initial_window_size=65535)
        wire = connection.wire
        # 6.9.2: it is 65,535 in the beginning.
        window = 65_535 + sum(one.number for one in wire.of(FrameType.WINDOW_UPDATE))
        before, sent = len(wire.frames), 0
        while sent < 3 * window:
            number = wire.next_id
            connection.send(wire.request(method=b"POST", end=False), wire.data(number, bytes(10)))
            connection.send(wire.data(number, bytes(10_000)), wire.data(number, bytes(10_000), end=True))
            gate.open()
            connection.pull()
            assert connection.stream(number).whole
            sent += 20_010
            updates = [one for one in wire.frames[before:] if one.kind == FrameType.WINDOW_UPDATE and not one.stream_id]
            assert sent - sum(one.number for one in updates) <= window / 2
        assert connection.goaways == []


class TestDisconnect:
    def test_a_reset_wakes_the_application(self, talk: Converse) -> None:
        events = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            events.append((await receive())["type"])
            with pytest.raises(ClientDisconnected):
                await send(start())
            events.append("raised")

        connection = talk(app)
        connection.get()
        connection.send(connection.wire.reset(1))
        assert events == ["http.disconnect", "raised"]
        assert not connection.closed

    def test_a_reset_wakes_send(self, talk: Converse) -> None:
        raised = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(start())
            try:
                while True:
                    await send(body(bytes(65536), True))
            except OSError as exc:
                raised.append(exc)
                raise

        connection = talk(app)
        connection.get()
        connection.send(connection.wire.reset(1))
        assert isinstance(raised[0], ClientDisconnected)
        assert connection.harness.runtime.cycles == set()

    def test_a_lost_connection_wakes_all(self, talk: Converse) -> None:
        events: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            events.append((await receive())["type"])

        connection = talk(app)
        connection.send(*[connection.wire.request() for _ in range(3)])
        connection.connection.leave(ConnectionResetError())
        assert events == ["http.disconnect"] * 3
        assert connection.harness.runtime.connections == set()

    def test_a_response_that_was_cut_off_is_in_the_access_log(self, talk: Converse) -> None:
        connection = talk(download(MEGABYTE))
        seen: list[int] = []
        connection.harness.runtime.access = lambda cycle: seen.append(cycle.status)
        connection.get(b"/big")
        connection.send(connection.wire.reset(1))
        assert seen == [200]

    def test_also_where_the_application_was_done_with_it(self, talk: Converse) -> None:
        connection = talk(stream(bytes(MEGABYTE)))
        seen: list[int] = []
        connection.harness.runtime.access = lambda cycle: seen.append(cycle.status)
        connection.get()
        assert seen == []
        connection.send(connection.wire.reset(1))
        assert seen == [200]

    def test_a_body_that_nobody_took(self, talk: Converse) -> None:
        connection = talk(Gate(hello))
        wire = connection.wire
        connection.send(wire.request(method=b"POST", end=False), wire.data(1, bytes(10000)), wire.reset(1))
        assert wire.next_id == 3
        assert not connection.closed

    def test_the_client_ends_its_side(self, talk: Converse) -> None:
        gate = Gate(hello)
        connection = talk(gate)
        connection.get()
        connection.connection.eof()
        gate.open()
        connection.pull()
        assert connection.stream(1).whole
        # Nothing more can come, so nothing is waited for.
        assert connection.transport.lost

    def test_the_client_ends_its_side_within_a_request(self, talk: Converse) -> None:
        connection = talk(Gate(hello))
        connection.send(connection.wire.request(end=False))
        connection.connection.eof()
        assert connection.pull().stream(1).reset == 8

    @pytest.mark.parametrize("left", [None, 0.0])
    def test_timeout_disconnect(self, talk: Converse, left: float | None) -> None:
        ended: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        connection = talk(app, timeout_disconnect=left)
        connection.get()
        connection.send(connection.wire.reset(1))
        connection.tick(1)
        assert ended == ([] if left is None else ["cancelled"])


class TestRapidReset:
    def test_what_is_reset_in_the_same_read_is_never_begun(self, talk: Converse) -> None:
        app = Recorder()
        connection = talk(app)
        number = connection.wire.next_id
        connection.send(connection.wire.request(), connection.wire.reset(number))
        assert app.scopes == []


class TestWritePaused:
    def test_requests_wait_while_the_client_does_not_read(self, talk: Converse) -> None:
        app = download(MEGABYTE)
        connection = talk(app, settings={Setting.INITIAL_WINDOW_SIZE: 2**30}).stall()
        open_windows(connection, 2**30)
        connection.get(b"/big")
        begun = len(connection.harness.runtime.cycles)
        connection.get(b"/small")
        resets = connection.wire.next_id
        connection.send(connection.wire.request(b"/small"), connection.wire.reset(resets))
        assert len(connection.harness.runtime.cycles) == begun
        connection.drain()
        assert connection.stream(3).body == b"Hello, world!"
        assert connection.stream(1).whole

    def test_small_answers_wait_their_turn(self, talk: Converse) -> None:
        gate = Gate(hello)
        app = download(MEGABYTE)

        async def both(scope: Any, receive: Any, send: Any) -> None:
            await (app if scope["path"] == "/big" else gate)(scope, receive, send)

        connection = talk(both, settings={Setting.INITIAL_WINDOW_SIZE: 2**30}).stall()
        open_windows(connection, 2**30)
        connection.get(b"/small")
        connection.get(b"/none", method=b"HEAD")
        connection.get(b"/big")
        gate.open()
        gate.open()
        connection.pull()
        assert connection.stream(1).body == b""
        connection.drain()
        assert connection.stream(1).whole
        assert connection.stream(3).whole

    def test_pings_that_are_not_read_end_the_connection(self, talk: Converse) -> None:
        connection = talk(download(MEGABYTE), settings={Setting.INITIAL_WINDOW_SIZE: 2**30}).stall()
        open_windows(connection, 2**30)
        connection.get(b"/big")
        for _ in range(30):
            connection.harness.tick(0.5)
            connection.connection.send(connection.wire.ping() * 100)
        connection.drain()
        assert connection.goaways[-1][1] == 11
        assert connection.closed


class TestTurns:
    def test_a_large_download_does_not_starve_a_small_answer(self, talk: Converse) -> None:
        """Both wait for the window of the connection; the small one gets its turn with the next frame."""
        connection = talk(download(MEGABYTE), settings={Setting.INITIAL_WINDOW_SIZE: 2**30})
        connection.get(b"/big")
        connection.get(b"/small")
        assert connection.stream(3).body == b""
        open_windows(connection, 32768)
        assert connection.stream(3).whole

    def test_downloads_share(self, talk: Converse) -> None:
        connection = talk(download(MEGABYTE), settings={Setting.INITIAL_WINDOW_SIZE: 2**30})
        for _ in range(3):
            connection.get(b"/big")
        for _ in range(12):
            open_windows(connection, 16384)
        shares = [len(connection.stream(number).body) for number in (3, 5)]
        assert min(shares) > 0
        assert max(shares) - min(shares) <= 16384

    @pytest.mark.parametrize("slow", [False, True])
    def test_turns_are_long_only_while_the_socket_takes_all(self, talk: Converse, slow: bool) -> None:
        """Whoever has a slow client shall not wait longer for a turn than it takes that client to read four frames."""
        settings = {Setting.INITIAL_WINDOW_SIZE: 2**30}
        begun: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            """Answer when all have come: where tasks are eager, the first would fill the socket before."""
            begun.append(scope)
            while len(begun) < 3:
                await asyncio.sleep(0)
            await respond(start(), body(bytes(MEGABYTE)))(scope, receive, send)

        connection = talk(app, settings=settings)
        open_windows(connection, 2**30)
        if slow:
            connection.stall()
        connection.send(*[connection.wire.request() for _ in range(3)])
        while slow and not connection.stream(1).ended:
            connection.harness.inside(connection.transport.sip)
            connection.pull()
        if slow:
            connection.drain()
        data = [each for each in connection.wire.frames if each.kind == FrameType.DATA and each.payload]
        turns = [sum(len(each.payload) for each in turn) for _, turn in groupby(data, lambda each: each.stream_id)]
        # The first was alone when it began, and so are the last ones at their end.
        assert turns[1:3] == [65536, 65536]
        assert max(turns[1:-3]) == (65536 if slow else 262144)
        for number in (1, 3, 5):
            assert connection.stream(number).whole
            assert connection.stream(number).body == bytes(MEGABYTE)

    def test_the_urgent_first(self, talk: Converse) -> None:
        connection = talk(download(MEGABYTE), settings={Setting.INITIAL_WINDOW_SIZE: 2**30})
        connection.get(b"/big", (b"priority", b"u=5"))
        connection.get(b"/big", (b"priority", b"u=1, i"))
        before = len(connection.stream(1).body)
        open_windows(connection, 65536)
        assert len(connection.stream(3).body) == 65536
        assert len(connection.stream(1).body) == before

    def test_one_after_the_other_where_the_client_says_so(self, talk: Converse) -> None:
        connection = talk(download(65536), settings={Setting.INITIAL_WINDOW_SIZE: 2**30})
        connection.get(b"/fills-the-window", (b"priority", b"u=0"))
        for _ in range(3):
            connection.get(b"/big", (b"priority", b"u=3"))
        open_windows(connection, 65536 + 100)
        done = [connection.stream(number).whole for number in (3, 5, 7)]
        assert done == [True, False, False]

    def test_priority_update(self, talk: Converse) -> None:
        connection = talk(stream(bytes(MEGABYTE)), settings={Setting.INITIAL_WINDOW_SIZE: 2**30})
        wire = connection.wire
        connection.send(wire.priority_update(3, b"u=6"))
        connection.get(b"/big")
        connection.get(b"/big")
        before = len(connection.stream(1).body)
        connection.send(wire.window(16384))
        assert (len(connection.stream(1).body), len(connection.stream(3).body)) == (before + 16384, 0)
        connection.send(wire.priority_update(3, b"u=0"), wire.priority_update(99, b"u=9"), wire.window(16384))
        assert len(connection.stream(3).body) == 16384

    def test_a_closed_window_holds_up_nobody_else(self, talk: Converse) -> None:
        connection = talk(download(MEGABYTE), settings={Setting.INITIAL_WINDOW_SIZE: 10})
        connection.get(b"/big", (b"priority", b"u=0"))
        small = connection.get(b"/small", (b"priority", b"u=7"))
        assert small.body == b"Hello, wor"
        connection.send(connection.wire.window(10, 3))
        assert small.whole


def test_many_streams_at_once(talk: Converse) -> None:
    connection = talk(respond(start(), body(b"x" * 2000)))
    connection.send(*[connection.wire.request() for _ in range(100)])
    for _ in range(3):
        connection.send(connection.wire.window(65535))
    assert all(connection.stream(number).whole for number in range(1, 201, 2))
