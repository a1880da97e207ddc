"""Responses: calls of the protocol become bytes, on every engine; and what the client's windows let through."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http2.conftest import Connect, Pair
from uvicorn_worker.http2.engine.codes import MAX_STREAM_ID, FrameType, Setting
from uvicorn_worker.http2.engine.events import DataReceived, RequestReceived, WindowOpened
from uvicorn_worker.http2.engine.limits import SMALL_DATA, Limits

FIELDS = [(b"content-type", b"text/plain"), (b"server", b"uvicorn"), (b"set-cookie", b"a=b"), (b"x-own", b"\xff" * 200)]


@pytest.fixture
def asked(pair: Connect) -> Any:
    """A connection with a request on stream 1: `asked(path, client_settings={...}, max_frame_size=...)`."""

    def start(*fields: tuple[bytes, bytes], end: bool = True, **options: Any) -> Pair:
        side = pair(**options)
        side.deliver(side.client.request(b"/", *fields, end=end))
        side.events.clear()
        return side

    return start


class TestResponse:
    def test_whole_in_one_call(self, asked: Any) -> None:
        side = asked()
        assert side.engine.respond(1, 200, side.prepare(*FIELDS), b"Hello, world!")
        frames = side.pull()
        assert [one.kind for one in frames] == [FrameType.HEADERS, FrameType.DATA]
        stream = side.client.streams[1]
        assert stream.fields == [(b":status", b"200"), *FIELDS]
        assert stream.body == b"Hello, world!"
        assert stream.whole

    def test_without_a_body(self, asked: Any) -> None:
        side = asked()
        assert side.engine.respond(1, 204, [], b"")
        (one,) = side.pull()
        assert one.kind == FrameType.HEADERS
        assert side.client.streams[1].status == 204
        assert side.client.streams[1].whole

    @pytest.mark.parametrize("status", [100, 103, 200, 201, 204, 206, 299, 304, 400, 404, 418, 500, 599, 999])
    def test_any_status(self, asked: Any, status: int) -> None:
        side = asked()
        side.engine.send_headers(1, status, [], False)
        side.pull()
        assert side.client.streams[1].status == status

    def test_in_pieces(self, asked: Any) -> None:
        side = asked()
        side.engine.send_headers(1, 200, side.prepare(*FIELDS), False)
        side.engine.send_data(1, b"one ", False)
        side.engine.send_data(1, memoryview(b"two"), False)
        assert not side.pull()[-1].flags & 1
        side.engine.send_data(1, b"", True)
        side.pull()
        assert side.client.streams[1].body == b"one two"
        assert side.client.streams[1].whole

    def test_small_pieces_that_leave_together_are_one_frame(self, asked: Any) -> None:
        """Clients made with Rust's h2 end a connection on which some hundred small frames come at once."""
        side = asked()
        side.engine.send_headers(1, 200, [], False)
        pieces = [b"%d" % number * 10 for number in range(100)]
        for piece in pieces:
            side.engine.send_data(1, piece, False)
        side.engine.send_data(1, memoryview(b"end"), True)
        _, *frames = side.pull()
        assert [one.kind for one in frames] == [FrameType.DATA, FrameType.DATA]
        assert all(len(one.payload) < 2 * SMALL_DATA for one in frames)
        stream = side.client.streams[1]
        assert stream.body == b"".join([*pieces, b"end"])
        assert stream.whole

    def test_small_pieces_are_joined_to_none_but_the_last_frame(self, asked: Any) -> None:
        """Not to one that has left, that is another stream's, or that something was queued behind."""
        side = asked()
        side.deliver(side.client.request(b"/"))
        for stream_id in (1, 3):
            side.engine.send_headers(stream_id, 200, [], False)
        side.pull()
        side.engine.send_data(1, b"a", False)
        side.pull()
        side.engine.send_data(1, b"a", False)
        side.engine.send_data(3, b"a", False)
        side.engine.send_data(1, b"a", False)
        side.engine.ping(b"12345678")
        side.engine.send_data(1, b"a", False)
        side.engine.send_data(1, b"b" * SMALL_DATA, False)
        side.engine.send_data(1, b"a", True)
        frames = [(one.kind, one.stream_id, one.payload) for one in side.pull()]
        data = FrameType.DATA
        assert frames == [
            (data, 1, b"a"),
            (data, 3, b"a"),
            (data, 1, b"a"),
            (FrameType.PING, 0, b"12345678"),
            (data, 1, b"a"),
            (data, 1, b"b" * SMALL_DATA),
            (data, 1, b"a"),
        ]

    def test_informational_heads_before_it(self, asked: Any) -> None:
        side = asked()
        side.engine.send_headers(1, 103, side.prepare((b"link", b"</style.css>; rel=preload")), False)
        side.engine.send_headers(1, 100, [], False)
        side.engine.respond(1, 200, [], b"ok")
        side.pull()
        assert side.client.streams[1].statuses == [103, 100, 200]
        assert side.client.streams[1].heads[0][1] == (b"link", b"</style.css>; rel=preload")

    def test_trailers(self, asked: Any) -> None:
        side = asked()
        side.engine.send_headers(1, 200, [], False)
        side.engine.send_data(1, b"body", False)
        side.engine.send_trailers(1, side.prepare((b"grpc-status", b"0")))
        side.pull()
        assert side.client.streams[1].trailers == [(b"grpc-status", b"0")]
        assert side.client.streams[1].whole

    def test_reset_behind_what_was_sent(self, asked: Any) -> None:
        side = asked()
        side.engine.send_headers(1, 200, [], False)
        side.engine.send_data(1, b"half", False)
        side.engine.reset(1, 2)
        side.pull()
        stream = side.client.streams[1]
        assert (stream.body, stream.reset, stream.ended) == (b"half", 2, False)
        side.engine.send_data(1, b"", True)
        side.engine.reset(1, 2)
        assert side.pull() == []

    def test_large_fields(self, asked: Any) -> None:
        """A header block that is larger than the client's frames needs CONTINUATION."""
        side = asked()
        fields = [(b"x-%d" % number, b"v" * 1000) for number in range(40)]
        assert side.engine.respond(1, 200, side.prepare(*fields), b"ok")
        kinds = [one.kind for one in side.pull()]
        assert kinds == [FrameType.HEADERS, FrameType.CONTINUATION, FrameType.CONTINUATION, FrameType.DATA]
        assert side.client.streams[1].fields[1:] == fields
        assert side.client.streams[1].whole

    def test_the_client_has_no_dynamic_table(self, asked: Any) -> None:
        """RFC 7541, 4.2: the decoder is told that the encoder has obeyed."""
        side = asked(client_settings={Setting.HEADER_TABLE_SIZE: 0})
        side.client.decoder.max_allowed_table_size = 0
        side.engine.respond(1, 200, side.prepare(*FIELDS), b"ok")
        head = side.pull()[0].payload
        assert head[:1] == b"\x20"
        side.deliver(side.client.request(b"/"))
        side.engine.respond(3, 200, side.prepare(*FIELDS), b"ok")
        side.pull()
        assert side.client.streams[1].fields == side.client.streams[3].fields == [(b":status", b"200"), *FIELDS]

    def test_fields_are_the_same_on_each_stream(self, asked: Any) -> None:
        """No response depends on one before it: prepared fields are kept and sent again on other connections."""
        side, other = asked(), asked()
        prepared = side.prepare(*FIELDS)
        for number in (1, 3, 5):
            side.engine.respond(number, 200, list(prepared), b"ok")
            side.deliver(side.client.request(b"/"))
        other.engine.respond(1, 200, list(prepared), b"ok")
        other.pull()
        found = [side.client.streams[1], side.client.streams[3], other.client.streams[1]]
        assert [stream.fields[1:] for stream in found] == [FIELDS] * 3

    def test_sixteen_answers_are_there_at_once(self, pair: Connect) -> None:
        side = pair()
        side.deliver(*[side.client.request(b"/") for _ in range(16)])
        for number in range(1, 33, 2):
            assert side.engine.respond(number, 200, side.prepare(*FIELDS), b"Hello, world!")
        assert len(side.pull()) == 32
        assert all(side.client.streams[number].whole for number in range(1, 33, 2))


class TestWindows:
    def test_data_is_cut_into_the_frames_that_the_client_takes(self, asked: Any) -> None:
        side = asked()
        body = bytes(range(256)) * 160
        side.engine.respond(1, 200, [], body)
        side.pull()
        assert side.client.streams[1].sizes == [16384, 16384, 8192]
        assert side.client.streams[1].body == body
        assert side.client.streams[1].whole

    def test_larger_frames_where_the_client_takes_them(self, asked: Any) -> None:
        side = asked(client_settings={Setting.MAX_FRAME_SIZE: 40000})
        side.engine.respond(1, 200, [], bytes(40960))
        side.pull()
        assert side.client.streams[1].sizes == [40000, 960]

    def test_what_does_not_fit_is_not_sent(self, asked: Any) -> None:
        side = asked(client_settings={Setting.INITIAL_WINDOW_SIZE: 10})
        assert side.engine.window(1) == 10
        assert not side.engine.respond(1, 200, [], b"eleven byte")
        assert side.pull() == []
        with pytest.raises(ValueError, match="window"):
            side.engine.send_data(1, b"eleven byte", False)

    def test_the_window_of_a_stream(self, asked: Any) -> None:
        side = asked(client_settings={Setting.INITIAL_WINDOW_SIZE: 10})
        side.engine.send_headers(1, 200, [], False)
        side.engine.send_data(1, b"0123456789", False)
        assert (side.engine.window(1), side.engine.connection_window()) == (0, 65525)
        (event,) = side.deliver(side.client.window(5, 1))
        assert isinstance(event, WindowOpened)
        assert event.stream_id == 1
        assert side.engine.window(1) == 5

    def test_the_window_of_the_connection(self, asked: Any) -> None:
        side = asked(client_settings={Setting.INITIAL_WINDOW_SIZE: 100_000})
        assert side.engine.window(1) == side.engine.connection_window() == 65535
        side.engine.send_headers(1, 200, [], False)
        side.engine.send_data(1, bytes(65535), False)
        assert side.engine.window(1) == 0
        (event,) = side.deliver(side.client.window(7))
        assert isinstance(event, WindowOpened)
        assert event.stream_id == 0
        assert side.engine.window(1) == 7

    def test_a_change_of_the_setting(self, asked: Any) -> None:
        """6.9.2: it changes the windows of streams that are there, which may become negative by it."""
        side = asked()
        side.engine.send_headers(1, 200, [], False)
        side.engine.send_data(1, bytes(100), False)
        side.deliver(side.client.settings({Setting.INITIAL_WINDOW_SIZE: 60}))
        assert side.engine.window(1) == 0
        events = side.deliver(side.client.settings({Setting.INITIAL_WINDOW_SIZE: 110}))
        assert [event.stream_id for event in events if isinstance(event, WindowOpened)] == [0]
        assert side.engine.window(1) == 10
        side.deliver(side.client.settings({Setting.INITIAL_WINDOW_SIZE: 60}), side.client.window(45, 1))
        assert side.engine.window(1) == 5

    def test_a_stream_that_is_gone_has_none(self, asked: Any) -> None:
        side = asked()
        side.engine.respond(1, 200, [], b"ok")
        assert side.engine.window(1) == side.engine.window(3) == 0

    def test_the_end_needs_no_window(self, asked: Any) -> None:
        side = asked(client_settings={Setting.INITIAL_WINDOW_SIZE: 0})
        side.engine.send_headers(1, 200, [], False)
        side.engine.send_data(1, b"", True)
        side.pull()
        assert side.client.streams[1].whole


class TestCredit:
    """The client's window opens as the application reads, and no sooner."""

    def credit(self, side: Pair, stream_id: int) -> int:
        return sum(one.number for one in side.client.of(FrameType.WINDOW_UPDATE) if one.stream_id == stream_id)

    def test_none_before_it_has_read(self, asked: Any) -> None:
        side = asked(end=False)
        before = self.credit(side, 0)
        side.deliver(*[side.client.data(1, bytes(16383)) for _ in range(4)])
        assert (self.credit(side, 1), self.credit(side, 0)) == (0, before)

    def test_what_it_has_read_comes_back(self, asked: Any) -> None:
        side = asked(end=False)
        received = 0
        for _ in range(100):
            events = side.deliver(side.client.data(1, bytes(16383)))
            for event in events:
                assert isinstance(event, DataReceived)
                received += len(event.data)
                side.engine.acknowledge(1, len(event.data))
            side.pull()
        assert received == 1638300
        assert received - 65535 <= self.credit(side, 1) <= received
        opened = Limits().connection_window - 65535
        assert received - Limits().connection_window <= self.credit(side, 0) - opened <= received

    def test_not_each_read_makes_a_frame(self, asked: Any) -> None:
        side = asked(end=False)
        before = len(side.client.of(FrameType.WINDOW_UPDATE))
        for _ in range(300):
            side.deliver(side.client.data(1, bytes(100)))
            side.engine.acknowledge(1, 100)
        assert side.pull() == []
        assert len(side.client.of(FrameType.WINDOW_UPDATE)) == before

    def test_of_a_stream_that_is_gone_for_the_connection(self, asked: Any) -> None:
        side = asked(end=False, initial_window_size=2**24)
        for _ in range(3000):
            side.deliver(side.client.data(1, bytes(16000)))
        before = self.credit(side, 0)
        side.engine.reset(1, 8)
        side.engine.acknowledge(1, 3000 * 16000)
        side.pull()
        assert self.credit(side, 1) == 0
        assert self.credit(side, 0) >= before

    def test_a_larger_window_from_its_acknowledgement_on(self, asked: Any) -> None:
        side = asked(end=False, initial_window_size=200_000)
        events = side.deliver(*[side.client.data(1, bytes(16000)) for _ in range(12)])
        assert sum(len(event.data) for event in events if isinstance(event, DataReceived)) == 192_000


class TestGoAway:
    def test_the_warning_refuses_nothing(self, pair: Connect) -> None:
        side = pair()
        side.engine.goaway(MAX_STREAM_ID)
        (event,) = side.deliver(side.client.request(b"/"))
        assert isinstance(event, RequestReceived)
        (goaway,) = side.client.of(FrameType.GOAWAY)
        assert (goaway.number, goaway.code) == (MAX_STREAM_ID, 0)

    def test_streams_above_the_last_are_refused(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/running", end=False))
        side.engine.goaway(side.engine.last_stream_id, 0, b"restarting")
        more = side.client.data(1, b"body", end=True)
        events = side.deliver(side.client.request(b"/late"), more, side.client.request(b"/later"))
        assert [type(event) for event in events] == [DataReceived]
        assert [side.client.streams[number].reset for number in (3, 5)] == [7, 7]
        assert side.engine.respond(1, 200, [], b"ok")
        side.pull()
        assert side.client.streams[1].whole
        (goaway,) = side.client.of(FrameType.GOAWAY)
        assert (goaway.number, goaway.code, goaway.debug) == (1, 0, b"restarting")


class TestConcurrency:
    def test_streams_above_the_limit_are_refused(self, pair: Connect) -> None:
        side = pair(max_concurrent_streams=2)
        events = side.deliver(*[side.client.request(b"/%d" % number, (b"x", b"%d" % number)) for number in range(4)])
        assert [event.stream_id for event in events if isinstance(event, RequestReceived)] == [1, 3]
        assert [side.client.streams[number].reset for number in (5, 7)] == [7, 7]
        side.engine.respond(1, 200, [], b"")
        (event,) = side.deliver(side.client.request(b"/again", (b"x", b"3")))
        assert isinstance(event, RequestReceived)
        assert event.head.headers[-1] == (b"x", b"3")

    def test_a_stream_counts_until_both_sides_have_ended_it(self, pair: Connect) -> None:
        side = pair(max_concurrent_streams=1)
        side.deliver(side.client.request(b"/", end=False))
        side.engine.respond(1, 200, [], b"early")
        side.deliver(side.client.request(b"/"))
        assert side.client.streams[3].reset == 7
        side.deliver(side.client.data(1, b"rest", end=True))
        (event,) = side.deliver(side.client.request(b"/"))
        assert isinstance(event, RequestReceived)
