"""Streams' states and the frames that come in them (RFC 9113, 5.1), and settings; on every engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.http2.conftest import Connect, Pair, engine_class
from tests.http2.wire import Client, Frame, frame
from uvicorn_worker.http2.engine.codes import END_HEADERS, END_STREAM, ErrorCode, FrameType, Setting
from uvicorn_worker.http2.engine.events import (
    ConnectionFailed,
    DataReceived,
    RequestReceived,
    StreamReset,
    TrailersReceived,
    WindowOpened,
)
from uvicorn_worker.http2.engine.limits import GAPS_REMEMBERED, Limits

NO, PROTOCOL, CLOSED = ErrorCode.NO_ERROR, ErrorCode.PROTOCOL_ERROR, ErrorCode.STREAM_CLOSED


def is_open(side: Pair) -> None:
    side.deliver(side.client.request(b"/", stream_id=5, end=False))


def is_half_closed_local(side: Pair) -> None:
    is_open(side)
    side.engine.respond(5, 200, [], b"early")


def is_half_closed_remote(side: Pair) -> None:
    side.deliver(side.client.request(b"/", stream_id=5))


def is_closed(side: Pair) -> None:
    is_half_closed_remote(side)
    side.engine.respond(5, 200, [], b"")


def is_closed_by_the_client(side: Pair) -> None:
    is_open(side)
    side.deliver(side.client.reset(5))


def is_closed_by_us(side: Pair) -> None:
    is_open(side)
    side.engine.reset(5, 8)


def is_refused(side: Pair) -> None:
    side.engine.goaway(3)
    is_open(side)


def was_skipped(side: Pair) -> None:
    side.deliver(side.client.request(b"/", stream_id=7))


def is_idle(side: Pair) -> None:
    side.deliver(side.client.request(b"/", stream_id=3))


STATES: dict[str, Callable[[Pair], None]] = {
    "idle": is_idle,
    "open": is_open,
    "half-closed (local)": is_half_closed_local,
    "half-closed (remote)": is_half_closed_remote,
    "closed": is_closed,
    "closed by the client": is_closed_by_the_client,
    "closed by us": is_closed_by_us,
    "refused": is_refused,
    "skipped": was_skipped,
}
FRAMES: dict[str, Callable[[Client], bytes]] = {
    "HEADERS": lambda client: client.headers(5, client.request_fields(b"/trailers-or-request")),
    "trailers": lambda client: client.headers(5, [(b"x", b"y")]),
    "DATA": lambda client: client.data(5, b"data"),
    "the end": lambda client: client.data(5, end=True),
    "RST_STREAM": lambda client: client.reset(5),
    "WINDOW_UPDATE": lambda client: client.window(1, 5),
    "WINDOW_UPDATE by 0": lambda client: client.window(0, 5),
    "PRIORITY": lambda client: frame(FrameType.PRIORITY, 0, 5, bytes(5)),
    "unknown": lambda client: frame(0x42, 0xFF, 5, b"what"),
}

# What comes of it: the type of the event; the code that the stream is reset with; (the code of) GOAWAY; or nothing.
Outcome = type | ErrorCode | tuple[ErrorCode] | None
ALL_CLOSED: dict[str, Outcome] = {
    "HEADERS": (CLOSED,),
    "trailers": (CLOSED,),
    "DATA": CLOSED,
    "the end": CLOSED,
    "RST_STREAM": None,
    "WINDOW_UPDATE": None,
    "WINDOW_UPDATE by 0": None,
}
ALL_IGNORED: dict[str, Outcome] = dict.fromkeys(ALL_CLOSED)
AT_WORK: dict[str, Outcome] = {
    "HEADERS": PROTOCOL,
    "trailers": TrailersReceived,
    "DATA": DataReceived,
    "the end": DataReceived,
    "RST_STREAM": StreamReset,
    "WINDOW_UPDATE": WindowOpened,
    "WINDOW_UPDATE by 0": PROTOCOL,
}
TABLE: dict[str, dict[str, Outcome]] = {
    "idle": {
        "HEADERS": RequestReceived,
        "trailers": PROTOCOL,
        "DATA": (PROTOCOL,),
        "the end": (PROTOCOL,),
        "RST_STREAM": (PROTOCOL,),
        "WINDOW_UPDATE": (PROTOCOL,),
        "WINDOW_UPDATE by 0": (PROTOCOL,),
    },
    "open": AT_WORK,
    "half-closed (local)": AT_WORK,
    "half-closed (remote)": {
        "HEADERS": CLOSED,
        "trailers": CLOSED,
        "DATA": CLOSED,
        "the end": CLOSED,
        "RST_STREAM": StreamReset,
        "WINDOW_UPDATE": WindowOpened,
        "WINDOW_UPDATE by 0": PROTOCOL,
    },
    "closed": ALL_CLOSED,
    "closed by the client": ALL_CLOSED,
    "closed by us": ALL_IGNORED,
    "refused": ALL_IGNORED,
    # 5.1.1: a number is not to be used behind a higher one.
    "skipped": {**ALL_CLOSED, "HEADERS": (PROTOCOL,), "trailers": (PROTOCOL,)},
}


def answers(side: Pair, before: int) -> list[Frame]:
    """RST_STREAM and GOAWAY since then."""
    return [one for one in side.client.frames[before:] if one.kind in (FrameType.RST_STREAM, FrameType.GOAWAY)]


class TestStates:
    @pytest.mark.parametrize("what", FRAMES)
    @pytest.mark.parametrize("state", STATES)
    def test_a_frame(self, pair: Connect, state: str, what: str) -> None:
        side = pair()
        STATES[state](side)
        side.pull()
        before = len(side.client.frames)
        events = side.deliver(FRAMES[what](side.client))
        found = answers(side, before)
        outcome = TABLE[state].get(what)
        if outcome is None:
            assert (events, found) == ([], [])
        elif isinstance(outcome, tuple):
            assert [type(event) for event in events] == [ConnectionFailed]
            assert [(one.kind, one.code) for one in found] == [(FrameType.GOAWAY, outcome[0])]
        elif isinstance(outcome, ErrorCode):
            assert {type(event) for event in events} <= {StreamReset}
            assert [(one.kind, one.stream_id, one.code) for one in found] == [(FrameType.RST_STREAM, 5, outcome)]
        else:
            assert [type(event) for event in events] == [outcome]
            assert found == []

    @pytest.mark.parametrize("state", ["open", "half-closed (remote)", "closed", "closed by us"])
    def test_the_connection_goes_on(self, pair: Connect, state: str) -> None:
        side = pair()
        STATES[state](side)
        side.deliver(FRAMES["DATA"](side.client))
        (event,) = side.deliver(side.client.request(b"/next", stream_id=9))
        assert isinstance(event, RequestReceived)
        side.engine.respond(9, 200, [], b"ok")
        side.pull()
        assert side.client.streams[9].whole

    @pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.RST_STREAM, FrameType.WINDOW_UPDATE])
    def test_streams_of_the_server_are_idle(self, pair: Connect, kind: FrameType) -> None:
        """5.1.1: even numbers are ours to use, and we use none."""
        side = pair()
        side.deliver(side.client.request(b"/", stream_id=5))
        (event,) = side.deliver(frame(kind, 0, 4, b"\0\0\0\1"))
        assert isinstance(event, ConnectionFailed)
        assert event.code == PROTOCOL

    def test_malformed_trailers_of_a_stream_that_was_answered(self, pair: Connect) -> None:
        side = pair()
        is_half_closed_local(side)
        (event,) = side.deliver(side.client.headers(5, [(b"Upper", b"x")]))
        assert isinstance(event, StreamReset)
        assert side.client.streams[5].reset == PROTOCOL
        assert isinstance(side.deliver(side.client.request(b"/", stream_id=7))[0], RequestReceived)

    @pytest.mark.parametrize(("number_of_gap", "code"), [(1, CLOSED), (5, PROTOCOL)])
    def test_gaps_are_remembered_for_a_while(self, pair: Connect, number_of_gap: int, code: ErrorCode) -> None:
        """What is older counts as closed."""
        side = pair()
        last = 4 * (GAPS_REMEMBERED + 1)
        for number in range(3, last, 4):
            side.deliver(side.client.request(b"/", stream_id=number))
            side.engine.respond(number, 200, [], b"")
        (event,) = side.deliver(side.client.request(b"/", stream_id=number_of_gap))
        assert isinstance(event, ConnectionFailed)
        assert event.code == code

    def test_what_is_late_still_changes_the_table(self, pair: Connect) -> None:
        """4.3: header blocks of streams that are gone are decoded all the same."""
        side = pair()
        is_closed_by_us(side)
        late = [(b"x-late", b"said once")]
        side.deliver(side.client.headers(5, late))
        (event,) = side.deliver(side.client.request(b"/", *late, stream_id=7))
        assert isinstance(event, RequestReceived)
        assert event.head.headers[-1:] == late

    def test_a_bomb_on_a_stream_that_is_gone(self, pair: Connect) -> None:
        side = pair(max_header_list_size=20000)
        side.deliver(side.client.request(b"/", (b"x", b"v" * 4000), stream_id=5, end=False))
        side.engine.reset(5, 8)
        (event,) = side.deliver(frame(FrameType.HEADERS, END_STREAM | END_HEADERS, 5, b"\xbe" * 5000))
        assert isinstance(event, ConnectionFailed)
        assert event.code == ErrorCode.ENHANCE_YOUR_CALM


class TestReserved:
    def test_the_bit_of_a_window(self, pair: Connect) -> None:
        side = pair()
        side.deliver(frame(FrameType.WINDOW_UPDATE, 0, 0, b"\x80\x00\x00\x05"))
        assert side.engine.connection_window() == 65540

    def test_the_bit_of_a_window_by_0(self, pair: Connect) -> None:
        (event,) = pair().deliver(frame(FrameType.WINDOW_UPDATE, 0, 0, b"\x80\x00\x00\x00"))
        assert isinstance(event, ConnectionFailed)


class TestSettings:
    @pytest.mark.parametrize("key", [Setting.ENABLE_CONNECT_PROTOCOL, Setting.NO_RFC7540_PRIORITIES])
    def test_flags(self, pair: Connect, key: Setting) -> None:
        side = pair()
        assert side.deliver(side.client.settings({key: 1})) == []
        (event,) = side.deliver(side.client.settings({key: 2}))
        assert isinstance(event, ConnectionFailed)
        assert event.code == PROTOCOL

    def test_a_window_of_a_stream_that_it_makes_too_large(self, pair: Connect) -> None:
        """6.9.2: a fault of the connection."""
        side = pair()
        is_open(side)
        side.deliver(side.client.window(2**31 - 1 - 65535, 5))
        assert side.engine.connection_window() == 65535
        (event,) = side.deliver(side.client.settings({Setting.INITIAL_WINDOW_SIZE: 65536}))
        assert isinstance(event, ConnectionFailed)
        assert event.code == ErrorCode.FLOW_CONTROL_ERROR

    def test_a_window_of_a_stream_that_is_gone(self, pair: Connect) -> None:
        side = pair()
        is_open(side)
        side.deliver(side.client.window(2**31 - 1 - 65535, 5), side.client.reset(5))
        side.deliver(side.client.request(b"/", stream_id=7), side.client.window(1000, 7))
        most = side.client.settings({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1 - 1000})
        assert [type(event) for event in side.deliver(most)] == [WindowOpened]
        (event,) = side.deliver(side.client.settings({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}))
        assert isinstance(event, ConnectionFailed)

    def test_ours_bind_from_their_acknowledgement_on(self, pair: Connect) -> None:
        """6.5.3: until then, streams have the window that is usual."""
        side = pair(initial_window_size=1000)
        is_open(side)
        (event,) = side.deliver(side.client.data(5, bytes(1001)))
        assert isinstance(event, ConnectionFailed)
        assert event.code == ErrorCode.FLOW_CONTROL_ERROR

    def test_what_is_under_way_when_they_are_acknowledged(self, engine_name: str) -> None:
        """6.9.2: a window may become negative, and is opened again as the application reads."""
        engine = engine_class(engine_name)(Limits(initial_window_size=1000))
        client = Client()
        engine.start()
        preface = client.preface()[:-9]
        events = engine.receive_data(preface + client.request(b"/", end=False) + client.data(1, bytes(3000)))
        assert [type(event) for event in events] == [RequestReceived, DataReceived]
        assert engine.receive_data(frame(FrameType.SETTINGS, 1)) == []
        client.receive(b"".join(engine.data_to_send()))
        engine.acknowledge(1, 3000)
        client.receive(b"".join(engine.data_to_send()))
        assert sum(one.number for one in client.of(FrameType.WINDOW_UPDATE) if one.stream_id == 1) == 3000
        (event,) = engine.receive_data(client.data(1, bytes(1000), end=True))
        assert isinstance(event, DataReceived)

    def test_the_dynamic_table_is_given_up_once(self, pair: Connect) -> None:
        side = pair()
        for size in (100, 0, 4096, 50):
            side.deliver(side.client.settings({Setting.HEADER_TABLE_SIZE: size}))
        for number in (1, 3):
            side.deliver(side.client.request(b"/", stream_id=number))
            side.engine.respond(number, 200, [], b"ok")
        side.pull()
        first, second = side.client.of(FrameType.HEADERS)
        assert first.payload[:1] == b"\x20"
        assert second.payload == first.payload[1:]
