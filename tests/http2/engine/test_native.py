"""What is the native engine's own: frames that come in pieces, heads that are given again, and what a request costs."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType as PythonFrame
from typing import Any

import pytest

from tests.http2.conftest import Pair
from tests.http2.wire import frame
from uvicorn_worker.http2.engine.codes import END_HEADERS, END_STREAM, PREFACE, ErrorCode, FrameType
from uvicorn_worker.http2.engine.events import ConnectionFailed, DataReceived, RequestReceived, StreamReset
from uvicorn_worker.http2.engine.native.engine import NativeEngine
from uvicorn_worker.http2.engine.native.streams import Credit


@pytest.fixture
def side() -> Pair:
    return Pair(NativeEngine)


def request_event(events: list[Any]) -> RequestReceived:
    (event,) = events
    assert isinstance(event, RequestReceived)
    return event


class TestPieces:
    @pytest.mark.parametrize("each", [1, 2, 8, 9, 10, 11, 100])
    def test_reads_of_any_size(self, each: int) -> None:
        side = Pair(NativeEngine)
        client = side.client
        data = client.request(b"/a") + client.post(b"body" * 100, b"/b") + client.ping() + client.request(b"/c")
        events = side.deliver(data, each=each)
        assert [event.stream_id for event in events if isinstance(event, RequestReceived)] == [1, 3, 5]
        assert b"".join(event.data for event in events if isinstance(event, DataReceived)) == b"body" * 100

    @pytest.mark.parametrize("each", [1, 5, 23, 24, 25])
    def test_the_preface(self, each: int) -> None:
        engine = NativeEngine(Pair(NativeEngine).engine._limits)  # type: ignore[attr-defined]
        data = PREFACE + frame(FrameType.SETTINGS) + frame(FrameType.PING, 0, 0, bytes(8))
        for at in range(0, len(data), each):
            assert engine.receive_data(data[at : at + each]) == []
        assert len(engine.data_to_send()) == 2

    def test_a_large_frame_is_not_joined_at_each_read(self) -> None:
        """Sixteen megabytes in reads of 64 KiB would be copied 128 times over."""
        side = Pair(NativeEngine, max_frame_size=2**24 - 1, initial_window_size=2**24)
        side.deliver(side.client.request(b"/", end=False))
        (event,) = side.deliver(side.client.data(1, bytes(2**24 - 1)), each=65536)
        assert isinstance(event, DataReceived)
        assert len(event.data) == 2**24 - 1


class TestHeads:
    GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"example.org"), (b":path", b"/")]  # noqa: RUF012

    def test_the_same_block_is_the_same_head(self, side: Pair) -> None:
        """The first request fills the client's table, and the next ones are said in the same few bytes."""
        heads = [request_event(side.deliver(side.client.headers(number, self.GET))).head for number in (1, 3, 5, 7, 9)]
        assert heads[2] is heads[3] is heads[4]
        assert heads[0].headers == heads[1].headers == heads[2].headers
        assert [head.kept for head in heads] == [False, False, True, True, True]

    def test_the_same_block_behind_a_change_of_the_table(self, side: Pair) -> None:
        """Then it means something else."""
        block = b"\x82\x86\x84\xbe"
        side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 1, b"\x82\x86\x84\x41\x01a"))
        first = request_event(side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 3, block))).head
        side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 5, b"\x82\x86\x84\x41\x01b"))
        second = request_event(side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 7, block))).head
        assert (first.authority, second.authority) == (b"a", b"b")

    def test_the_length_counts_each_time(self, side: Pair) -> None:
        """A head that says a length is right with a body, and wrong without."""
        fields = [*self.GET, (b"content-length", b"4")]
        side.deliver(side.client.headers(1, fields, end=False))
        for number in (3, 5, 7):
            assert request_event(side.deliver(side.client.headers(number, fields, end=False))).head.content_length == 4
        (event,) = side.deliver(side.client.headers(9, fields))
        assert isinstance(event, StreamReset)
        (event,) = side.deliver(side.client.data(5, b"12345"))
        assert isinstance(event, StreamReset)
        (event,) = side.deliver(side.client.data(7, b"1234", end=True))
        assert isinstance(event, DataReceived)

    def test_a_malformed_one_is_refused_each_time(self, side: Pair) -> None:
        for number in (1, 3, 5):
            (event,) = side.deliver(side.client.headers(number, [*self.GET, (b"te", b"x")]))
            assert isinstance(event, StreamReset)

    def test_a_refused_one_is_decoded(self) -> None:
        side = Pair(NativeEngine, max_concurrent_streams=1)
        side.deliver(side.client.request(b"/", end=False))
        side.deliver(side.client.headers(3, [*self.GET, (b"x", b"y")]))
        assert side.client.streams[3].reset == ErrorCode.REFUSED_STREAM
        side.engine.reset(1, 8)
        head = request_event(side.deliver(side.client.headers(5, [*self.GET, (b"x", b"y")]))).head
        assert head.headers[-1] == (b"x", b"y")


class TestSending:
    def test_large_bodies_are_not_copied(self, side: Pair) -> None:
        side.deliver(side.client.request(b"/"))
        body = bytes(50_000)
        side.engine.send_headers(1, 200, [], False)
        side.engine.send_data(1, body, True)
        pieces = [piece for piece in side.engine.data_to_send() if len(piece) > 100]
        assert [len(piece) for piece in pieces] == [16384, 16384, 16384, 848]
        assert all(isinstance(piece, memoryview) and piece.obj is body for piece in pieces)

    def test_nothing_behind_the_end(self, side: Pair) -> None:
        """Of a stream that stays there for the rest of its request."""
        side.deliver(side.client.request(b"/", end=False))
        engine = side.engine
        engine.respond(1, 200, [], b"early")
        assert len(side.pull()) == 2
        assert engine.respond(1, 200, [], b"again")
        engine.send_headers(1, 200, [], True)
        engine.send_data(1, b"more", True)
        engine.send_trailers(1, [])
        assert side.pull() == []


class TestCredit:
    def test_in_halves(self) -> None:
        credit = Credit(1000)
        credit.window -= 800
        assert [credit.give(size) for size in (300, 199, 1, 100)] == [0, 0, 500, 0]

    def test_sooner_where_the_client_stands_still(self) -> None:
        credit = Credit(100_000)
        credit.window = 0
        assert [credit.give(size) for size in (1000, 24, 1)] == [0, 0, 1025]

    def test_less_where_the_window_was_made_smaller(self) -> None:
        credit = Credit(1000)
        credit.window -= 1000
        credit.shift(-400)
        assert credit.window == -400
        assert credit.give(1000) == 1000
        assert credit.window == credit.most == 600


class TestCounts:
    """Calls for each of sixteen requests in one read, answered at once; they do not depend on the machine."""

    @pytest.mark.parametrize(("method", "python", "c"), [("GET", 4, 13), ("POST", 11, 18)])
    def test_a_request(self, side: Pair, method: str, python: int, c: int) -> None:
        client, engine = side.client, side.engine
        fields = side.prepare((b"content-type", b"text/plain"), (b"content-length", b"13"), (b"server", b"x"))
        reads = [
            b"".join(client.request(b"/") if method == "GET" else client.post(b"x" * 300) for _ in range(16))
            for _ in range(3)
        ]

        def serve(data: bytes) -> None:
            for event in engine.receive_data(data):
                if isinstance(event, DataReceived):
                    engine.acknowledge(event.stream_id, 300)
                if event.end_stream:  # type: ignore[union-attr]
                    engine.respond(event.stream_id, 200, fields, b"Hello, world!")  # type: ignore[union-attr]
            assert engine.data_to_send()

        for data in reads[:-1]:
            serve(data)
        calls: Counter[str] = Counter()

        def profile(frame: PythonFrame, event: str, arg: Any) -> None:
            if "http2/" in frame.f_code.co_filename.replace("\\", "/"):
                calls[event] += 1

        sys.setprofile(profile)
        try:
            serve(reads[-1])
        finally:
            sys.setprofile(None)
        assert calls["call"] / 16 <= python + 0.5, calls
        assert calls["c_call"] / 16 <= c + 0.5, calls


def test_a_fault_leaves_nothing_behind(side: Pair) -> None:
    side.deliver(side.client.request(b"/", end=False))
    events = side.deliver(frame(FrameType.HEADERS, 0, 3, b"\x82"), side.client.ping())
    assert isinstance(events[-1], ConnectionFailed)
    assert side.engine.window(1) == 0
    assert side.deliver(side.client.request(b"/")) == []
