"""Requests: bytes of a client become events, on every engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http2.conftest import Connect, Pair
from tests.http2.wire import frame
from uvicorn_worker.http2.engine.codes import END_HEADERS, END_STREAM, PADDED, PREFACE, PRIORITY, FrameType, Setting
from uvicorn_worker.http2.engine.events import (
    DataReceived,
    GoAwayReceived,
    PongReceived,
    PriorityUpdated,
    RequestHead,
    RequestReceived,
    StreamReset,
    TrailersReceived,
)
from uvicorn_worker.http2.engine.limits import Limits


def head_of(events: list[Any]) -> RequestHead:
    """The head of the one request in the events."""
    (head,) = [event.head for event in events if isinstance(event, RequestReceived)]
    assert isinstance(head, RequestHead)
    return head


def described(events: list[Any]) -> list[tuple[Any, ...]]:
    """Events as plain values, heads by their method and target; pieces of a body joined."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        values = {name: getattr(event, name) for name in sorted(type(event).__slots__)}
        head = values.pop("head", None)
        kind = type(event).__name__
        if head is not None:
            values["head"] = (head.method, head.target, head.headers)
        if kind == "DataReceived" and found and found[-1][0] == kind and found[-1][1]["stream_id"] == event.stream_id:
            found[-1][1]["data"] += event.data
            found[-1][1]["end_stream"] = event.end_stream
        else:
            found.append((kind, values))
    return found


def bodies_of(events: list[Any]) -> list[tuple[int, bytes, bool]]:
    """What they have of bodies: stream, data and whether it is the end."""
    return [(event.stream_id, event.data, event.end_stream) for event in events if isinstance(event, DataReceived)]


class TestPreface:
    def test_the_server_begins_with_its_settings(self, pair: Connect) -> None:
        side = pair(
            max_concurrent_streams=7, initial_window_size=70000, max_frame_size=20000, max_header_list_size=9999
        )
        settings = side.client.frames[0]
        assert (settings.kind, settings.flags, settings.stream_id) == (FrameType.SETTINGS, 0, 0)
        assert settings.settings == {
            Setting.ENABLE_PUSH: 0,
            Setting.MAX_CONCURRENT_STREAMS: 7,
            Setting.INITIAL_WINDOW_SIZE: 70000,
            Setting.MAX_FRAME_SIZE: 20000,
            Setting.MAX_HEADER_LIST_SIZE: 9999,
            Setting.NO_RFC7540_PRIORITIES: 1,
            Setting.ENABLE_CONNECT_PROTOCOL: 1,
        }

    def test_extended_connect_is_announced_where_it_is_served(self, pair: Connect) -> None:
        assert Setting.ENABLE_CONNECT_PROTOCOL not in pair(connect_protocol=False).client.frames[0].settings

    def test_the_connection_gets_a_window_of_its_own(self, pair: Connect) -> None:
        (update,) = pair().client.of(FrameType.WINDOW_UPDATE)
        assert (update.stream_id, update.number) == (0, Limits().connection_window - 65535)

    def test_the_client_settings_are_acknowledged(self, pair: Connect) -> None:
        acks = [one for one in pair().client.of(FrameType.SETTINGS) if one.flags & 1]
        assert len(acks) == 1
        assert acks[0].payload == b""


class TestHead:
    def test_a_get_is_one_event(self, pair: Connect) -> None:
        side = pair()
        (event,) = side.deliver(side.client.request(b"/where?q=now", (b"accept", b"*/*")))
        assert isinstance(event, RequestReceived)
        assert (event.stream_id, event.end_stream) == (1, True)
        head = event.head
        assert (head.method, head.target, head.scheme, head.authority) == (
            "GET",
            b"/where?q=now",
            "http",
            b"example.org",
        )
        assert head.headers == [(b"host", b"example.org"), (b"accept", b"*/*")]
        assert (head.protocol, head.content_length, head.priority, head.expects_continue) == (None, None, b"", False)
        assert side.engine.last_stream_id == 1

    def test_host_takes_the_place_of_authority(self, pair: Connect) -> None:
        side = pair()
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b"accept", b"x"), (b"host", b"a:8")]
        head = head_of(side.deliver(side.client.headers(1, fields)))
        assert head.authority == b"a:8"
        assert head.headers == [(b"host", b"a:8"), (b"accept", b"x")]

    def test_no_authority_at_all(self, pair: Connect) -> None:
        """RFC 9113, 8.3.1: not generated where there is none to convey. So are HAProxy's health checks over HTTP/2."""
        side = pair()
        fields = [(b":method", b"OPTIONS"), (b":scheme", b"http"), (b":path", b"/"), (b"accept", b"x")]
        head = head_of(side.deliver(side.client.headers(1, fields)))
        assert head.authority == b""
        assert head.headers == [(b"accept", b"x")]

    def test_the_same_host_beside_authority(self, pair: Connect) -> None:
        side = pair()
        head = head_of(side.deliver(side.client.request(b"/", (b"host", b"Example.org"))))
        assert head.headers == [(b"host", b"example.org")]

    def test_crumbs_of_cookies_are_joined(self, pair: Connect) -> None:
        side = pair()
        crumbs = [(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3")]
        head = head_of(side.deliver(side.client.request(b"/", *crumbs)))
        assert head.headers[1:] == [(b"cookie", b"a=1; b=2; c=3"), (b"x", b"y")]

    def test_white_space_around_a_value_is_left_out(self, pair: Connect) -> None:
        """gRPC clients and Node's http2 send what they are given."""
        side = pair()
        fields = [
            (b"x", b" a b\t"),
            (b"y", b" "),
            (b"cookie", b"a=1 "),
            (b"cookie", b" b=2"),
            (b"content-length", b" 5"),
        ]
        head = head_of(side.deliver(side.client.request(b"/", *fields, method=b"PUT", end=False)))
        assert head.headers[1:] == [(b"x", b"a b"), (b"y", b""), (b"cookie", b"a=1; b=2"), (b"content-length", b"5")]
        assert head.content_length == 5
        side.deliver(side.client.data(1, b"body5"))
        (event,) = side.deliver(side.client.headers(1, [(b"x-checksum", b" 5\t")]))
        assert isinstance(event, TrailersReceived)
        assert event.headers == [(b"x-checksum", b"5")]

    def test_what_the_server_itself_reads(self, pair: Connect) -> None:
        side = pair()
        fields = [(b"priority", b"u=1"), (b"priority", b"i"), (b"content-length", b"5"), (b"expect", b"100-Continue")]
        head = head_of(side.deliver(side.client.request(b"/", *fields, method=b"PUT", end=False)))
        assert (head.priority, head.content_length, head.expects_continue) == (b"u=1,i", 5, True)

    def test_its_size_counts_as_the_setting_does(self, pair: Connect) -> None:
        side = pair()
        fields = side.client.request_fields(b"/", (b"a", b"bc"))
        head = head_of(side.deliver(side.client.headers(1, fields)))
        assert head.size == sum(len(name) + len(value) + 32 for name, value in fields)

    def test_a_connect_for_a_websocket(self, pair: Connect) -> None:
        side = pair()
        fields = side.client.request_fields(b"/chat", (b"sec-websocket-version", b"13"), method=b"CONNECT")
        head = head_of(side.deliver(side.client.headers(1, [(b":protocol", b"websocket"), *fields], end=False)))
        assert (head.method, head.protocol, head.target) == ("CONNECT", "websocket", b"/chat")

    def test_a_connect_for_proxies(self, pair: Connect) -> None:
        side = pair()
        fields = [(b":method", b"CONNECT"), (b":authority", b"example.org:443")]
        head = head_of(side.deliver(side.client.headers(1, fields, end=False)))
        assert (head.method, head.protocol, head.target, head.authority) == ("CONNECT", None, b"", b"example.org:443")

    def test_te_trailers_is_allowed(self, pair: Connect) -> None:
        side = pair()
        assert (b"te", b"trailers") in head_of(side.deliver(side.client.request(b"/", (b"te", b"trailers")))).headers

    def test_equal_requests_have_equal_heads_of_their_own_headers(self, pair: Connect) -> None:
        """A head may be given again, so that giving away a copy must leave it as it was."""
        side = pair()
        fields = side.client.request_fields(b"/again", (b"accept", b"*/*"))
        heads = [head_of(side.deliver(side.client.headers(number, fields))) for number in (1, 3, 5)]
        assert [head.headers for head in heads] == [[(b"host", b"example.org"), (b"accept", b"*/*")]] * 3

    def test_the_dynamic_table_is_kept_in_step(self, pair: Connect) -> None:
        """Each head adds to the client's table, and the next refers to it."""
        side = pair()
        seen = []
        for number in range(1, 60, 2):
            fields = [(b"x-%d" % at, b"value %d" % at) for at in range(number, number + 9)]
            seen += head_of(side.deliver(side.client.request(b"/%d" % number, *fields, stream_id=number))).headers[1:]
        expected = [(b"x-%d" % at, b"value %d" % at) for number in range(1, 60, 2) for at in range(number, number + 9)]
        assert seen == expected


class TestFrames:
    def test_in_reads_of_one_byte(self, pair: Connect) -> None:
        whole, apart = pair(), pair()
        for side, each in ((whole, None), (apart, 1)):
            data = side.client.request(b"/a") + side.client.post(b"body", b"/b", (b"x", b"y" * 300))
            side.deliver(data + side.client.ping(), each=each)
        assert described(apart.events) == described(whole.events)
        assert len(whole.client.of(FrameType.PING)) == 1

    def test_many_in_one_read(self, pair: Connect) -> None:
        side = pair()
        events = side.deliver(*[side.client.request(b"/%d" % number) for number in range(16)])
        assert [(event.stream_id, event.head.target) for event in events] == [  # type: ignore[union-attr]
            (2 * number + 1, b"/%d" % number) for number in range(16)
        ]

    def test_padding_and_priority_of_headers(self, pair: Connect) -> None:
        side = pair()
        block = side.client.block(side.client.request_fields(b"/padded"))
        # The stream depends on itself, which RFC 9113 has no word about any more.
        payload = b"\x05" + b"\x00\x00\x00\x01\x10" + block + bytes(5)
        flags = END_STREAM | END_HEADERS | PADDED | PRIORITY
        assert head_of(side.deliver(frame(FrameType.HEADERS, flags, 1, payload))).target == b"/padded"

    def test_continuation(self, pair: Connect) -> None:
        side = pair()
        block = side.client.block(side.client.request_fields(b"/in/pieces", (b"x", b"y" * 50)))
        pieces = [block[at : at + 20] for at in range(0, len(block), 20)]
        data = frame(FrameType.HEADERS, END_STREAM, 1, pieces[0])
        data += b"".join(frame(FrameType.CONTINUATION, 0, 1, piece) for piece in pieces[1:])
        (event,) = side.deliver(data, frame(FrameType.CONTINUATION, END_HEADERS, 1))
        assert isinstance(event, RequestReceived)
        assert event.end_stream
        assert event.head.headers[-1] == (b"x", b"y" * 50)

    def test_what_is_unknown_is_ignored(self, pair: Connect) -> None:
        side = pair()
        unknown = frame(0x0B, 0xFF, 0, b"what") + frame(0xFA, 0, 1) + side.client.settings({0xFFFF: 5})
        priority = frame(FrameType.PRIORITY, 0, 7, b"\x00\x00\x00\x03\x10")
        assert described(side.deliver(unknown, priority, side.client.request(b"/"))) == described(
            [event for event in side.events if isinstance(event, RequestReceived)]
        )

    def test_the_reserved_bit_of_a_stream_is_ignored(self, pair: Connect) -> None:
        side = pair()
        data = bytearray(side.client.request(b"/"))
        data[5] |= 0x80
        assert head_of(side.deliver(bytes(data))).target == b"/"

    def test_ping_is_answered(self, pair: Connect) -> None:
        side = pair()
        assert side.deliver(side.client.ping(b"abcdefgh")) == []
        (pong,) = side.client.of(FrameType.PING)
        assert (pong.flags, pong.payload) == (1, b"abcdefgh")

    def test_the_answer_to_our_ping(self, pair: Connect) -> None:
        side = pair()
        side.engine.ping(b"12345678")
        side.pull()
        (ping,) = side.client.of(FrameType.PING)
        (event,) = side.deliver(side.client.ping(ping.payload, 1))
        assert isinstance(event, PongReceived)
        assert event.payload == b"12345678"

    def test_goaway_of_the_client_leaves_its_streams(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/"))
        (event,) = side.deliver(side.client.goaway(code=2) + b"")
        assert isinstance(event, GoAwayReceived)
        assert event.code == 2
        side.engine.respond(1, 200, side.prepare((b"a", b"b")), b"still")
        side.pull()
        assert side.client.streams[1].body == b"still"

    def test_priority_update(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/"))
        update = frame(FrameType.PRIORITY_UPDATE, 0, 0, (1).to_bytes(4, "big") + b"u=0, i")
        early = frame(FrameType.PRIORITY_UPDATE, 0, 0, (9).to_bytes(4, "big") + b"u=7")
        events = side.deliver(update, early)
        assert [(event.stream_id, event.value) for event in events if isinstance(event, PriorityUpdated)] == [
            (1, b"u=0, i"),
            (9, b"u=7"),
        ]


class TestBody:
    def test_a_small_body_is_two_events(self, pair: Connect) -> None:
        side = pair()
        begun, data = side.deliver(side.client.post(b"body"))
        assert isinstance(begun, RequestReceived)
        assert not begun.end_stream
        assert isinstance(data, DataReceived)
        assert (data.stream_id, data.data, data.end_stream) == (1, b"body", True)
        assert type(data.data) is bytes

    def test_what_one_read_has_of_it_is_one_event(self, pair: Connect) -> None:
        side = pair()
        wire = side.client
        first, second = (wire.request(b"/", method=b"POST", end=False) for _ in range(2))
        mixed = [
            *(first, wire.data(1, b"a"), second, wire.data(3, b"1", padding=5), wire.ping(), wire.data(1, b"b")),
            *(wire.data(3, b"2"), wire.data(1, b"c", end=True), wire.data(3, b"3")),
        ]
        events = side.deliver(*mixed)
        assert bodies_of(events) == [(1, b"abc", True), (3, b"123", False)]
        assert [type(event).__name__ for event in events[:2]] == ["RequestReceived", "DataReceived"]
        assert bodies_of(side.deliver(wire.data(3, b"4"), wire.data(3, end=True))) == [(3, b"4", True)]

    @pytest.mark.parametrize("end", ["trailers", "reset", "too long", "a fault"])
    def test_what_came_before_its_end_is_told_before(self, pair: Connect, end: str) -> None:
        side = pair()
        wire = side.client
        head = wire.request(b"/", (b"content-length", b"2"), method=b"POST", end=False)
        ends = {
            "trailers": (wire.headers(1, [(b"x", b"y")]), "TrailersReceived"),
            "reset": (wire.reset(1), "StreamReset"),
            "too long": (wire.data(1, b"c"), "StreamReset"),
            "a fault": (wire.data(9, b"c"), "ConnectionFailed"),
        }
        _, body, last = side.deliver(head, wire.data(1, b"a"), wire.data(1, b"b"), ends[end][0])
        assert bodies_of([body]) == [(1, b"ab", False)]
        assert type(last).__name__ == ends[end][1]

    @pytest.mark.parametrize("size", [10, 37, 1000, 16393, 70_000])
    def test_nothing_is_kept_of_a_buffer_that_is_read_into_again(self, pair: Connect, size: int) -> None:
        side = pair(max_frame_size=2**20, initial_window_size=2**20)
        wire = side.client
        data = bytes(range(256)) * 400
        stream = b"".join(
            wire.post(data, b"/%d" % number, (b"x-number", b"%d" % number)) for number in range(3)
        ) + wire.headers(7, wire.request_fields(b"/last")[:2], end_headers=False)
        rest = wire.block(wire.request_fields(b"/last")[2:])
        stream += frame(FrameType.CONTINUATION, END_HEADERS, 7, rest)
        buffer = bytearray(70_000)
        events = []
        for at in range(0, len(stream), size):
            piece = stream[at : at + size]
            buffer[: len(piece)] = piece
            events += side.engine.receive_data(memoryview(buffer)[: len(piece)])
            buffer[:] = bytes(len(buffer))
        heads = [event.head for event in events if isinstance(event, RequestReceived)]
        assert [(head.target, dict(head.headers).get(b"x-number")) for head in heads] == [
            *((b"/%d" % number, b"%d" % number) for number in range(3)),
            (b"/last", None),
        ]
        for number in (1, 3, 5):
            pieces = [event for event in events if isinstance(event, DataReceived) and event.stream_id == number]
            assert all(type(event.data) is bytes for event in pieces)
            assert b"".join(event.data for event in pieces) == data
            assert [event.end_stream for event in pieces] == [False] * (len(pieces) - 1) + [True]

    def test_an_end_without_data(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/", end=False), side.client.data(1, b"all"))
        (event,) = side.deliver(side.client.data(1, end=True))
        assert isinstance(event, DataReceived)
        assert (event.data, event.end_stream) == (b"", True)

    def test_data_without_data_is_no_event(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/", end=False))
        assert side.deliver(side.client.data(1)) == []

    def test_padding_is_left_out_and_given_back(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/", end=False))
        events = side.deliver(*[side.client.data(1, b"x", padding=200) for _ in range(400)])
        assert b"".join(event.data for event in events if isinstance(event, DataReceived)) == b"x" * 400
        credit = sum(one.number for one in side.client.of(FrameType.WINDOW_UPDATE) if one.stream_id == 1)
        assert 400 * 201 // 2 < credit <= 400 * 201

    def test_content_length_is_kept(self, pair: Connect) -> None:
        side = pair()
        length = (b"content-length", b"8")
        _, *rest = side.deliver(side.client.request(b"/", length, end=False), side.client.data(1, b"four"))
        rest += side.deliver(side.client.data(1, b"more", end=True))
        assert described(rest) == [("DataReceived", {"data": b"fourmore", "end_stream": True, "stream_id": 1})]

    def test_trailers_end_the_request(self, pair: Connect) -> None:
        side = pair()
        trailers = side.client.headers(1, [(b"x-checksum", b"5"), (b"cookie", b"z")])
        side.deliver(side.client.request(b"/", end=False), side.client.data(1, b"body"))
        (event,) = side.deliver(trailers)
        assert isinstance(event, TrailersReceived)
        assert (event.stream_id, event.headers) == (1, [(b"x-checksum", b"5"), (b"cookie", b"z")])


class TestReset:
    def test_the_client_resets_a_stream(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/"), side.client.request(b"/other"))
        (event,) = side.deliver(side.client.reset(1, 8))
        assert isinstance(event, StreamReset)
        assert (event.stream_id, event.code, event.reason) == (1, 8, "")
        side.engine.respond(1, 200, [], b"nobody wants it")
        side.engine.respond(3, 200, [], b"ok")
        side.pull()
        assert 1 not in side.client.streams
        assert side.client.streams[3].body == b"ok"

    def test_what_was_on_its_way_to_a_stream_that_we_reset_is_ignored(self, pair: Connect) -> None:
        side = pair()
        side.deliver(side.client.request(b"/", end=False))
        side.engine.reset(1, 8)
        side.pull()
        late = side.client.data(1, b"x" * 1000) + side.client.window(5, 1) + side.client.reset(1)
        more = side.client.headers(1, [(b"late", b"trailer")])
        events = side.deliver(late, more, side.client.request(b"/after", (b"late", b"trailer"), stream_id=3))
        assert head_of(events).headers[-1] == (b"late", b"trailer")
        assert len(events) == 1
        assert side.client.streams[1].reset == 8

    def test_a_reset_stream_frees_its_place(self, pair: Connect) -> None:
        side = pair(max_concurrent_streams=1)
        for number in range(1, 21, 2):
            events = side.deliver(side.client.request(b"/", stream_id=number), side.client.reset(number))
            assert [type(event) for event in events] == [RequestReceived, StreamReset]


class TestUpgraded:
    def start(self, pair: Connect, settings: bytes) -> Pair:
        """A connection that was upgraded: not begun by a preface, but by the request on stream 1."""
        side = pair()
        engine = type(side.engine)(Limits())  # type: ignore[call-arg]
        engine.start()
        engine.open_upgraded(settings)
        side.engine = engine
        side.client = type(side.client)()
        return side

    def test_the_first_stream_is_answered(self, pair: Connect) -> None:
        side = self.start(pair, b"")
        assert side.engine.respond(1, 200, [], b"upgraded")
        side.deliver(PREFACE, side.client.settings({}), side.client.request(b"/next", stream_id=3))
        assert side.client.streams[1].body == b"upgraded"
        assert head_of(side.events).target == b"/next"
        assert side.client.frames[0].settings[Setting.MAX_CONCURRENT_STREAMS] == 100

    def test_its_settings_count(self, pair: Connect) -> None:
        side = self.start(pair, b"\x00\x04" + (10).to_bytes(4, "big"))
        assert side.engine.window(1) == 10

    @pytest.mark.parametrize("settings", [b"\x00", b"\x00\x04" + b"\xff" * 4])
    def test_settings_that_are_none(self, pair: Connect, settings: bytes) -> None:
        with pytest.raises(ValueError, match="HTTP2-Settings"):
            self.start(pair, settings)
